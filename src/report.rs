//! What the operations return: plain values that serialise to the specification's JSON.

mod cancel;
mod position;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

pub use self::{cancel::CancelReport, position::Position};
use crate::{
    app_version::AppVersion,
    backup::BackupAdvice,
    config::HostedPolicy,
    error::Error,
    install::{SetupScript, install_sql},
    ledger::{Action, AppliedVersion, Attempt, LedgerError},
    manifest::{Migration, Version},
    plan::Way,
};

/// A version, as the specification's `SchemaVersion`, and what is known of older apps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SchemaVersion {
    /// The version.
    pub version: Version,
    /// Its name, such as `002_schema_versioning`.
    pub migration_name: String,
    /// What it does, in a sentence.
    pub description: String,
    /// Whether apps that do not know it can no longer work with the database afterwards; `None` where
    /// that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaking: Option<bool>,
    /// The oldest app that can work with the database afterwards, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_app_version: Option<AppVersion>,
    /// Whether it runs outside a transaction: reading and writing go on meanwhile, but if it breaks off, it is not
    /// undone as a whole. False where that is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outside: bool,
}

impl From<&Migration> for SchemaVersion {
    fn from(migration: &Migration) -> Self {
        Self {
            version: migration.version(),
            migration_name: migration.name().to_owned(),
            description: migration.description().to_owned(),
            breaking: migration.breaking(),
            min_app_version: migration.min_app_version().cloned(),
            outside: migration.up().outside().is_some(),
        }
    }
}

impl From<&AppliedVersion> for SchemaVersion {
    fn from(row: &AppliedVersion) -> Self {
        Self {
            version: row.version,
            migration_name: row.migration_name.clone(),
            description: row.description.clone().unwrap_or_default(),
            breaking: row.breaking,
            min_app_version: row.oldest_app(),
            outside: false,
        }
    }
}

/// How the database compares with this build.
///
/// Serialises to the four keys of the specification, and to `backup`, `setup`, `unrecorded`, `newer`, `hosted` and
/// `problem` where they have a value. With a `problem` nothing is pending, and the database is not up to date either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct UpdateCheck {
    /// Whether anything can be applied. What the policy for the hosted service holds back cannot.
    pub has_updates: bool,
    /// The database's version.
    pub current_version: Version,
    /// This build's version.
    pub latest_version: Version,
    /// What would be applied, in this order.
    pub pending_migrations: Vec<SchemaVersion>,
    /// The backup that a pending version asks for, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupAdvice>,
    /// Why the setup script has to run before anything can be applied. Only the
    /// [`Scheduler`](crate::Scheduler) looks for that, with one more request when something is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup: Option<SetupNeeded>,
    /// The objects of ctx0, such as `table public.ctx0_entries`, if something is pending and the ledger is empty: a
    /// schema that was made by hand. [`recognise`](crate::SchemaVersionManager::recognise) says which version it is. Only
    /// the [`Scheduler`](crate::Scheduler) looks for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unrecorded: Vec<String>,
    /// Versions that a newer app has applied, which this build does not know and this app can work with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub newer: Vec<SchemaVersion>,
    /// How the database compares with the hosted service, where one is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosted: Option<HostedComparison>,
    /// Why nothing can be applied, if the ledger disagrees with this build.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "with_message"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ProblemMessage>"))]
    pub problem: Option<LedgerError>,
}

impl UpdateCheck {
    /// Whether nothing is left to apply and this app can work with the database. It may also have
    /// versions that are [`newer`](Self::newer) than this build.
    #[must_use]
    pub fn is_up_to_date(&self) -> bool {
        !self.has_updates && self.problem.is_none()
    }

    /// Why versions are held back that nobody knows the hosted service to lack: it could not be asked.
    #[cfg(feature = "ipc")]
    pub(crate) fn hosted_unknown(&self) -> Option<&str> {
        let hosted = self.hosted.as_ref();
        let unknown = hosted
            .filter(|hosted| hosted.state == HostedState::Unknown && !hosted.withheld.is_empty());
        unknown.and_then(|hosted| hosted.problem.as_deref())
    }
}

#[cfg(test)]
impl UpdateCheck {
    /// With these versions, and nothing else to tell.
    pub(crate) fn between(current: u32, latest: u32) -> Self {
        Self {
            has_updates: false,
            current_version: Version::new(current).unwrap(),
            latest_version: Version::new(latest).unwrap(),
            pending_migrations: Vec::new(),
            backup: None,
            setup: None,
            unrecorded: Vec::new(),
            newer: Vec::new(),
            hosted: None,
            problem: None,
        }
    }
}

#[cfg(test)]
impl DatabaseStatus {
    /// At this version, with nothing running and an empty record.
    pub(crate) fn at(current: u32) -> Self {
        let status = serde_json::json!({
            "rpc_version": 3, "server_version": "17.6", "current_version": current, "locked": false,
            "owner": "postgres", "ledger": [], "reversible": [], "last_attempt": null,
        });
        serde_json::from_value(status).unwrap()
    }
}

