//! Everything that an operation can fail with.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    config::ConfigError,
    install::SetupScript,
    ledger::{Action, AttemptAction, LedgerError},
    manifest::{ManifestError, Version},
};

/// Everything that an operation of this crate can fail with.
///
/// There is a variant for each way a caller can react. The text says what a person should do next,
/// and never contains the service key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The migrations of this build are not valid.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The ledger disagrees with the migrations of this build, so nothing is applied.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// This build has no such version.
    #[error("{}", unknown_version(*version, *latest))]
    #[non_exhaustive]
    UnknownVersion {
        /// The version asked for.
        version: Version,
        /// The highest one there is.
        latest: Version,
    },
    /// Versions are applied in order.
    #[error(
        "version {version} cannot be applied to a database at version {current}: apply version {next} first"
    )]
    #[non_exhaustive]
    NotNext {
        /// The version asked for.
        version: Version,
        /// What the database has.
        current: Version,
        /// What can be applied.
        next: Version,
    },

    /// A rollback goes to a version below the database's own. Nothing was done.
    #[error("{}: nothing was rolled back{}", not_below(*version, *current), below(*current))]
    #[non_exhaustive]
    NotBelow {
        /// The version asked for.
        version: Version,
        /// What the database has.
        current: Version,
    },
    /// The version has no down migration. Nothing was done.
    #[error(
        "version {version} is not reversible, because no down migration is stored for it: nothing was changed; \
         restore a backup from before it, or write a new migration that reverts it"
    )]
    #[non_exhaustive]
    NotReversible {
        /// The version.
        version: Version,
    },
    /// The hosted service does not have this version yet, and the policy is to follow it. Nothing was done.
    #[error(
        "version {version} is held back, because the hosted service does not have it yet or could not be asked: wait \
         until it has, or set the policy for the hosted service to free"
    )]
    #[non_exhaustive]
    Withheld {
        /// The version.
        version: Version,
    },
    /// The change is no longer what was previewed. Nothing was done.
    #[error(
        "this update has changed since you reviewed it, so nothing was changed: review the new preview, then \
         confirm again"
    )]
    PreviewOutdated,
    /// A version requires a backup first. Nothing was done.
    #[error(
        "version {version} needs a backup first, so nothing was changed: back up the database, then confirm \
         that you did"
    )]
    #[non_exhaustive]
    BackupRequired {
        /// The version.
        version: Version,
    },
    /// The name passed to [`Run::backup_made_by`](crate::Run::backup_made_by) is blank. Nothing was done.
    #[error("the name of who made the backup is blank: enter a name")]
    BlankBackupName,
    /// The ledger does not have what this repair is for. Nothing was changed.
    #[error("this repair is not possible: {reason}; nothing was changed")]
    #[non_exhaustive]
    CannotRepair {
        /// Why not.
        reason: String,
    },
    /// The ledger or the schema has changed since a repair was planned. Nothing was changed.
    #[error(
        "the database has changed since you looked ({reason}), so nothing was recorded: look again, then confirm again"
    )]
    #[non_exhaustive]
    RepairOutdated {
        /// What the database said.
        reason: String,
    },
    /// A baseline was requested for a version that makes another schema, or could not be compared.
    /// Nothing was changed.
    #[error(
        "the schema is not known to be that of version {version}, so nothing was recorded: look at the differences, then \
         accept them or choose another version"
    )]
    #[non_exhaustive]
    NotRecognised {
        /// The version.
        version: Version,
    },
    /// The reason passed to [`SchemaVersionManager::repair`](crate::SchemaVersionManager::repair) is blank.
    /// Nothing was changed.
    #[error("the reason for the repair is blank: enter one, since it is recorded")]
    BlankReason,
    /// A change or another preview is running.
    #[error("an update is in progress: try again when it has finished")]
    ChangeRunning,
    /// The scheduler has stopped, because its runtime was shut down.
    #[error("the scheduler has stopped because its runtime was shut down: start a new one")]
    SchedulerStopped,

    /// The functions of [`install_sql`](crate::install_sql) are not installed.
    #[error(
        "the function {function} is not installed: run the setup script in the SQL editor of the Supabase \
         dashboard, then try again"
    )]
    #[non_exhaustive]
    RpcNotInstalled {
        /// The function that was called.
        function: &'static str,
    },
    /// The installed functions are older than this crate needs.
    #[error(
        "the installed functions are {}, but this app needs release {needed}: run the setup script again in the SQL \
         editor of the Supabase dashboard, which does no harm, then try again",
        installed.map_or("of an older release".to_owned(), |installed| format!("of release {installed}"))
    )]
    #[non_exhaustive]
    RpcOutdated {
        /// The release that is there, where it is known.
        installed: Option<u32>,
        /// The release that is needed.
        needed: u32,
    },
    /// A script for the installed functions cannot be run over HTTP. Nothing was done.
    #[error("{}", by_hand(*script, reason, editor_url.as_deref()))]
    #[non_exhaustive]
    RunByHand {
        /// Which script.
        script: SetupScript,
        /// Why not.
        reason: String,
        /// The page on which it is pasted, where it is known.
        editor_url: Option<String>,
    },
    /// The database refused a script for the installed functions. Nothing was changed.
    #[error(
        "the database refused the script for the installed functions ({reason}, SQLSTATE {sqlstate}), so nothing was \
         changed: correct what it names, then try again"
    )]
    #[non_exhaustive]
    SetupFailed {
        /// The SQLSTATE.
        sqlstate: String,
        /// What the database said.
        reason: String,
    },
    /// The functions are installed, but PostgREST has not noticed.
    #[error(
        "the functions are installed, but the REST API does not serve them: run \"notify pgrst, 'reload schema'\" in the \
         SQL editor, or restart the service rest, then try again"
    )]
    NotServed,
    /// The server does not accept the key.
    #[error(
        "the server refused the service key ({reason}): {}",
        key_advice(reason)
    )]
    #[non_exhaustive]
    KeyRejected {
        /// What the server said.
        reason: String,
    },
    /// The key is valid, but its role may not do this.
    #[error(
        "the database refused the request ({reason}): use the service_role key or a secret key; if you \
         already do, run the setup script again, which restores the privileges"
    )]
    #[non_exhaustive]
    PermissionDenied {
        /// What the database said.
        reason: String,
    },
    /// The servers' clocks disagree: a token that was just issued is not accepted yet.
    #[error(
        "the clocks of the servers disagree ({reason}), so nothing was done: try again in a minute, and on a \
         self-hosted installation synchronize the clocks of its machines"
    )]
    #[non_exhaustive]
    ClockSkew {
        /// What the server said.
        reason: String,
    },
    /// A firewall in front of Supabase blocked the request.
    #[error(
        "a firewall in front of Supabase blocked the request (status {status}, {excerpt}), so nothing was done: allow \
         {method} to {path} there{}",
        if *method == "POST" { ", with SQL in the body" } else { "" }
    )]
    #[non_exhaustive]
    Blocked {
        /// The HTTP status.
        status: u16,
        /// The beginning of what it said.
        excerpt: String,
        /// The method that it must let through.
        method: &'static str,
        /// The path that it must let through, below the gateway's.
        path: String,
    },
    /// The database is read-only.
    #[error(
        "the database is in read-only mode ({reason}), so nothing was done: this is usually a full disk; free or add \
         disk space in the dashboard under Database → Settings, or on the server of a self-hosted installation, then \
         try again"
    )]
    #[non_exhaustive]
    ReadOnly {
        /// What the database said.
        reason: String,
    },
    /// Code in the database, such as a trigger, refused what the installed functions did. It was
    /// undone.
    #[error(
        "code in the database refused the request ({reason}, SQLSTATE {sqlstate}), so nothing was changed: find what \
         raises this error, such as a trigger on ctx0_schema_versions, and change or disable it"
    )]
    #[non_exhaustive]
    Raised {
        /// The SQLSTATE.
        sqlstate: String,
        /// What it said.
        reason: String,
    },
    /// PostgREST does not serve the schema `public`.
    #[error(
        "the schema public is not exposed ({reason}): add it in the dashboard under Project Settings → Data API → \
         Exposed schemas, or to PGRST_DB_SCHEMAS in the .env of a self-hosted installation"
    )]
    #[non_exhaustive]
    SchemaNotExposed {
        /// What PostgREST said.
        reason: String,
    },
    /// PostgREST is running, but its database is down or starting.
    #[error(
        "the database is not available ({reason}): try again in a minute, and check that it is running"
    )]
    #[non_exhaustive]
    DatabaseUnavailable {
        /// What PostgREST said.
        reason: String,
    },
    /// All of PostgREST's connections are busy.
    #[error("all database connections are busy, so nothing was done: try again in a minute")]
    PoolExhausted,
    /// The hosted project is paused.
    #[error("the project is paused: resume it in the Supabase dashboard, then try again")]
    ProjectPaused,
    /// The hosted project is restricted, such as for an exceeded quota or an unpaid bill.
    #[error(
        "the hosted project is restricted ({reason}): look at its plan and usage in the Supabase dashboard, then try again"
    )]
    #[non_exhaustive]
    ProjectRestricted {
        /// What the server said.
        reason: String,
    },
    /// Too many requests.
    #[error("too many requests: try again in {}", wait(*retry_after))]
    #[non_exhaustive]
    RateLimited {
        /// How long to wait, where the server named it.
        retry_after: Option<Duration>,
    },
    /// The gateway in front of PostgREST responded instead of it.
    #[error(
        "the gateway responded with status {status} ({excerpt}): try again in a minute, and if it stays, \
         check the services behind it"
    )]
    #[non_exhaustive]
    Gateway {
        /// The HTTP status.
        status: u16,
        /// The beginning of what it said.
        excerpt: String,
    },
    /// The request is larger than the gateway allows.
    #[error(
        "the request is too large for the gateway: raise its limit (client_max_body_size), or split the \
         migration"
    )]
    RequestTooLarge,
    /// The server redirects. Redirects are not followed, because the key would go to another address.
    #[error("{}", redirects(location.as_deref()))]
    #[non_exhaustive]
    Redirected {
        /// Where to, without query, where it says so.
        location: Option<String>,
    },
    /// What responds asks for a login: another service at this address, or a proxy with a password or single sign-on in
    /// front of the API.
    #[error(
        "what responds here asks for a login (status {status}, {excerpt}), so it is not the API: check the project's URL, \
         its port and path included; if a login protects the whole server, exempt /rest/v1 from it"
    )]
    #[non_exhaustive]
    LoginInFront {
        /// The HTTP status.
        status: u16,
        /// How it asks.
        excerpt: String,
    },
    /// Something other than Supabase responds at this address.
    #[error(
        "what responds at this address is not a Supabase API (status {status}, {excerpt}): check the \
         project's URL, its port and path included"
    )]
    #[non_exhaustive]
    NotSupabase {
        /// The HTTP status.
        status: u16,
        /// The beginning of what it said.
        excerpt: String,
    },
    /// PostgREST is older than this crate supports.
    #[error(
        "the server runs PostgREST {version}, which is too old and would cut long migrations short: update Supabase \
         to a release with PostgREST 12.2 or newer"
    )]
    #[non_exhaustive]
    PostgrestTooOld {
        /// Its version.
        version: String,
    },
    /// Could not connect.
    #[error("{}", unreachable(proxy.as_deref()))]
    #[non_exhaustive]
    Unreachable {
        /// The proxy through which it was tried, and the variable that names it.
        proxy: Option<String>,
        /// What the system said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The URL says `https://`, but the server does not speak TLS at this port.
    #[error(
        "the server does not speak TLS at this port: use http:// in the project's URL if that is meant, or the port \
         that serves https"
    )]
    #[non_exhaustive]
    NotTls {
        /// What the TLS library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server does not speak HTTP at this port: an SSH server, for example.
    #[error(
        "the server does not speak HTTP at this port: check the host and port of the project's URL"
    )]
    #[non_exhaustive]
    NotHttp {
        /// What the HTTP library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server's certificate is not trusted, or belongs to another host.
    #[error(
        "no secure connection, because the server's certificate is not trusted or belongs to another host: \
         check the URL, and for a private certificate authority set CTX0_CA_FILE to its PEM file"
    )]
    #[non_exhaustive]
    Tls {
        /// What the TLS library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No response in time.
    #[error("no response within {} s: try again, and check the network", timeout.as_secs_f32())]
    #[non_exhaustive]
    Timeout {
        /// The timeout.
        timeout: Duration,
    },
    /// The connection broke before the response was complete.
    #[error(
        "the connection broke before the response was complete: try again, and check the network"
    )]
    #[non_exhaustive]
    ConnectionLost {
        /// What the HTTP library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database cancelled the request.
    #[error(
        "the database cancelled the request ({reason}), so nothing was changed: try again when it is less \
         busy, or raise the timeout if it names one"
    )]
    #[non_exhaustive]
    Cancelled {
        /// What it said.
        reason: String,
    },
    /// A response that PostgREST gives to none of these requests.
    #[error(
        "unexpected response (status {status}{}): {message}; update the app, or report this text to its \
         developer",
        code.iter().map(|code| format!(", code {code}")).collect::<String>()
    )]
    #[non_exhaustive]
    UnexpectedResponse {
        /// The HTTP status.
        status: u16,
        /// The SQLSTATE or PostgREST's code.
        code: Option<String>,
        /// What it said, or what it lacks.
        message: String,
    },

    /// A migration failed. Nothing of it is left in the database.
    #[error(transparent)]
    MigrationFailed(#[from] Box<MigrationError>),
    /// The database refused to begin. Nothing was done.
    #[error(
        "{}: {message}; check for updates again before going on",
        not_done(*action, *version)
    )]
    #[non_exhaustive]
    Conflict {
        /// What was to be done.
        action: AttemptAction,
        /// The version of it.
        version: Version,
        /// Why.
        reason: ConflictReason,
        /// The same in words.
        message: String,
    },
    /// Somebody asked to end the change. Nothing of the version was changed, and no other was begun.
    #[error(
        "the change was stopped by {by}, and nothing of version {version} was changed: start it again when you want it"
    )]
    #[non_exhaustive]
    ChangeCancelled {
        /// The version that was running, or would have been the next one.
        version: Version,
        /// Who asked.
        by: String,
    },
    /// The version is one statement that cannot run inside a transaction, and nothing runs it outside one.
    /// Nothing was changed.
    #[error(
        "version {version} cannot run inside a transaction, and nothing runs it outside one ({reason}), so nothing was \
         changed: open /pg/ of a self-hosted installation to the service key, or enable the extension pg_cron, or set \
         SUPABASE_ACCESS_TOKEN for a hosted project{}",
        if *may_lock { "; or agree that the table is locked meanwhile" } else { "" }
    )]
    #[non_exhaustive]
    NothingRunsSql {
        /// The version.
        version: Version,
        /// Why not.
        reason: String,
        /// Whether consent to a lock helps: [`Run::may_lock`](crate::Run::may_lock).
        may_lock: bool,
    },
    /// A migration is still running after the deadline. A later call picks up where it stands.
    #[error(
        "{}: a migration is still running after {} s and continues in the database; check again later",
        not_yet(*action, *version),
        waited.as_secs()
    )]
    #[non_exhaustive]
    StillRunning {
        /// What was to be done.
        action: AttemptAction,
        /// The version of it.
        version: Version,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The request was sent and its outcome could not be learned. A later call finds out.
    #[error("it is unknown {}", unknown(*action, *version))]
    #[non_exhaustive]
    OutcomeUnknown {
        /// What was to be done.
        action: AttemptAction,
        /// The version of it.
        version: Version,
        /// The last thing that went wrong.
        source: Box<Error>,
    },
}

