//! What has become of each project, as JSON and as Markdown.

use std::{collections::HashSet, fmt::Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::FleetOperation;
use crate::{
    error::Error,
    manifest::{Migrations, Version},
};

/// What has become of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FleetReport {
    /// The operation: `status`, `plan`, `preview`, `apply` or `verify`.
    pub operation: String,
    /// What tells these migrations from others.
    pub migrations: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` in the report of a run that was killed.
    pub finished_at: Option<Timestamp>,
    /// The projects that have ended, in that order. After a resumed run also those of the run before.
    #[serde(default)]
    pub projects: Vec<ProjectReport>,
    /// Why no more projects were begun, where some are left.
    pub stopped: Option<String>,
    /// The names of the projects that were not begun.
    #[serde(default)]
    pub not_started: Vec<String>,
}

/// What has become of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ProjectReport {
    /// Its name.
    pub name: String,
    /// Its URL; `None` in reports of earlier releases.
    pub url: Option<String>,
    /// How it ended.
    pub outcome: ProjectOutcome,
    /// The version that the database had, where it is known.
    pub from: Option<Version>,
    /// The version that it has now, or would have once what is pending is applied.
    pub to: Option<Version>,
    /// The versions that were applied.
    #[serde(default)]
    pub applied: Vec<Version>,
    /// The same in words.
    pub message: String,
    /// Why it failed.
    pub failure: Option<ProjectFailure>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// How a project ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ProjectOutcome {
    /// Nothing is pending.
    UpToDate,
    /// Versions are pending.
    Pending,
    /// What is pending was previewed, and all of it succeeds.
    Tested,
    /// What was pending is applied.
    Applied,
    /// The schema is as the last change left it.
    Unchanged,
    /// The schema was changed outside the migrations.
    Drifted,
    /// It could not be tested to its end, or not be compared.
    Undecided,
    /// Nothing was changed, because that was not agreed to.
    Refused,
    /// It failed.
    Failed,
}

impl ProjectOutcome {
    /// Whether the project counts as failed, and is begun again by a resumed run.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Refused | Self::Failed)
    }

    fn words(self) -> &'static str {
        match self {
            Self::UpToDate => "up to date",
            Self::Pending => "pending",
            Self::Tested => "tested",
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Drifted => "drifted",
            Self::Undecided => "undecided",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl std::fmt::Display for ProjectOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.words())
    }
}

/// Why a project failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ProjectFailure {
    /// As [`Error::code`], or `key` where there is no key, and `timeout` where there was no result in time.
    pub code: String,
    /// Whether it may work a little later.
    pub retryable: bool,
}

impl ProjectReport {
    pub(super) fn new(name: &str, outcome: ProjectOutcome, message: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            url: None,
            outcome,
            from: None,
            to: None,
            applied: Vec::new(),
            message: message.into(),
            failure: None,
            took_ms: 0,
        }
    }

    pub(super) fn failed(name: &str, error: &Error) -> Self {
        let failure = ProjectFailure {
            code: error.code().to_owned(),
            retryable: error.is_retryable(),
        };
        Self {
            failure: Some(failure),
            ..Self::new(name, ProjectOutcome::Failed, error.to_string())
        }
    }

    /// Whether it is the project at this URL, as far as that is recorded.
    pub(super) fn is_of(&self, url: &str) -> bool {
        let recorded = self.url.as_ref();
        recorded.is_none_or(|recorded| recorded.trim_end_matches('/') == url.trim_end_matches('/'))
    }

    /// `v1 → v3`, for example.
    #[must_use]
    pub fn versions(&self) -> String {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from != to => format!("v{from} → v{to}"),
            (Some(version), _) | (None, Some(version)) => format!("v{version}"),
            (None, None) => String::new(),
        }
    }
}

impl FleetReport {
    pub(super) fn begin(operation: &FleetOperation, migrations: &Migrations) -> Self {
        Self {
            operation: operation.name().to_owned(),
            migrations: fingerprint(migrations),
            started_at: Timestamp::now(),
            finished_at: None,
            projects: Vec::new(),
            stopped: None,
            not_started: Vec::new(),
        }
    }

    /// Reads the report of a run from the file that [`Fleet::report_to`](crate::Fleet::report_to) names, also
    /// while the run is under way. A line that was cut short does not count, and of several lines about a
    /// project the last one does. Several such files one after the other are read as one report, so that runs
    /// over parts of a fleet come together.
    ///
    /// # Errors
    /// If the first line is not that of a report.
    pub fn from_lines(text: &str) -> Result<Self, serde_json::Error> {
        let mut lines = text.lines();
        let mut report: Self = serde_json::from_str(lines.next().unwrap_or_default())?;
        let mut projects: Vec<ProjectReport> = lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let mut known = HashSet::new();
        projects.reverse();
        projects.retain(|project| known.insert(project.name.clone()));
        projects.reverse();
        report.projects = projects;
        Ok(report)
    }

    /// Or what differs.
    pub(super) fn is_of_same_run(&self, earlier: &Self) -> Result<(), String> {
        if self.operation != earlier.operation {
            Err(format!("it is of the operation {}", earlier.operation))
        } else if self.migrations != earlier.migrations {
            Err("it is of other migrations".to_owned())
        } else {
            Ok(())
        }
    }

    /// Whether all projects have ended, and none has failed.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.not_started.is_empty()
            && !self
                .projects
                .iter()
                .any(|project| project.outcome.is_failure())
    }

    /// How many projects ended in each way, such as `3 applied, 1 failed, 6 not started`.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        let outcomes = self.projects.iter().map(|project| project.outcome.words());
        for words in outcomes.chain(self.not_started.iter().map(|_| "not started")) {
            match counts.iter_mut().find(|(known, _)| *known == words) {
                Some((_, count)) => *count += 1,
                None => counts.push((words, 1)),
            }
        }
        let counts: Vec<_> = counts
            .into_iter()
            .map(|(words, count)| format!("{count} {words}"))
            .collect();
        counts.join(", ")
    }

    /// The report as a page of Markdown, with what failed first.
    #[must_use]
    pub fn markdown(&self) -> String {
        let began = self.started_at.strftime("%F %T UTC");
        let mut page = format!(
            "# Fleet {}\n\n{}. Began {began}",
            self.operation,
            self.summary()
        );
        if let Some(finished) = self.finished_at {
            let seconds = finished.duration_since(self.started_at).as_secs();
            let _ = write!(page, ", took {seconds} s");
        }
        page += ".\n";
        if let Some(stopped) = &self.stopped {
            let _ = writeln!(
                page,
                "\n**Stopped: {stopped}.** Not started: {}.",
                cell(&self.not_started.join(", "))
            );
        }
        page += "\n| Project | Outcome | Version | Time | |\n|---|---|---|---|---|\n";
        let (failed, other): (Vec<_>, Vec<_>) = self
            .projects
            .iter()
            .partition(|project| project.outcome.is_failure());
        for project in failed.into_iter().chain(other) {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {}.{} s | {} |",
                cell(&project.name),
                project.outcome,
                project.versions(),
                project.took_ms / 1000,
                project.took_ms % 1000 / 100,
                cell(&project.message),
            );
        }
        page
    }
}

/// Text within a cell of a table, where it is neither markup nor HTML.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for c in text.chars() {
        match c {
            '&' => cell += "&amp;",
            '<' => cell += "&lt;",
            '|' | '\\' | '*' | '_' | '`' | '[' | ']' => cell.extend(['\\', c]),
            _ if c.is_control() => cell.push(' '),
            _ => cell.push(c),
        }
    }
    cell
}

