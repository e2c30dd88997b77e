//! Keeps the database schema of ctx0 up to date on a user's own Supabase: checks, shows, applies and
//! rolls back migrations, over HTTP only, each version exactly once.
//!
//! A daemon links this crate. It reads versions through PostgREST and runs migrations through
//! functions that are installed once ([`install_sql`]), because the Postgres port of a self-hosted
//! Supabase is often not reachable.
//!
//! # Where to start
//!
//! - [`SchemaVersionManager`] has every operation: [check](SchemaVersionManager::check_for_updates),
//!   [preview](SchemaVersionManager::preview), [apply](SchemaVersionManager::apply_all_pending),
//!   [roll back](SchemaVersionManager::rollback_to), [verify](SchemaVersionManager::verify).
//! - [`Config`] says where the project is, and [`Migrations`] what this build knows.
//! - `Scheduler` (feature `scheduler`) checks at start and every six hours. `Ipc` (feature `ipc`) answers
//!   the messages of a desktop app and shares one run among its windows.
//! - [`Error`] has a variant for each way a caller can react. Its text says what to do next.
//!
//! The [guide] has a page for each subject, from
//! [getting started](crate::guide::getting_started) to
//! [errors and remedies](crate::guide::errors).
//!
//! # Example
//!
//! ```no_run
//! use ctx0_schema::{Config, Migrations, SchemaVersionManager};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY
//! let manager = SchemaVersionManager::new(&Config::from_env()?, Migrations::bundled()?)?;
//!
//! let check = manager.check_for_updates().await?;
//! if check.has_updates {
//!     println!("v{} → v{}", check.current_version, check.latest_version);
//!     // What it would do to this database. It runs in a transaction that is rolled back.
//!     let preview = manager.preview().await?;
//!     println!("{preview}");
//!     // Only after the user has agreed: exactly what was shown, or nothing.
//!     manager.apply_all_pending().agreed_to(preview.token).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What it guarantees
//!
//! - A version is applied once and as a whole, or not at all, even when requests and responses are lost
//!   or several daemons start at the same moment. See [exactly once](crate::guide::exactly_once).
//! - Nothing changes the database unless an apply or a rollback is awaited. A check only reads.
//! - A preview runs on live tables and can make the app wait; it has a budget and can be cancelled. See
//!   [preview and consent](crate::guide::preview_and_consent).
//! - A ledger that does not fit this build is never reported as up to date.
//! - The service key is never logged and never part of an error.
//!
//! # Features
//!
//! | Feature | Default | Adds |
//! |---|---|---|
//! | `scheduler` | yes | `Scheduler`: the check at start and every six hours |
//! | `ipc` | yes | `Ipc`: messages between the daemon and its windows; includes `scheduler` |
//! | `fleet` | no | `Fleet`: the same operations over many projects: see [the guide](crate::guide::fleet) |
//! | `cli` | no | the program `ctx0-schema`: see [the command line](crate::guide::command_line); includes `fleet` |
//! | `json-schema` | no | `ipc_schema()`: the JSON Schema of those messages; includes `ipc` |

#[cfg(any(doc, doctest))]
pub mod guide;

// From the faces down to what they rest on. ARCHITECTURE.md says which module uses which.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "fleet")]
mod fleet;
#[cfg(feature = "ipc")]
mod ipc;
#[cfg(feature = "scheduler")]
mod scheduler;

mod manager;

mod rpc;
mod transport;

mod doctor;
mod hosted;
mod report;

mod repair;

mod drift;
mod preview;
mod schema_objects;

mod backup;
mod plan;

mod error;
mod ledger;
mod manifest;
mod sql;

mod app_version;
mod backoff;
mod config;
mod install;

pub use app_version::{AppVersion, AppVersionError};
pub use backup::BackupAdvice;
pub use config::{
    Config, ConfigBuilder, ConfigError, ENV_ACCESS_TOKEN, ENV_CA_FILE, ENV_KEY, ENV_PLAIN_HTTP,
    ENV_URL, HostedPolicy, KeyError, ServiceKey,
};
pub use doctor::{Check, CheckName, CheckState, Diagnosis};
pub use drift::{UncomparedObject, Verification};
pub use error::{ConflictReason, Error, LockHolder, MigrationError};
#[cfg(feature = "fleet")]
pub use fleet::{
    Fleet, FleetConsent, FleetError, FleetEvent, FleetFile, FleetFileError, FleetOperation,
    FleetProject, FleetReport, KeySource, ProjectFailure, ProjectOutcome, ProjectReport, StopRule,
    StopRuleError,
};
pub use install::{RPC_VERSION, SetupScript, install_sql, uninstall_sql};
#[cfg(feature = "json-schema")]
pub use ipc::ipc_schema;
#[cfg(feature = "ipc")]
pub use ipc::{Ipc, IpcEvents, MAX_BATCH_REQUESTS, MAX_MESSAGE_BYTES};
pub use ledger::{
    Action, AppliedVersion, Attempt, AttemptAction, AttemptOutcome, LedgerError, RepairAction,
};
pub use manager::{
    Install, PreviewCanceller, PreviewRequest, RepairRequest, Run, RunCanceller,
    SchemaVersionManager, Uninstall,
};
pub use manifest::{
    Backup, Checksum, ChecksumError, LockInstead, MAX_MIGRATION_BYTES, ManifestError,
    ManifestErrorKind, Migration, Migrations, Version, VersionError,
};
pub use plan::Way;
pub use preview::{
    Cancellation, LockMode, MovedSequence, OutsidePreview, OutsideTable, Preview, PreviewState,
    PreviewToken, PreviewTokenError, PreviewedVersion, Rewrite, RowChange, TableLock, Unfinished,
    Warning, WarningKind,
};
pub use repair::{
    ComparedVersion, Differences, Likeness, Recognition, RecordedMigration, Repair, RepairPlan,
    RepairReport,
};
pub use report::{
    CancelReport, DatabaseStatus, FailedEnd, HostedComparison, HostedState, InstallOutcome,
    InstallReport, InstallRoute, Position, Progress, RunError, RunReport, SchemaVersion,
    SetupNeeded, UninstallReport, UpdateCheck, WaitReason,
};
#[cfg(feature = "scheduler")]
pub use scheduler::{Listener, Scheduler, SchedulerBuilder, SchemaState};
pub use schema_objects::{Definition, ObjectChange, ObjectKind, Part, PartKind};

/// Compiles the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