impl Error {
    /// What caused it, the nearest first.
    pub(crate) fn causes(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        std::iter::successors(std::error::Error::source(self), |cause| cause.source())
    }

    /// A short name of the variant, for programs that cannot match on it: the same in every
    /// release, in the messages of [`Ipc`](crate::Ipc) for example.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "config",
            Self::Manifest(_) => "manifest",
            Self::Ledger(problem) => problem.code(),
            Self::UnknownVersion { .. } => "unknownVersion",
            Self::NotNext { .. } => "notNext",
            Self::NotBelow { .. } => "notBelow",
            Self::NotReversible { .. } => "notReversible",
            Self::Withheld { .. } => "withheld",
            Self::PreviewOutdated => "previewOutdated",
            Self::BackupRequired { .. } => "backupRequired",
            Self::BlankBackupName => "blankBackupName",
            Self::CannotRepair { .. } => "cannotRepair",
            Self::RepairOutdated { .. } => "repairOutdated",
            Self::NotRecognised { .. } => "notRecognised",
            Self::BlankReason => "blankReason",
            Self::ChangeRunning => "changeRunning",
            Self::SchedulerStopped => "schedulerStopped",
            Self::RpcNotInstalled { .. } => "rpcNotInstalled",
            Self::RpcOutdated { .. } => "rpcOutdated",
            Self::RunByHand { .. } => "runByHand",
            Self::SetupFailed { .. } => "setupFailed",
            Self::NotServed => "notServed",
            Self::KeyRejected { .. } => "keyRejected",
            Self::PermissionDenied { .. } => "permissionDenied",
            Self::ClockSkew { .. } => "clockSkew",
            Self::Blocked { .. } => "blocked",
            Self::ReadOnly { .. } => "readOnly",
            Self::Raised { .. } => "raised",
            Self::SchemaNotExposed { .. } => "schemaNotExposed",
            Self::DatabaseUnavailable { .. } => "databaseUnavailable",
            Self::PoolExhausted => "poolExhausted",
            Self::ProjectPaused => "projectPaused",
            Self::ProjectRestricted { .. } => "projectRestricted",
            Self::RateLimited { .. } => "rateLimited",
            Self::Gateway { .. } => "gateway",
            Self::RequestTooLarge => "requestTooLarge",
            Self::Redirected { .. } => "redirected",
            Self::LoginInFront { .. } => "loginInFront",
            Self::NotSupabase { .. } => "notSupabase",
            Self::PostgrestTooOld { .. } => "postgrestTooOld",
            Self::Unreachable { .. } => "unreachable",
            Self::NotTls { .. } => "notTls",
            Self::NotHttp { .. } => "notHttp",
            Self::Tls { .. } => "tls",
            Self::Timeout { .. } => "timeout",
            Self::ConnectionLost { .. } => "connectionLost",
            Self::Cancelled { .. } => "cancelled",
            Self::UnexpectedResponse { .. } => "unexpectedResponse",
            Self::MigrationFailed(_) => "migrationFailed",
            Self::Conflict { .. } => "conflict",
            Self::ChangeCancelled { .. } => "changeCancelled",
            Self::NothingRunsSql { .. } => "nothingRunsSql",
            Self::StillRunning { .. } => "stillRunning",
            Self::OutcomeUnknown { .. } => "outcomeUnknown",
        }
    }

    /// Whether [`diagnose`](crate::SchemaVersionManager::diagnose) can find out more: the cause may be with the
    /// server, the network, the key, the installation or the ledger. False where the text says all there is to
    /// know.
    #[must_use]
    pub fn doctor_helps(&self) -> bool {
        match self {
            Self::Ledger(_)
            | Self::NotServed
            | Self::KeyRejected { .. }
            | Self::PermissionDenied { .. }
            | Self::ClockSkew { .. }
            | Self::Blocked { .. }
            | Self::ReadOnly { .. }
            | Self::SchemaNotExposed { .. }
            | Self::DatabaseUnavailable { .. }
            | Self::PoolExhausted
            | Self::Gateway { .. }
            | Self::Redirected { .. }
            | Self::LoginInFront { .. }
            | Self::NotSupabase { .. }
            | Self::PostgrestTooOld { .. }
            | Self::Unreachable { .. }
            | Self::NotTls { .. }
            | Self::NotHttp { .. }
            | Self::Tls { .. }
            | Self::Timeout { .. }
            | Self::ConnectionLost { .. }
            | Self::Cancelled { .. }
            | Self::UnexpectedResponse { .. }
            | Self::StillRunning { .. }
            | Self::OutcomeUnknown { .. }
            | Self::RunByHand { .. }
            | Self::NothingRunsSql { .. }
            | Self::SetupFailed { .. }
            | Self::RpcNotInstalled { .. }
            | Self::RpcOutdated { .. } => true,
            Self::Config(_)
            | Self::Manifest(_)
            | Self::UnknownVersion { .. }
            | Self::NotNext { .. }
            | Self::NotBelow { .. }
            | Self::NotReversible { .. }
            | Self::Withheld { .. }
            | Self::PreviewOutdated
            | Self::BackupRequired { .. }
            | Self::BlankBackupName
            | Self::CannotRepair { .. }
            | Self::RepairOutdated { .. }
            | Self::NotRecognised { .. }
            | Self::BlankReason
            | Self::ChangeRunning
            | Self::SchedulerStopped
            | Self::Raised { .. }
            | Self::ProjectPaused
            | Self::ProjectRestricted { .. }
            | Self::RateLimited { .. }
            | Self::RequestTooLarge
            | Self::MigrationFailed(_)
            | Self::ChangeCancelled { .. }
            | Self::Conflict { .. } => false,
        }
    }

    /// Whether the same call may work a little later without anyone changing anything.
    ///
    /// True for: no connection, no response or a broken one, a gateway's own response, too many
    /// requests, busy connections, a database that is away or that cancelled the request, clocks
    /// that disagree, a migration that is still running or whose outcome is unknown, a preview
    /// while one is running, installed functions that PostgREST does not serve yet, and a migration that failed for a lock timeout, a deadlock or a
    /// serialization failure. False for all else.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::ClockSkew { .. }
            | Self::DatabaseUnavailable { .. }
            | Self::PoolExhausted
            | Self::RateLimited { .. }
            | Self::Gateway { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::ConnectionLost { .. }
            | Self::Cancelled { .. }
            | Self::ChangeRunning
            | Self::NotServed
            | Self::StillRunning { .. }
            | Self::OutcomeUnknown { .. } => true,
            Self::MigrationFailed(failure) => failure.retryable,
            Self::Conflict { reason, .. } => match reason {
                ConflictReason::Damaged | ConflictReason::UnexpectedVersion => true,
                ConflictReason::AttemptReused
                | ConflictReason::DifferentMigration
                | ConflictReason::Gap
                | ConflictReason::NotReversible
                | ConflictReason::UnexpectedObjects
                | ConflictReason::UnsafeTable => false,
            },
            Self::Config(_)
            | Self::NothingRunsSql { .. }
            | Self::Manifest(_)
            | Self::Ledger(_)
            | Self::UnknownVersion { .. }
            | Self::NotNext { .. }
            | Self::NotBelow { .. }
            | Self::NotReversible { .. }
            | Self::Withheld { .. }
            | Self::PreviewOutdated
            | Self::SchedulerStopped
            | Self::BackupRequired { .. }
            | Self::BlankBackupName
            | Self::CannotRepair { .. }
            | Self::RepairOutdated { .. }
            | Self::NotRecognised { .. }
            | Self::BlankReason
            | Self::RpcNotInstalled { .. }
            | Self::RpcOutdated { .. }
            | Self::RunByHand { .. }
            | Self::SetupFailed { .. }
            | Self::KeyRejected { .. }
            | Self::PermissionDenied { .. }
            | Self::Blocked { .. }
            | Self::ReadOnly { .. }
            | Self::Raised { .. }
            | Self::SchemaNotExposed { .. }
            | Self::ProjectPaused
            | Self::ProjectRestricted { .. }
            | Self::RequestTooLarge
            | Self::Redirected { .. }
            | Self::LoginInFront { .. }
            | Self::NotSupabase { .. }
            | Self::PostgrestTooOld { .. }
            | Self::Tls { .. }
            | Self::NotTls { .. }
            | Self::NotHttp { .. }
            | Self::ChangeCancelled { .. }
            | Self::UnexpectedResponse { .. } => false,
        }
    }
}

