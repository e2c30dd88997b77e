//! Which project is next, and when none is. Pure.

use std::{collections::VecDeque, fmt, str::FromStr};

use serde::Deserialize;

use super::{file::FleetProject, report::ProjectReport};

/// When to begin no further project. Those that are running are not interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "StopRuleText")]
#[non_exhaustive]
pub enum StopRule {
    /// However many fail.
    Never,
    /// After this many failures, at least one.
    Failures(usize),
    /// Once this share of the projects has failed, in percent.
    Percent(u8),
}

impl StopRule {
    fn is_met(self, failures: usize, projects: usize) -> bool {
        match self {
            Self::Never => false,
            Self::Failures(most) => failures >= most.max(1),
            Self::Percent(percent) => {
                failures > 0 && failures * 100 >= projects * usize::from(percent)
            }
        }
    }
}

impl fmt::Display for StopRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Failures(number) => number.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for StopRule {
    type Err = StopRuleError;

    fn from_str(text: &str) -> Result<Self, StopRuleError> {
        let rule = match text.strip_suffix('%') {
            _ if text == "never" => Some(Self::Never),
            Some(percent) => percent
                .parse()
                .ok()
                .filter(|percent| (1..=100).contains(percent))
                .map(Self::Percent),
            None => text
                .parse()
                .ok()
                .filter(|number| *number > 0)
                .map(Self::Failures),
        };
        rule.ok_or(StopRuleError {})
    }
}

/// A text that is not a [`StopRule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("when to stop is a number of failures such as 1, a share such as 10%, or never")]
pub struct StopRuleError {}

/// As it is in a file: a number, or a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum StopRuleText {
    Number(usize),
    Text(String),
}

impl TryFrom<StopRuleText> for StopRule {
    type Error = StopRuleError;

    fn try_from(text: StopRuleText) -> Result<Self, StopRuleError> {
        match text {
            StopRuleText::Number(number) => number.to_string().parse(),
            StopRuleText::Text(text) => text.parse(),
        }
    }
}

/// The projects that are left, and how those that have ended went.
#[derive(Debug)]
pub(super) struct Course {
    /// They go first, and all others wait for them.
    canaries: VecDeque<FleetProject>,
    others: VecDeque<FleetProject>,
    rule: StopRule,
    projects: usize,
    failures: usize,
    /// Whether the canaries are still under way.
    on_canaries: bool,
    stopped: Option<String>,
}

impl Course {
    pub(super) fn new(projects: Vec<FleetProject>, canary: Option<&str>, rule: StopRule) -> Self {
        let number = projects.len();
        let is_canary = |project: &FleetProject| {
            canary.is_some_and(|canary| project.groups.iter().any(|group| group == canary))
        };
        let (canaries, others): (VecDeque<_>, VecDeque<_>) =
            projects.into_iter().partition(is_canary);
        Self {
            on_canaries: !canaries.is_empty(),
            canaries,
            others,
            rule,
            projects: number,
            failures: 0,
            stopped: None,
        }
    }

    /// The next project to begin while this many are running, if one may begin now.
    pub(super) fn next(&mut self, running: usize) -> Option<FleetProject> {
        if self.stopped.is_some() {
            return None;
        }
        if let Some(canary) = self.canaries.pop_front() {
            return Some(canary);
        }
        if self.on_canaries {
            if running > 0 {
                return None;
            }
            self.on_canaries = false;
            if self.failures > 0 && !self.others.is_empty() {
                self.stopped = Some("a canary has failed".to_owned());
                return None;
            }
        }
        self.others.pop_front()
    }

    pub(super) fn ended(&mut self, project: &ProjectReport) {
        if !project.outcome.is_failure() {
            return;
        }
        self.failures += 1;
        if self.stopped.is_none() && self.rule.is_met(self.failures, self.projects) {
            let were = if self.failures == 1 {
                "project has"
            } else {
                "projects have"
            };
            self.stopped = Some(format!("{} {were} failed", self.failures));
        }
    }

    /// Begins no more, for this reason.
    pub(super) fn stop(&mut self, reason: &str) {
        self.stopped = Some(reason.to_owned());
    }

