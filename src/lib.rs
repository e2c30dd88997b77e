//! Looks after the database schema of a self-hosted ctx0 on Supabase, over HTTPS only.

mod manifest;

pub use manifest::{Backup, Checksum, MAX_MIGRATION_BYTES, ManifestError, ManifestProblem, Migration, Migrations, Version};
