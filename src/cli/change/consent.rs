//! What has to be agreed to before a change. Pure.

use super::super::args::Consent;
use crate::{
    ledger::Action,
    manifest::{Backup, Version},
    preview::{OutsideTable, Preview, PreviewState, PreviewedVersion, WarningKind, short},
};

/// What to ask about a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    action: Action,
    target: Version,
    /// Why data may be lost.
    risk: Option<Risk>,
    backup: bool,
    /// What waits for versions that nothing runs outside a transaction.
    waits: Vec<String>,
    /// How long the versions take that something does.
    takes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Risk {
    /// The preview saw that data is lost.
    Seen,
    /// Not all of it was tested.
    Untested,
}

impl Question {
    pub(super) fn of(preview: &Preview) -> Self {
        let loses = preview
            .warnings()
            .any(|warning| warning.kind == WarningKind::DataLost);
        let tested = |state| state == PreviewState::Tested;
        let risk = if loses {
            Some(Risk::Seen)
        } else if preview
            .versions
            .iter()
            .any(|version| !tested(version.state))
        {
            Some(Risk::Untested)
        } else {
            None
        };
        let required = |level| level == Backup::Required;
        Self {
            action: preview
                .versions
                .first()
                .map_or(Action::Apply, |version| version.action),
            target: preview.target_version,
            risk,
            backup: preview
                .backup
                .as_ref()
                .is_some_and(|advice| required(advice.level)),
            waits: preview.versions.iter().filter_map(waits).collect(),
            takes: preview.versions.iter().filter_map(takes).collect(),
        }
    }

    /// What to ask where a version would lock its table.
    pub(super) fn lock(&self) -> Option<String> {
        (!self.waits.is_empty()).then(|| {
            format!(
                "\nNothing runs it beside the app, so the app has to wait meanwhile. {}. Go on? [y/N]",
                self.waits.join("; ")
            )
        })
    }

    pub(super) fn needs_backup(&self) -> bool {
        self.backup
    }

    pub(super) fn backup(&self) -> &'static str {
        "\nA backup is required. Who made it? (a name, or nothing to stop)"
    }

    /// The words that must be typed where `y` is too easy: for a rollback, and where data may be lost.
    fn phrase(&self) -> Option<String> {
        let target = self.target;
        match (self.action, self.risk) {
            (Action::Rollback, _) => Some(format!("roll back to v{target}")),
            (Action::Apply, Some(_)) => Some(format!("apply v{target}")),
            (Action::Apply, None) => None,
        }
    }

    pub(super) fn text(&self) -> String {
        let risk = match self.risk {
            Some(Risk::Seen) => "This deletes data. ",
            Some(Risk::Untested) => "Not all of it was tested, so it may delete data. ",
            None => "",
        };
        let before = self.takes.iter().map(|takes| format!("{takes} "));
        let before = before.chain([risk.to_owned()]).collect::<String>();
        match self.phrase() {
            Some(phrase) => format!("\n{before}To go on, type \"{phrase}\":"),
            None => format!("\n{before}Apply up to v{}? [y/N]", self.target),
        }
    }

    pub(super) fn is_agreed(&self, answer: &str) -> bool {
        match self.phrase() {
            Some(phrase) => answer.eq_ignore_ascii_case(&phrase),
            None => matches!(answer.to_lowercase().as_str(), "y" | "yes"),
        }
    }

    /// Whether the flags agree to everything.
    pub(super) fn decide_without_asking(&self, consent: &Consent) -> Result<(), String> {
        let nothing = "nothing was changed";
        if !consent.yes {
            return Err(format!(
                "{nothing}: this is not a terminal, so nobody can be asked; --yes applies without asking"
            ));
        }
        if self.backup && consent.backup_by.is_none() {
            return Err(format!(
                "{nothing}: this needs a backup first; make one, then add --backup-by with the name of who made it"
            ));
        }
        if !self.waits.is_empty() && !consent.may_lock {
            return Err(format!(
                "{nothing}: nothing runs it beside the app, so the app would have to wait ({}); --may-lock agrees to that",
                self.waits.join("; ")
            ));
        }
        match self.risk {
            Some(Risk::Seen) if !consent.allow_data_loss => Err(format!(
                "{nothing}: this deletes data; --allow-data-loss agrees to that"
            )),
            Some(Risk::Untested) if !consent.allow_data_loss => Err(format!(
                "{nothing}: not all of it was tested, so it may delete data; raise --budget, or agree with \
                 --allow-data-loss"
            )),
            _ => Ok(()),
        }
    }
}

/// What waits while a version locks its table, and how large that is.
fn waits(version: &PreviewedVersion) -> Option<String> {
    let waits = version.outside.as_ref()?.waits.as_ref()?;
    let size = version.outside_table.as_ref();
    let size = size.map_or_else(String::new, |table| format!(" (it has {})", table.size));
    Some(format!("v{}: {waits}{size}", version.version))
}

/// How long a version takes that runs outside a transaction.
fn takes(version: &PreviewedVersion) -> Option<String> {
    let outside = version.outside.as_ref()?;
    let table = version.outside_table.as_ref()?;
    outside
        .runs_outside()
        .then(|| estimate(version.version, table))?
}

/// None where it reads nothing of the table.
fn estimate(version: Version, table: &OutsideTable) -> Option<String> {
    let (name, takes, size) = (short(&table.relation), &table.takes, &table.size);
    (table.slowest_secs > 0).then(|| format!("v{version} takes {takes}: {name} has {size}."))
}

