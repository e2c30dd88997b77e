#![doc = include_str!("../README.md")]

mod sql;

mod manifest;

mod ledger;

mod plan;

mod transport;

mod report;

mod schema_objects;

mod preview;

mod drift;

mod rpc;

mod manager;

#[cfg(feature = "scheduler")]
mod scheduler;

#[cfg(feature = "ipc")]
mod ipc;

mod backoff;
mod backup;
mod config;
mod error;
mod install;

pub use backup::BackupAdvice;
pub use config::{Config, ConfigBuilder, ConfigError, ENV_KEY, ENV_URL, KeyError, ServiceKey};
pub use drift::Verification;
pub use error::{ConflictReason, Error, LockHolder, MigrationError};
pub use install::{RPC_VERSION, install_sql, uninstall_sql};
#[cfg(feature = "json-schema")]
pub use ipc::ipc_schema;
#[cfg(feature = "ipc")]
pub use ipc::{Ipc, IpcEvents, MAX_MESSAGE_BYTES};
pub use ledger::{Action, AppliedVersion, Attempt, AttemptOutcome, LedgerError};
pub use manager::{PreviewRequest, Run, SchemaVersionManager};
pub use manifest::{
    Backup, Checksum, ChecksumError, MAX_MIGRATION_BYTES, ManifestError, ManifestErrorKind,
    Migration, Migrations, Version, VersionError,
};
pub use preview::{
    LockMode, Preview, PreviewToken, PreviewTokenError, PreviewedVersion, Rewrite, RowChange,
    TableLock, Warning, WarningKind,
};
pub use report::{
    DatabaseStatus, Progress, RunError, RunReport, SchemaVersion, UpdateCheck, WaitReason,
};
#[cfg(feature = "scheduler")]
pub use scheduler::{CheckResult, Listener, Scheduler, SchedulerBuilder, SchemaState};
pub use schema_objects::{Definition, ObjectChange, ObjectKind, Part, PartKind};