/// What an action does something to, and the participle of that.
fn done(action: AttemptAction, version: Version) -> (String, String) {
    match action {
        AttemptAction::Change(Action::Apply) => {
            (format!("version {version}"), "applied".to_owned())
        }
        AttemptAction::Change(Action::Rollback) => {
            (format!("version {version}"), "rolled back".to_owned())
        }
        AttemptAction::Repair(_) => (
            "the ledger".to_owned(),
            format!("repaired for version {version}"),
        ),
    }
}

fn not_done(action: AttemptAction, version: Version) -> String {
    let (what, done) = done(action, version);
    format!("{what} was not {done}")
}

fn not_yet(action: AttemptAction, version: Version) -> String {
    let (what, done) = done(action, version);
    format!("{what} is not {done} yet")
}

/// Whether what is not known, why, and how to find out.
fn unknown(action: AttemptAction, version: Version) -> String {
    let (what, done) = done(action, version);
    let next = match action {
        AttemptAction::Change(_) => "check for updates again",
        AttemptAction::Repair(_) => "read the ledger again",
    };
    format!("whether {what} was {done}, because the response was lost: {next} to find out")
}

fn unknown_version(version: Version, latest: Version) -> String {
    if version == Version::ZERO {
        format!("versions begin at 1: choose one from 1 to {latest}")
    } else {
        format!("this app has no schema version {version}; its latest is {latest}: update the app")
    }
}

