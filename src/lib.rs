//! Looks after the database schema of a self-hosted ctx0 on Supabase, over HTTPS only:
//! notices that a newer schema exists, shows what it brings, and applies it once the user
//! agrees, exactly once and all or nothing per version, over a network that fails.

mod manager;
mod manifest;
mod plan;
mod report;
mod transport;

mod config;
mod error;
mod install;

pub use config::{Config, ConfigBuilder, ConfigError, ENV_KEY, ENV_URL, KeyProblem, ServiceKey};
pub use error::{Cause, ConflictReason, Error, LockHolder, MigrationFailure};
pub use install::{RPC_VERSION, install_sql, uninstall_sql};
pub use manager::{Apply, SchemaVersionManager};
pub use manifest::{
    Backup, Checksum, MAX_MIGRATION_BYTES, ManifestError, ManifestProblem, Migration, Migrations,
    Version,
};
pub use plan::LedgerProblem;
pub use report::{
    AppliedVersion, ApplyError, ApplyReport, Attempt, DatabaseStatus, Progress, SchemaVersion,
    UpdateCheck, WaitReason,
};