/// How the database compares with the hosted service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct HostedComparison {
    /// The policy of the configuration.
    pub policy: HostedPolicy,
    /// The version of the hosted service; `None` where it is not known.
    pub version: Option<Version>,
    /// Where the database is, compared with it.
    pub state: HostedState,
    /// The versions of this build that are not offered, because the hosted service does not have them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<SchemaVersion>,
    /// Why the manifest of the hosted service could not be used this time. If one could be used before,
    /// that one counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Where a database is, compared with the hosted service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum HostedState {
    /// The hosted service has versions that the database lacks.
    Behind,
    /// Both have the same version.
    Level,
    /// The database has versions that the hosted service lacks.
    Ahead,
    /// The version of the hosted service is not known.
    Unknown,
}

/// The installed functions are missing, outdated or not executable: installing them is the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SetupNeeded {
    /// The name of the error: `rpcNotInstalled`, `rpcOutdated` or `permissionDenied`.
    pub code: &'static str,
    /// The text of the error.
    pub message: String,
    /// The setup script.
    pub install_sql: &'static str,
    /// Whether [`install`](crate::SchemaVersionManager::install) may work, without anyone pasting the
    /// script.
    pub can_install: bool,
    /// The page on which the script is pasted, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub editor_url: Option<String>,
}

impl SetupNeeded {
    /// Whether the remedy of an error is to install.
    pub(crate) fn is_remedy_of(error: &Error) -> bool {
        matches!(
            error,
            Error::RpcNotInstalled { .. }
                | Error::RpcOutdated { .. }
                | Error::PermissionDenied { .. }
                | Error::RunByHand {
                    script: SetupScript::Install,
                    ..
                }
        )
    }

    /// Of an error with this remedy.
    pub(crate) fn of(error: &Error, can_install: bool, editor_url: Option<&str>) -> Option<Self> {
        Self::is_remedy_of(error).then(|| Self {
            code: error.code(),
            message: error.to_string(),
            install_sql: install_sql(),
            // Outdated functions may upgrade themselves.
            can_install: can_install || matches!(error, Error::RpcOutdated { .. }),
            editor_url: editor_url.map(str::to_owned),
        })
    }
}

/// How an installation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct InstallReport {
    /// What was done.
    pub outcome: InstallOutcome,
    /// The release of the functions that are there now.
    pub release: u32,
    /// How the script got into the database; `None` if it was not sent, or if that is not known.
    pub route: Option<InstallRoute>,
}

/// What an installation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum InstallOutcome {
    /// Nothing: the functions of this release are there.
    AlreadyInstalled,
    /// Nothing: the functions of a newer release are there, which work with this one.
    Newer,
    /// There were none before.
    Installed,
    /// There were those of an older release.
    Upgraded,
    /// There were those of this release, or some that the service role could not execute.
    Restored,
}

/// How a script got into the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum InstallRoute {
    /// Through the functions of an older release.
    Functions,
    /// Through postgres-meta of a self-hosted installation.
    PostgresMeta,
    /// Through the Management API of a hosted project.
    ManagementApi,
}

/// How the functions were removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct UninstallReport {
    /// Whether there was anything to remove.
    pub was_installed: bool,
    /// Whether the ledger and the attempts are still there.
    pub history_kept: bool,
    /// How the script got into the database.
    pub route: InstallRoute,
}

/// The state of the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DatabaseStatus {
    /// The release of the installed functions.
    pub rpc_version: u32,
    /// PostgreSQL's version, such as `15.8`.
    pub server_version: String,
    /// The highest version in the ledger.
    pub current_version: Version,
    /// Whether a migration is running.
    pub locked: bool,
    /// Where it is, if that can be seen.
    #[serde(default)]
    pub position: Option<Position>,
    /// The role that runs migrations.
    pub owner: String,
    /// The ledger, lowest version first.
    pub ledger: Vec<AppliedVersion>,
    /// The versions whose down SQL is stored in the database, lowest first.
    pub reversible: Vec<Version>,
    /// The objects of ctx0, such as `table public.ctx0_entries`, if the ledger is empty: a schema that was made by
    /// hand. [`recognise`](crate::SchemaVersionManager::recognise) says which version it is.
    #[serde(default)]
    pub unrecorded: Vec<String>,
    /// The latest request to change the schema or the ledger, whatever its outcome.
    pub last_attempt: Option<Attempt>,
}

/// A run that succeeded. Serialises to `{"success": true, "applied": […]}`, with `rolledBack` after a
/// rollback.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunReport {
    /// The versions that this run applied, in order. A version that another process applied
    /// meanwhile is not included.
    pub applied: Vec<Version>,
    /// The versions that this run rolled back, newest first.
    pub rolled_back: Vec<Version>,
    /// The version that the database has now.
    pub current_version: Version,
}