fn not_below(version: Version, current: Version) -> String {
    if version == current {
        format!("the database is already at version {version}")
    } else {
        format!("the database is at version {current}, which is below version {version}")
    }
}

fn below(current: Version) -> String {
    if current == Version::ZERO {
        String::new()
    } else {
        format!("; choose a version below {current}")
    }
}

fn key_advice(reason: &str) -> &'static str {
    let reason = reason.to_ascii_lowercase();
    if reason.contains("lacks jwt secret") {
        "it has no secret to check keys with; set PGRST_JWT_SECRET of the service rest, which is JWT_SECRET in the .env \
         of a self-hosted installation, and restart it"
    } else if reason.contains("legacy") {
        "create a secret key (sb_secret_…) in the dashboard under Project Settings → API Keys, and use it instead"
    } else {
        "copy the current secret key (sb_secret_…) from the dashboard under Project Settings → API Keys, or \
         SERVICE_ROLE_KEY from the .env of a self-hosted installation"
    }
}

/// How long to wait after too many requests, rounded up.
fn wait(retry_after: Option<Duration>) -> String {
    match retry_after.map_or(0, |after| after.as_secs()) {
        0 => "a minute".to_owned(),
        1 => "1 second".to_owned(),
        seconds @ 2..=120 => format!("{seconds} seconds"),
        seconds @ 121..=7200 => format!("{} minutes", seconds.div_ceil(60)),
        seconds => format!("{} hours", seconds.div_ceil(3600)),
    }
}

