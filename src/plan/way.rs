//! The ways to run a statement that cannot run inside a transaction.

use std::fmt;

use serde::Serialize;

/// A way to run a version that cannot run inside a transaction. They are tried in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Way {
    /// Through postgres-meta of a self-hosted installation.
    PostgresMeta,
    /// In a job of the extension pg_cron.
    PgCron,
    /// Through the Management API of a hosted project.
    ManagementApi,
    /// Inside a transaction all the same, after [`Run::may_lock`](crate::Run::may_lock): its table is locked
    /// meanwhile.
    Transaction,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PostgresMeta => "/pg/query",
            Self::PgCron => "a job of pg_cron",
            Self::ManagementApi => "the Management API",
            Self::Transaction => "a transaction that locks its table",
        })
    }
}
