//! How the program ends: its exit codes, and failures as text and as JSON.

use std::{io, process::ExitCode};

use serde::Serialize;
use serde_json::json;

use super::{Output, text};
use crate::{
    config::ConfigError,
    error::{Error, MigrationError},
    fleet::{FleetError, FleetFileError},
    ledger::Action,
    manifest::{ManifestError, Version},
    report::RunError,
};

/// The exit codes. `--help` and the guide have the same list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Pending = 3,
    Drifted = 4,
    Setup = 5,
    Ledger = 6,
    NotConfirmed = 7,
    Unknown = 8,
    Undecided = 9,
    Interrupted = 130,
}

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done, or up to date         5  the functions must be installed
  1  failed                      6  the ledger disagrees with this build
  2  wrong usage or settings     7  not confirmed, nothing was changed
  3  updates are pending         8  still running, or outcome unknown
  4  the schema has drifted      9  could not be tested or compared
  130  interrupted with Ctrl-C, or stopped";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// Of an error of the library.
    fn of(error: &Error) -> Self {
        use Error as E;
        if matches!(error, E::Config(_) | E::BlankReason) {
            Self::Usage
        } else if matches!(
            error,
            E::RpcNotInstalled { .. }
                | E::RpcOutdated { .. }
                | E::RunByHand { .. }
                | E::NothingRunsSql { .. }
        ) {
            Self::Setup
        } else if matches!(error, E::ChangeCancelled { .. }) {
            Self::Interrupted
        } else if matches!(error, E::Ledger(_)) {
            Self::Ledger
        } else if matches!(
            error,
            E::PreviewOutdated
                | E::BackupRequired { .. }
                | E::RepairOutdated { .. }
                | E::NotRecognised { .. }
        ) {
            Self::NotConfirmed
        } else if matches!(
            error,
            E::ChangeRunning | E::StillRunning { .. } | E::OutcomeUnknown { .. }
        ) {
            Self::Unknown
        } else {
            Self::Failed
        }
    }
}

/// The SQLSTATEs that say that a table, column, function, schema or another object exists already.
const EXISTS: [&str; 5] = ["42P07", "42701", "42723", "42P06", "42710"];

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    /// For programs, as [`Error::code`].
    code: &'static str,
    message: String,
    causes: Vec<String>,
    retryable: bool,
    /// Why a version failed, or would.
    failure: Option<Box<MigrationError>>,
    /// Which command to use next.
    next: Option<String>,
    /// Of a run: what it did before.
    done: Option<Box<Done>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    success: bool,
    applied: Vec<Version>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rolled_back: Vec<Version>,
}

impl Failure {
    pub(super) fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code,
            message: message.into(),
            causes: Vec::new(),
            retryable: false,
            failure: None,
            next: None,
            done: None,
        }
    }

    /// A preview in which a version failed, of a database at version `current`.
    pub(super) fn of_preview(current: Version, failure: &MigrationError) -> Self {
        let message = format!(
            "nothing was changed, because version {} would fail",
            failure.version
        );
        Self {
            next: exists(current, failure),
            failure: Some(Box::new(failure.clone())),
            ..Self::new(Exit::Failed, "previewFailed", message)
        }
    }

    /// A file or stream of this computer.
    pub(super) fn io(what: impl Into<String>, error: &io::Error) -> Self {
        Self {
            causes: vec![error.to_string()],
            ..Self::new(Exit::Failed, "io", what)
        }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    pub(super) fn not_confirmed(message: impl Into<String>) -> Self {
        Self::new(Exit::NotConfirmed, "notConfirmed", message)
    }

    pub(super) fn interrupted(message: impl Into<String>) -> Self {
        Self::new(Exit::Interrupted, "interrupted", message)
    }

    pub(super) fn into_output(self) -> Output {
        let mut text = match self.exit {
            // What the user decided is no error.
            Exit::NotConfirmed | Exit::Interrupted => {
                text::warning(&text::capitalised(&self.message))
            }
            _ => text::error(&self.message),
        };
        for cause in &self.causes {
            text += &text::cause(cause);
        }
        if let Some(next) = self.next {
            text += &format!("\n{next}\n");
        }
        let mut json = self.done.map_or(json!({}), |done| json!(done));
        json["error"] = json!({
            "code": self.code, "message": self.message, "causes": self.causes, "retryable": self.retryable,
        });
        if let Some(failure) = self.failure {
            json["error"]["failure"] = json!(failure);
        }
        Output {
            exit: self.exit,
            text,
            verbatim: false,
            json,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut failed = Self {
            causes: error.causes().map(ToString::to_string).collect(),
            retryable: error.is_retryable(),
            next: next(&error),
            ..Self::new(Exit::of(&error), error.code(), error.to_string())
        };
        if let Error::MigrationFailed(failure) = error {
            failed.failure = Some(failure);
        }
        failed
    }
}

/// Which command helps: the doctor, where the cause may be with the server, the key or the installation.
fn next(error: &Error) -> Option<String> {
    use Error as E;
    if matches!(error, E::RpcNotInstalled { .. } | E::RpcOutdated { .. }) {
        return Some(text::RUNS_THE_SCRIPT.to_owned());
    }
    if matches!(error, E::RunByHand { .. }) {
        let print = "`ctx0-schema install --print` and `uninstall --print` print the scripts.";
        return Some(print.to_owned());
    }
    if let E::MigrationFailed(failure) = error {
        // Versions are applied in order, so the ledger has those below.
        return exists(failure.version.before(), failure);
    }
    let doctor = "`ctx0-schema doctor` looks for the cause.";
    error.doctor_helps().then(|| doctor.to_owned())
}

/// What helps where a version makes something that is there already, and the database is at version `current`.
fn exists(current: Version, failure: &MigrationError) -> Option<String> {
    let version = failure.version;
    if failure.action != Action::Apply || !EXISTS.contains(&failure.sqlstate.as_str()) {
        None
    } else if current == Version::ZERO {
        Some("If this schema was made by hand, `ctx0-schema baseline` finds its version and records it.".to_owned())
    } else if version == current.next() {
        Some(format!(
            "If all that v{version} makes was made by hand, `ctx0-schema repair mark-applied {version}` records it as applied."
        ))
    } else {
        None
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Error::from(error).into()
    }
}

impl From<FleetFileError> for Failure {
    fn from(error: FleetFileError) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        Self {
            causes: cause.into_iter().collect(),
            ..Self::usage(error.to_string())
        }
    }
}