fn redirects(location: Option<&str>) -> String {
    match location {
        Some(location) => format!(
            "the server redirects to {location}, and redirects are not followed: use that address as the project's URL"
        ),
        None => "the server redirects without saying where, and redirects are not followed: check the project's URL, \
                 its port and path included"
            .to_owned(),
    }
}

fn by_hand(script: SetupScript, reason: &str, editor_url: Option<&str>) -> String {
    let script = match script {
        SetupScript::Install => "setup",
        SetupScript::Uninstall => "removal",
    };
    let editor = match editor_url {
        Some(url) => format!("the SQL editor at {url}"),
        None => "the SQL editor of the Supabase dashboard".to_owned(),
    };
    format!(
        "the {script} script cannot be run over HTTP here ({reason}): run it in {editor}, then try again"
    )
}

fn unreachable(proxy: Option<&str>) -> String {
    match proxy {
        None => "could not connect to the server: check the URL, the network and that Supabase is running".to_owned(),
        Some(proxy) => format!(
            "could not connect to the server through the proxy {proxy}: check that the proxy runs, or unset the variable"
        ),
    }
}

/// Why a migration failed, as the database reported it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct MigrationError {
    /// Whether it was being applied or rolled back.
    pub action: Action,
    /// The version.
    pub version: Version,
    /// The file; `None` if the down SQL of a rollback came from another build.
    pub file: Option<String>,
    /// The statement, from 1; `None` if no single one failed, as with a deferred constraint.
    pub statement: Option<usize>,
    /// The line of the file on which the statement begins, from 1. PostgreSQL does not tell a function where in
    /// the statement an error is.
    pub line: Option<usize>,
    /// The line on which the statement ends.
    pub last_line: Option<usize>,
    /// The SQLSTATE.
    pub sqlstate: String,
    /// PostgreSQL's message.
    pub message: String,
    /// PostgreSQL's detail.
    pub detail: Option<String>,
    /// PostgreSQL's hint.
    pub hint: Option<String>,
    /// Where in functions it was, the innermost first, cut after 2,000 characters. The installed functions come
    /// last.
    pub context: Option<String>,
    /// Whether it may work later as it is: a lock timeout, a deadlock or a serialization failure.
    pub retryable: bool,
    /// After a lock timeout: who holds the tables that the statement names, where that can be seen.
    pub holders: Vec<LockHolder>,
}

