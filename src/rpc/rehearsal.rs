//! A preview: its request, and what the database saw.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Call, Conflict, Failed, Function, Statements, outside_of, sql};
use crate::{
    ledger::Action,
    manifest::{Checksum, Version},
    plan::Step,
    preview::{
        Cancellation, MovedSequence, SeenColumn, SeenObject, SeenOutsideTable, SeenRewrite,
        SeenRows, TableFacts, TableLock,
    },
    sql::Outside,
};

/// Runs steps in a transaction that is rolled back.
#[derive(Serialize)]
pub(crate) struct RehearseMigrations<'a> {
    p_steps: Vec<RehearsedStep<'a>>,
    p_expected_version: Version,
    p_preview: Uuid,
    p_budget_ms: u64,
}

#[derive(Serialize)]
struct RehearsedStep<'a> {
    action: Action,
    version: Version,
    name: &'a str,
    description: &'a str,
    sql: Option<Statements<'a>>,
    checksum: Option<Checksum>,
    outside: Option<&'a Outside>,
}

impl<'a> RehearseMigrations<'a> {
    /// From the database's version, these steps.
    pub(crate) fn new(
        current: Version,
        steps: &'a [Step],
        preview: Uuid,
        budget: Duration,
    ) -> Self {
        let steps = steps.iter().map(|step| {
            let (sql, checksum) = sql(step.runs());
            RehearsedStep {
                action: step.action,
                version: step.version,
                name: &step.name,
                description: &step.description,
                sql,
                checksum,
                outside: outside_of(step.runs()),
            }
        });
        Self {
            p_steps: steps.collect(),
            p_expected_version: current,
            p_preview: preview,
            p_budget_ms: u64::try_from(budget.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// How long the database lets `ctx0_rehearse_migrations` run, in milliseconds.
pub(crate) const SHORT_REHEARSAL_MS: u64 = 5_000;

impl Call for RehearseMigrations<'_> {
    type Response = RehearsalOutcome;

    fn function(&self) -> Function {
        if self.p_budget_ms <= SHORT_REHEARSAL_MS {
            Function::RehearseMigrations
        } else {
            Function::RehearseMigrationsLong
        }
    }
}

/// Ends a running preview.
#[derive(Serialize)]
pub(crate) struct CancelPreview {
    pub(crate) p_preview: Uuid,
}

impl Call for CancelPreview {
    type Response = CancelOutcome;

    fn function(&self) -> Function {
        Function::CancelPreview
    }
}

/// What `ctx0_cancel_preview` returns.
#[derive(Deserialize)]
pub(crate) struct CancelOutcome {
    pub(crate) outcome: Cancellation,
}

/// What `ctx0_rehearse_migrations` returns.
#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum RehearsalOutcome {
    Rehearsed(Rehearsed),
    /// A change is running, or another rehearsal: perhaps an earlier copy of this request.
    Locked {
        rehearsal: bool,
    },
    Conflict(Conflict),
}

#[derive(Deserialize)]
pub(crate) struct Rehearsed {
    /// One for each step that ran. The last one may have failed.
    pub(crate) versions: Vec<RehearsedVersion>,
    pub(crate) tables: Vec<TableFacts>,
    pub(crate) sequences: Vec<MovedSequence>,
    /// Whether `ctx0_cancel_preview` stopped it.
    pub(crate) cancelled: bool,
    /// Whether there are objects of ctx0, although the ledger is empty.
    #[serde(default)]
    pub(crate) unrecorded: bool,
    /// The objects that were changed by hand since the last change left them.
    #[serde(default)]
    pub(crate) drifted: Vec<String>,
    /// Whether pg_cron can run a version outside a transaction.
    #[serde(default)]
    pub(crate) cron: bool,
}

#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum RehearsedVersion {
    Failed(Failed),
    /// The time was used, or the preview was cancelled.
    Stopped {
        outside_table: Option<SeenOutsideTable>,
    },
    /// It can be tested once the version before it is applied.
    AfterPrevious,
    #[serde(alias = "rolled_back")]
    Applied {
        execution_ms: u64,
        outside_table: Option<SeenOutsideTable>,
        objects: Vec<SeenObject>,
        locks: Vec<TableLock>,
        rewrites: Vec<SeenRewrite>,
        columns: Vec<SeenColumn>,
        rows: Vec<SeenRows>,
        restarted: Vec<MovedSequence>,
        unseen: Vec<String>,
        large_objects: u64,
        slots: Vec<String>,
    },
}
