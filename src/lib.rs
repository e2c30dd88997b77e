#![doc = include_str!("../README.md")]

mod sql;

mod manifest;

mod plan;

mod transport;

mod report;

mod preview;

mod drift;

mod manager;

#[cfg(feature = "scheduler")]
mod scheduler;

#[cfg(feature = "ipc")]
mod ipc;

mod backup;
mod config;
mod error;
mod install;

pub use backup::BackupAdvice;
pub use config::{Config, ConfigBuilder, ConfigError, ENV_KEY, ENV_URL, KeyError, ServiceKey};
pub use drift::Verification;
pub use error::{Cause, ConflictReason, Error, LockHolder, MigrationError};
pub use install::{RPC_VERSION, install_sql, uninstall_sql};
#[cfg(feature = "json-schema")]
pub use ipc::ipc_schema;
#[cfg(feature = "ipc")]
pub use ipc::{Ipc, IpcEvents, MAX_MESSAGE_BYTES};
pub use manager::{Run, SchemaVersionManager};
pub use manifest::{
    Backup, Checksum, MAX_MIGRATION_BYTES, ManifestError, ManifestErrorKind, Migration, Migrations,
    Version,
};
pub use plan::{Action, AppliedVersion, LedgerError};
pub use preview::{
    Definition, ObjectChange, Part, Preview, PreviewToken, PreviewedVersion, Rewrite, RowChange,
    TableLock, Warning, WarningKind,
};
pub use report::{
    Attempt, DatabaseStatus, Progress, RunError, RunReport, SchemaVersion, UpdateCheck, WaitReason,
};
#[cfg(feature = "scheduler")]
pub use scheduler::{CheckResult, Listener, Scheduler, SchedulerBuilder, SchemaState};