impl std::error::Error for MigrationError {}

impl std::fmt::Display for MigrationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.action {
            Action::Apply => write!(f, "version {} failed and was undone: ", self.version)?,
            Action::Rollback => write!(
                f,
                "version {} could not be rolled back and is in the database as before: ",
                self.version
            )?,
        }
        self.reason().fmt(f)?;
        for holder in &self.holders {
            write!(f, "; {holder}")?;
        }
        f.write_str(match (self.retryable, self.action) {
            (true, Action::Apply) => "; apply it again in a moment",
            (false, Action::Apply) => "; update the app, or report this to its developer",
            (true, Action::Rollback) => "; roll it back again in a moment",
            (false, Action::Rollback) => "; update the app, or report this to its developer",
        })
    }
}

impl MigrationError {
    /// Where it failed and what PostgreSQL says, without what that means for the database.
    pub(crate) fn reason(&self) -> impl std::fmt::Display {
        let mut text = self
            .file
            .clone()
            .unwrap_or_else(|| "the stored down migration".to_owned());
        text += &match (self.statement, self.line) {
            (Some(statement), Some(line)) if self.last_line.is_some_and(|last| last > line) => {
                format!(", statement {statement}, which begins on line {line}")
            }
            (Some(statement), Some(line)) => format!(", statement {statement}, line {line}"),
            (Some(statement), None) => format!(", statement {statement}"),
            (None, _) => ", at its end".to_owned(),
        };
        let message = self.message.trim_end_matches('.');
        text += &format!(": {message} (SQLSTATE {})", self.sqlstate);
        for (name, more) in [("detail", &self.detail), ("hint", &self.hint)] {
            if let Some(more) = more {
                text += &format!("; {name}: {}", more.trim_end_matches('.'));
            }
        }
        let context = self.context.as_deref().map(own_context).unwrap_or_default();
        if !context.is_empty() {
            text += &format!("; context: {}", context.join(", in "));
        }
        text
    }
}