impl Serialize for RunReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RunResult {
            success: true,
            applied: &self.applied,
            rolled_back: &self.rolled_back,
            error: None,
        }
        .serialize(serializer)
    }
}

/// A run that failed. The versions that it applied or rolled back before stay so.
/// Serialises to `{"success": false, "applied": […], "error": "…"}`, with `rolledBack` likewise.
#[derive(Debug)]
#[non_exhaustive]
pub struct RunError {
    /// The versions that this run applied before, in order.
    pub applied: Vec<Version>,
    /// The versions that this run rolled back before, newest first.
    pub rolled_back: Vec<Version>,
    /// Why it ended.
    pub error: Error,
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Serialize for RunError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RunResult {
            success: false,
            applied: &self.applied,
            rolled_back: &self.rolled_back,
            error: Some(self.error.to_string()),
        }
        .serialize(serializer)
    }
}

/// How a run ended, as the specification writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
pub(crate) struct RunResult<'a> {
    success: bool,
    applied: &'a [Version],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rolled_back: &'a [Version],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What happens during a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "event",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Progress {
    /// A version is being applied or rolled back.
    Started {
        /// Which of the two.
        action: Action,
        /// The version.
        version: Version,
        /// Its name.
        #[serde(rename = "migration_name")]
        migration_name: String,
        /// Its place in this run, from 1.
        position: usize,
        /// How many there are in this run.
        total: usize,
    },
    /// The run is waiting.
    #[non_exhaustive]
    Waiting {
        /// The version.
        version: Version,
        /// What for.
        reason: WaitReason,
        /// How long already, in milliseconds.
        #[serde(rename = "waitedMs", serialize_with = "as_millis")]
        #[cfg_attr(feature = "json-schema", schemars(with = "u64"))]
        waited: Duration,
        /// Where the migration is that runs, this one or another, if that can be seen.
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
    },
    /// A way to run a version that cannot run inside a transaction is closed, and the next one is tried.
    #[non_exhaustive]
    NextWay {
        /// The version.
        version: Version,
        /// The way that is tried now.
        way: Way,
        /// Why the one before it is closed.
        reason: String,
    },
    /// A version was applied.
    #[non_exhaustive]
    Applied {
        /// The version.
        version: Version,
        /// How long it took in the database, in milliseconds; `None` if another process applied it.
        execution_ms: Option<u64>,
    },
    /// A version was rolled back.
    #[non_exhaustive]
    RolledBack {
        /// The version.
        version: Version,
        /// How long it took in the database, in milliseconds; `None` if another process rolled it back.
        execution_ms: Option<u64>,
    },
    /// A version was not completed as far as is known, and the run ends.
    #[non_exhaustive]
    Failed {
        /// The version.
        version: Version,
        /// How it ended.
        end: FailedEnd,
        /// The text of the error.
        error: String,
    },
}

/// How a version ended that was not completed, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum FailedEnd {
    /// It failed, or was not begun. Nothing of it is left.
    Failed,
    /// Somebody asked to stop it. Nothing of it is left.
    Cancelled,
    /// It has not ended, and goes on in the database.
    StillRunning,
    /// Whether it was completed is not known.
    Unknown,
}

impl From<&Error> for FailedEnd {
    fn from(error: &Error) -> Self {
        match error {
            Error::ChangeCancelled { .. } => Self::Cancelled,
            Error::StillRunning { .. } => Self::StillRunning,
            Error::OutcomeUnknown { .. } => Self::Unknown,
            _ => Self::Failed,
        }
    }
}

impl fmt::Display for FailedEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "failed",
            Self::Cancelled => "stopped",
            Self::StillRunning => "still running",
            Self::Unknown => "outcome unknown",
        })
    }
}

/// What a run waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum WaitReason {
    /// This version is running in the database.
    Running,
    /// Another change of the schema is running, by another process for example.
    OtherChange,
    /// A preview is running.
    Preview,
    /// PostgREST does not find the installed functions; it may be reloading its schema cache.
    FunctionsMissing,
    /// There was no usable response; the request is repeated.
    NoResponse,
    /// A table that the migration needs is in use.
    TableInUse,
}

/// What a request waits for, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) reason: WaitReason,
    pub(crate) position: Option<Position>,
}

impl From<WaitReason> for Wait {
    fn from(reason: WaitReason) -> Self {
        Self {
            reason,
            position: None,
        }
    }
}

fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_millis().try_into().unwrap_or(u64::MAX))
}

/// A problem with its text, for readers that cannot make the text themselves.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
pub(crate) struct ProblemMessage {
    #[serde(flatten)]
    problem: LedgerError,
    message: String,
}

impl From<&LedgerError> for ProblemMessage {
    fn from(problem: &LedgerError) -> Self {
        Self {
            problem: problem.clone(),
            message: problem.to_string(),
        }
    }
}

fn with_message<S: Serializer>(
    problem: &Option<LedgerError>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    problem
        .as_ref()
        .map(ProblemMessage::from)
        .serialize(serializer)
}