    /// Why no more were begun, and the names of those that were not.
    pub(super) fn left(self) -> (Option<String>, Vec<String>) {
        let left: Vec<_> = self
            .canaries
            .into_iter()
            .chain(self.others)
            .map(|project| project.name)
            .collect();
        (self.stopped.filter(|_| !left.is_empty()), left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{FleetFile, ProjectOutcome};

    fn projects(canaries: usize, others: usize) -> Vec<FleetProject> {
        let mut text = String::new();
        for number in 0..canaries + others {
            let groups = if number < canaries { "'canary'" } else { "" };
            text += &format!(
                "[[projects]]\nname = 'p{number}'\nurl = 'https://p{number}.example'\nkey_env = 'K'\ngroups = [{groups}]\n"
            );
        }
        FleetFile::parse(&text).unwrap().projects
    }

    /// Works on one project after the other, of which these fail. Returns how many were begun, and why
    /// it ended early.
    fn begun(
        canaries: usize,
        others: usize,
        rule: StopRule,
        fails: impl Fn(usize) -> bool,
    ) -> (usize, Option<String>) {
        let mut course = Course::new(projects(canaries, others), Some("canary"), rule);
        let mut begun = 0;
        while let Some(project) = course.next(0) {
            let outcome = if fails(begun) {
                ProjectOutcome::Failed
            } else {
                ProjectOutcome::Applied
            };
            course.ended(&ProjectReport::new(&project.name, outcome, ""));
            begun += 1;
        }
        let (stopped, left) = course.left();
        assert_eq!(begun + left.len(), canaries + others);
        (begun, stopped)
    }

    #[test]
    fn a_rule_stops_after_its_number_or_share_of_failures() {
        let all = |_| true;
        let none = |_| false;
        assert_eq!(begun(0, 10, StopRule::Failures(1), none), (10, None));
        assert_eq!(begun(0, 10, StopRule::Failures(1), all).0, 1);
        assert_eq!(begun(0, 10, StopRule::Failures(3), all).0, 3);
        assert_eq!(begun(0, 10, StopRule::Failures(3), |at| at % 2 == 1).0, 6);
        assert_eq!(begun(0, 10, StopRule::Percent(25), all).0, 3);
        assert_eq!(begun(0, 10, StopRule::Percent(1), none), (10, None));
        assert_eq!(begun(0, 10, StopRule::Never, all), (10, None));
        assert_eq!(begun(0, 4, StopRule::Failures(4), all), (4, None));
        assert_eq!(
            begun(0, 5, StopRule::Failures(2), all).1.unwrap(),
            "2 projects have failed"
        );
    }

    #[test]
    fn the_others_wait_for_the_canaries_and_are_not_begun_if_one_of_them_failed() {
        assert_eq!(
            begun(2, 5, StopRule::Never, |at| at == 0),
            (2, Some("a canary has failed".to_owned()))
        );
        assert_eq!(begun(2, 5, StopRule::Never, |at| at > 1), (7, None));
        assert_eq!(begun(2, 0, StopRule::Never, |at| at == 1), (2, None));
        let mut course = Course::new(projects(2, 2), Some("canary"), StopRule::Never);
        let names: Vec<_> = (0..2)
            .map(|running| course.next(running).unwrap().name)
            .collect();
        assert_eq!(names, ["p0", "p1"]);
        assert!(course.next(2).is_none() && course.next(1).is_none());
        assert_eq!(course.next(0).unwrap().name, "p2");
        assert_eq!(course.next(1).unwrap().name, "p3");
    }

    #[test]
    fn a_rule_is_a_number_a_share_or_never() {
        for (text, rule) in [
            ("1", StopRule::Failures(1)),
            ("10%", StopRule::Percent(10)),
            ("never", StopRule::Never),
        ] {
            assert_eq!(text.parse(), Ok(rule));
            assert_eq!(rule.to_string(), text);
        }
        for text in ["", "0", "0%", "101%", "-1", "some", "1.5"] {
            assert!(text.parse::<StopRule>().is_err(), "{text}");
        }
    }
}