/// Where in the functions of a migration an error was, the innermost first: PostgreSQL's context up to the statement
/// of the migration, which the installed functions run.
fn own_context(context: &str) -> Vec<String> {
    /// More of a function that calls itself helps nobody.
    const MOST: usize = 6;
    const LONGEST: usize = 100;
    let mut entries: Vec<String> = Vec::new();
    // A statement or expression may have several lines, up to the quote that ends it.
    let mut open = false;
    for line in context.lines() {
        let quoted = if open {
            let entry = entries.last_mut().expect("one that is open");
            *entry += &format!(" {line}");
            Some(line)
        } else if line.starts_with("PL/pgSQL function ctx0_private.") {
            break;
        } else if ["PL/pgSQL ", "SQL ", "COPY "]
            .iter()
            .any(|start| line.starts_with(start))
        {
            entries.push(line.to_owned());
            let quote = line.split_once('"');
            let quote = quote.filter(|(before, _)| !before.ends_with("function "));
            quote.map(|(_, quoted)| quoted)
        } else {
            None
        };
        open = quoted.is_some_and(|quoted| !quoted.ends_with('"'));
    }
    // The statement of the migration itself stands in its file.
    entries.pop_if(|last| open || last.starts_with("SQL statement \""));
    entries.truncate(MOST);
    for entry in &mut entries {
        *entry = entry.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((end, _)) = entry.char_indices().nth(LONGEST) {
            entry.truncate(end);
            entry.push('…');
        }
    }
    entries
}