impl From<FleetError> for Failure {
    fn from(error: FleetError) -> Self {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let exit = if cause.is_some() {
            Exit::Failed
        } else {
            Exit::Usage
        };
        Self {
            causes: cause.into_iter().collect(),
            ..Self::new(exit, "fleet", error.to_string())
        }
    }
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        Error::from(error).into()
    }
}

impl From<RunError> for Failure {
    fn from(failed: RunError) -> Self {
        let done = Done {
            success: false,
            applied: failed.applied,
            rolled_back: failed.rolled_back,
        };
        Self {
            done: Some(Box::new(done)),
            ..failed.error.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{AttemptAction, LedgerError};

    #[test]
    fn an_exit_code_says_how_to_react() {
        let version = Version::new(2).unwrap();
        for (error, code) in [
            (
                Error::RpcNotInstalled {
                    function: "ctx0_schema_status",
                },
                5,
            ),
            (
                Error::Ledger(LedgerError::DatabaseAhead {
                    current: version,
                    latest: version,
                    app_needed: None,
                }),
                6,
            ),
            (Error::BackupRequired { version }, 7),
            (
                Error::StillRunning {
                    action: AttemptAction::Change(Action::Apply),
                    version,
                    waited: std::time::Duration::ZERO,
                },
                8,
            ),
            (Error::PoolExhausted, 1),
        ] {
            assert_eq!(Exit::of(&error) as u8, code, "{error}");
        }
    }

    #[test]
    fn a_version_that_fails_or_would_says_where() {
        let failure = divides_by_zero(2);
        let expected = json!({
            "action": "apply", "version": 2, "file": "002_b.sql", "statement": 3, "line": 12, "lastLine": 15,
            "sqlstate": "22012", "message": "division by zero", "detail": null, "hint": null, "context": null,
            "retryable": false, "holders": [],
        });
        let previewed = Failure::of_preview(Version::ZERO, &failure).into_output();
        assert_eq!(previewed.json["error"]["failure"], expected);
        let failed = Failure::from(Error::from(Box::new(failure))).into_output();
        assert_eq!(failed.json["error"]["failure"], expected);
    }

    #[test]
    fn what_is_there_already_is_recorded_by_the_command_that_can() {
        let baseline = "`ctx0-schema baseline`";
        let mark = |version: u32| format!("`ctx0-schema repair mark-applied {version}`");
        for (current, version, sqlstate, action, expected) in [
            (0, 1, "42P07", Action::Apply, Some(baseline.to_owned())),
            (0, 2, "42P07", Action::Apply, Some(baseline.to_owned())),
            (1, 2, "42701", Action::Apply, Some(mark(2))),
            // Version 2 is not applied yet, so version 3 cannot be marked.
            (1, 3, "42P07", Action::Apply, None),
            (1, 2, "22012", Action::Apply, None),
            (2, 2, "42P07", Action::Rollback, None),
        ] {
            let failure = MigrationError {
                action,
                sqlstate: sqlstate.to_owned(),
                ..divides_by_zero(version)
            };
            let next = exists(Version::new(current).unwrap(), &failure);
            match expected {
                Some(expected) => assert!(next.unwrap().contains(&expected)),
                None => assert_eq!(next, None),
            }
        }
        let failure = MigrationError {
            sqlstate: "42P07".to_owned(),
            ..divides_by_zero(2)
        };
        let text = Failure::from(Error::from(Box::new(failure)))
            .into_output()
            .text;
        assert!(text.contains(&mark(2)), "{text}");
    }

    fn divides_by_zero(version: u32) -> MigrationError {
        MigrationError {
            action: Action::Apply,
            version: Version::new(version).unwrap(),
            file: Some("002_b.sql".to_owned()),
            statement: Some(3),
            line: Some(12),
            last_line: Some(15),
            sqlstate: "22012".to_owned(),
            message: "division by zero".to_owned(),
            detail: None,
            hint: None,
            context: None,
            retryable: false,
            holders: Vec::new(),
        }
    }

    #[test]
    fn a_failed_run_says_what_it_did_before() {
        let failed = RunError {
            applied: vec![Version::new(1).unwrap()],
            rolled_back: Vec::new(),
            error: Error::PoolExhausted,
        };
        let output = Failure::from(failed).into_output();
        assert_eq!(
            output.json,
            json!({"success": false, "applied": [1], "error": {
                "code": "poolExhausted", "causes": [], "retryable": true,
                "message": "all database connections are busy, so nothing was done: try again in a minute",
            }})
        );
    }
}