/// The checksum of all checksums.
fn fingerprint(migrations: &Migrations) -> String {
    let mut hash = Sha256::new();
    for migration in migrations {
        hash.update(format!(
            "{} {} {}\n",
            migration.version(),
            migration.name(),
            migration.checksum()
        ));
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> FleetReport {
        FleetReport::begin(&FleetOperation::Plan, &Migrations::bundled().unwrap())
    }

    #[test]
    fn a_report_that_was_cut_short_is_read_to_its_last_whole_line() {
        let mut text = serde_json::to_string(&report()).unwrap() + "\n";
        for (name, outcome) in [
            ("a", ProjectOutcome::Failed),
            ("b", ProjectOutcome::UpToDate),
            ("a", ProjectOutcome::Pending),
        ] {
            text +=
                &(serde_json::to_string(&ProjectReport::new(name, outcome, "")).unwrap() + "\n");
        }
        text += "{\"name\":\"c\",\"outc";
        let read = FleetReport::from_lines(&text).unwrap();
        let outcomes: Vec<_> = read
            .projects
            .iter()
            .map(|project| (&*project.name, project.outcome))
            .collect();
        assert_eq!(
            outcomes,
            [
                ("b", ProjectOutcome::UpToDate),
                ("a", ProjectOutcome::Pending)
            ]
        );
        assert!(FleetReport::from_lines("").is_err() && FleetReport::from_lines("{}\n").is_err());
    }

    #[test]
    fn a_project_is_the_one_at_its_url_unless_none_was_recorded() {
        let project = ProjectReport {
            url: Some("https://a.example".to_owned()),
            ..ProjectReport::new("a", ProjectOutcome::Applied, "")
        };
        assert!(project.is_of("https://a.example") && project.is_of("https://a.example/"));
        assert!(!project.is_of("https://b.example"));
        let mut written = serde_json::to_value(&project).unwrap();
        written.as_object_mut().unwrap().remove("url");
        let earlier: ProjectReport = serde_json::from_value(written).unwrap();
        assert!(earlier.is_of("https://b.example"));
    }

    #[test]
    fn a_page_shows_what_failed_first_and_no_markup_of_others() {
        let mut report = report();
        report.projects = vec![
            ProjectReport::new("good", ProjectOutcome::UpToDate, "up to date"),
            ProjectReport::new("b|d", ProjectOutcome::Failed, "<img src=x> *no*\nreally"),
        ];
        report.not_started = vec!["later".to_owned()];
        report.stopped = Some("1 project has failed".to_owned());
        assert_eq!(report.summary(), "1 up to date, 1 failed, 1 not started");
        let page = report.markdown();
        let bad = page
            .find("| b\\|d | failed |  | 0.0 s | &lt;img src=x> \\*no\\* really |")
            .expect(&page);
        assert!(bad < page.find("| good |").unwrap(), "{page}");
        assert!(
            page.contains("**Stopped: 1 project has failed.** Not started: later."),
            "{page}"
        );
        assert!(!report.succeeded());
    }
}