/// The question after Ctrl-C.
pub(super) fn stop(version: Version) -> String {
    format!("Stop v{version} and undo it? Ctrl-C leaves it running. [y/N]")
}

/// What Ctrl-C leaves behind, after this version was sent.
pub(super) fn interrupted(sent: Option<Version>) -> String {
    match sent {
        None => "interrupted: nothing was changed".to_owned(),
        Some(version) => format!(
            "interrupted: version {version} was sent, perhaps with those after it, and goes on in the database; each \
             ends completely or not at all; `ctx0-schema status` shows how far it is, and `ctx0-schema cancel` stops it"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn question(action: Action, risk: Option<Risk>, backup: bool) -> Question {
        let target = Version::new(2).unwrap();
        Question {
            action,
            target,
            risk,
            backup,
            waits: Vec::new(),
            takes: Vec::new(),
        }
    }

    #[test]
    fn a_rollback_and_a_loss_of_data_take_more_than_y() {
        for (action, risk, phrase) in [
            (Action::Apply, None, "y"),
            (Action::Apply, Some(Risk::Seen), "apply v2"),
            (Action::Apply, Some(Risk::Untested), "apply v2"),
            (Action::Rollback, None, "roll back to v2"),
            (Action::Rollback, Some(Risk::Seen), "roll back to v2"),
        ] {
            let question = question(action, risk, false);
            assert!(question.is_agreed(phrase), "{question:?}");
            assert_eq!(question.is_agreed("y"), phrase == "y", "{question:?}");
            for answer in ["", "n", "no", "apply v1", "roll back to v1"] {
                assert!(!question.is_agreed(answer), "{question:?}: {answer}");
            }
        }
    }

    #[test]
    fn a_script_agrees_to_each_thing_by_its_own_flag() {
        let flags = |yes, allow_data_loss, backup: Option<&str>| Consent {
            yes,
            allow_data_loss,
            backup_by: backup.map(str::to_owned),
            budget: Duration::ZERO,
            may_lock: false,
        };
        let (plain, loses) = (None, Some(Risk::Seen));
        for (question, consent, missing) in [
            (
                question(Action::Apply, plain, false),
                flags(false, false, None),
                Some("--yes"),
            ),
            (
                question(Action::Apply, plain, false),
                flags(true, false, None),
                None,
            ),
            (
                question(Action::Rollback, plain, false),
                flags(true, false, None),
                None,
            ),
            (
                question(Action::Apply, loses, false),
                flags(true, false, None),
                Some("--allow-data-loss"),
            ),
            (
                question(Action::Apply, Some(Risk::Untested), false),
                flags(true, false, None),
                Some("--budget"),
            ),
            (
                question(Action::Apply, loses, false),
                flags(true, true, None),
                None,
            ),
            (
                question(Action::Apply, plain, true),
                flags(true, true, None),
                Some("--backup-by"),
            ),
            (
                question(Action::Apply, loses, true),
                flags(true, true, Some("ops")),
                None,
            ),
        ] {
            let decided = question.decide_without_asking(&consent);
            match missing {
                None => assert_eq!(decided, Ok(()), "{question:?} {consent:?}"),
                Some(flag) => assert!(
                    decided.unwrap_err().contains(flag),
                    "{question:?} {consent:?}"
                ),
            }
        }
    }

    #[test]
    fn a_lock_is_agreed_to_by_its_own_question_or_flag() {
        let waits = "v2: writing to ctx0_notes waits about 12 s".to_owned();
        let question = Question {
            waits: vec![waits.clone()],
            ..question(Action::Apply, None, false)
        };
        assert!(question.lock().unwrap().contains(&waits));
        let consent = |may_lock| Consent {
            yes: true,
            allow_data_loss: true,
            backup_by: None,
            may_lock,
            budget: Duration::ZERO,
        };
        let refused = question.decide_without_asking(&consent(false));
        let refused = refused.unwrap_err();
        assert!(
            refused.contains("--may-lock") && refused.contains(&waits),
            "{refused}"
        );
        assert_eq!(question.decide_without_asking(&consent(true)), Ok(()));
    }

    #[test]
    fn how_long_it_takes_is_said_before_the_question() {
        let question = |risk| Question {
            takes: vec!["v2 takes about 2 min: ctx0_notes has 1.0 GB.".to_owned()],
            ..question(Action::Apply, risk, false)
        };
        assert_eq!(
            question(None).text(),
            "\nv2 takes about 2 min: ctx0_notes has 1.0 GB. Apply up to v2? [y/N]"
        );
        assert_eq!(
            question(Some(Risk::Seen)).text(),
            "\nv2 takes about 2 min: ctx0_notes has 1.0 GB. This deletes data. To go on, type \"apply v2\":"
        );
    }

    #[test]
    fn the_estimate_is_of_a_version_that_reads_its_table() {
        let version = Version::new(2).expect("a version");
        let mut table = OutsideTable {
            relation: "public.notes".to_owned(),
            bytes: 3 << 30,
            size: "3.0 GB".to_owned(),
            fastest_secs: 24,
            slowest_secs: 120,
            takes: "about 24 s to 2 min".to_owned(),
        };
        let text = "v2 takes about 24 s to 2 min: notes has 3.0 GB.";
        assert_eq!(estimate(version, &table).as_deref(), Some(text));
        table.slowest_secs = 0;
        assert_eq!(estimate(version, &table), None);
    }

    #[test]
    fn ctrl_c_says_what_goes_on() {
        assert_eq!(interrupted(None), "interrupted: nothing was changed");
        assert!(interrupted(Version::new(2)).contains("version 2 was sent"));
    }
}
