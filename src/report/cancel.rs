use std::fmt;

use serde::Serialize;

use crate::{ledger::AttemptOutcome, manifest::Version};

/// What became of a change of the schema that was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "outcome",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum CancelReport {
    /// It has ended, and nothing of its version is left.
    #[non_exhaustive]
    Cancelled {
        /// The version; `None` if it had not begun, and now it never will.
        version: Option<Version>,
    },
    /// It had ended before.
    #[non_exhaustive]
    Finished {
        /// The version.
        version: Version,
        /// How it had ended: if it was applied, it stays.
        end: AttemptOutcome,
    },
    /// The owner of the functions may not cancel what another role runs. The change ends before its next
    /// statement; [`sql`](Self::sql) ends the running one.
    #[non_exhaustive]
    NotPermitted {
        /// The process that works on it.
        process: i64,
    },
    /// It has not ended yet. It begins no other statement.
    Requested,
    /// Nothing is changing the schema.
    NotRunning,
}

impl CancelReport {
    /// What an administrator of the database runs to end it.
    #[must_use]
    pub fn sql(&self) -> Option<String> {
        match self {
            Self::NotPermitted { process } => Some(format!("select pg_cancel_backend({process});")),
            Self::Cancelled { .. } | Self::Finished { .. } | Self::Requested | Self::NotRunning => {
                None
            }
        }
    }
}

impl fmt::Display for CancelReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled {
                version: Some(version),
            } => write!(
                f,
                "version {version} was stopped, and nothing of it was changed"
            ),
            Self::Cancelled { version: None } => {
                f.write_str("stopped before it began: nothing was changed")
            }
            Self::Finished { version, end } => match end {
                AttemptOutcome::Applied | AttemptOutcome::AlreadyApplied => {
                    write!(f, "too late: version {version} is applied")
                }
                AttemptOutcome::RolledBack | AttemptOutcome::AlreadyRolledBack => {
                    write!(f, "too late: version {version} is rolled back")
                }
                AttemptOutcome::Recorded | AttemptOutcome::AlreadyRecorded => {
                    write!(f, "too late: the ledger was repaired for version {version}")
                }
                AttemptOutcome::Conflict | AttemptOutcome::Failed | AttemptOutcome::Cancelled => {
                    write!(
                        f,
                        "version {version} had ended before, and nothing of it was changed"
                    )
                }
            },
            Self::NotPermitted { process } => write!(
                f,
                "the database does not let ctx0 stop the running statement: it ends before the next one, or an \
                 administrator runs \"select pg_cancel_backend({process});\" in the SQL editor"
            ),
            Self::Requested => f.write_str(
                "it was asked to stop and has not stopped yet: it begins no other statement",
            ),
            Self::NotRunning => f.write_str("nothing is changing the schema"),
        }
    }
}