/// A session that holds a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LockHolder {
    /// The table, with its schema where it is not on the search path.
    pub relation: String,
    /// The lock, such as `AccessShareLock`.
    pub mode: String,
    /// The process of the session.
    pub pid: i64,
    /// Its user, where that can be seen.
    pub user: Option<String>,
    /// What the session calls itself, where that can be seen.
    pub application: Option<String>,
    /// What it does, such as `idle in transaction`, where that can be seen.
    pub state: Option<String>,
    /// When its transaction began, where that can be seen.
    #[cfg_attr(
        feature = "json-schema",
        schemars(with = "Option<String>", extend("format" = "date-time"))
    )]
    pub since: Option<Timestamp>,
}

impl std::fmt::Display for LockHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is held by process {}", self.relation, self.pid)?;
        let seen = [&self.user, &self.application, &self.state];
        let seen: Vec<_> = seen.into_iter().flatten().map(String::as_str).collect();
        if !seen.is_empty() {
            write!(f, " ({})", seen.join(", "))?;
        }
        self.since
            .iter()
            .try_for_each(|since| write!(f, " since {since}"))
    }
}

/// Why the database refused to start a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConflictReason {
    /// The text that arrived is not the text that was sent.
    Damaged,
    /// The request's id was used before, for something else.
    AttemptReused,
    /// The version was applied from a different migration.
    DifferentMigration,
    /// Someone changed the version since it was read.
    UnexpectedVersion,
    /// Someone changed the objects of ctx0 since they were compared.
    UnexpectedObjects,
    /// A version below it is missing, or one above it is applied.
    Gap,
    /// No down migration is stored for the version.
    NotReversible,
    /// The ledger or the attempts belong to another role, or have its triggers or rules.
    UnsafeTable,
}

#[cfg(test)]
mod tests;
