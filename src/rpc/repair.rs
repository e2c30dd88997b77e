//! Recognising a schema that was made by hand, and repairing the ledger.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Call, Conflict, Function, LockHeldBy, Statements, outside_of, sql};
use crate::{
    app_version::AppVersion,
    ledger::RepairAction,
    manifest::{Checksum, Migration, Migrations, Version},
    repair::{Compared, RecordedMigration, RepairPlan},
    sql::Outside,
};

/// Compares the schema with what each version makes.
#[derive(Serialize)]
pub(crate) struct RecogniseSchema<'a> {
    p_steps: Vec<MadeVersion<'a>>,
    p_show: Option<Version>,
}

#[derive(Serialize)]
struct MadeVersion<'a> {
    version: Version,
    name: &'a str,
    description: &'a str,
    sql: Vec<&'a str>,
    checksum: Checksum,
    outside: Option<&'a Outside>,
}

impl<'a> RecogniseSchema<'a> {
    pub(crate) fn new(migrations: &'a Migrations, p_show: Option<Version>) -> Self {
        let steps = migrations.iter().map(|migration| MadeVersion {
            version: migration.version(),
            name: migration.name(),
            description: migration.description(),
            sql: migration.statements().collect(),
            checksum: migration.checksum(),
            outside: migration.up().outside(),
        });
        Self {
            p_steps: steps.collect(),
            p_show,
        }
    }
}

impl Call for RecogniseSchema<'_> {
    type Response = RecogniseOutcome;

    fn function(&self) -> Function {
        Function::RecogniseSchema
    }
}

/// What `ctx0_recognise_schema` returns.
#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum RecogniseOutcome {
    Compared(Compared),
    Locked { held_by: LockHeldBy },
    Conflict(Conflict),
}

/// Makes the ledger say what the database has.
#[derive(Serialize)]
pub(crate) struct RepairLedger<'a> {
    p_action: RepairAction,
    p_steps: Vec<RecordedStep<'a>>,
    p_expected: Expected<'a>,
    p_by: &'a str,
    p_reason: &'a str,
}

/// The fields of `ctx0_private.schema_step` that a repair needs.
#[derive(Serialize)]
struct RecordedStep<'a> {
    version: Version,
    name: Option<&'a str>,
    description: Option<&'a str>,
    checksum: Option<Checksum>,
    down_sql: Option<Statements<'a>>,
    down_checksum: Option<Checksum>,
    attempt: Uuid,
    breaking: Option<bool>,
    min_app_version: Option<&'a AppVersion>,
    down_outside: Option<&'a Outside>,
}

/// What the user saw.
#[derive(Serialize)]
struct Expected<'a> {
    current_version: Version,
    row: Option<ExpectedRow<'a>>,
    fingerprint: Option<&'a str>,
}

#[derive(Serialize)]
struct ExpectedRow<'a> {
    migration_name: &'a str,
    checksum: Option<Checksum>,
}

impl<'a> RepairLedger<'a> {
    /// A new attempt to do what was planned.
    pub(crate) fn new(
        plan: &'a RepairPlan,
        migrations: &'a Migrations,
        p_by: &'a str,
        p_reason: &'a str,
    ) -> Self {
        let of_this_build = |migration| RecordedStep::of(migration);
        let p_steps = match plan.action {
            RepairAction::Baseline => {
                let all = migrations.iter();
                all.take_while(|migration| migration.version() <= plan.version)
                    .map(of_this_build)
                    .collect()
            }
            RepairAction::MarkApplied | RepairAction::AcceptChecksum => migrations
                .get(plan.version)
                .into_iter()
                .map(of_this_build)
                .collect(),
            RepairAction::MarkNotApplied => vec![RecordedStep::without_sql(plan.version)],
        };
        Self {
            p_action: plan.action,
            p_steps,
            p_expected: Expected {
                current_version: plan.current_version,
                row: plan.before.as_ref().map(ExpectedRow::from),
                fingerprint: plan.fingerprint.as_deref(),
            },
            p_by,
            p_reason,
        }
    }
}

impl<'a> RecordedStep<'a> {
    fn of(migration: &'a Migration) -> Self {
        let (down_sql, down_checksum) = sql(migration.down());
        Self {
            name: Some(migration.name()),
            description: Some(migration.description()),
            checksum: Some(migration.checksum()),
            down_sql,
            down_checksum,
            breaking: migration.breaking(),
            min_app_version: migration.min_app_version(),
            down_outside: outside_of(migration.down()),
            ..Self::without_sql(migration.version())
        }
    }

    fn without_sql(version: Version) -> Self {
        Self {
            version,
            name: None,
            description: None,
            checksum: None,
            down_sql: None,
            down_checksum: None,
            attempt: Uuid::new_v4(),
            breaking: None,
            min_app_version: None,
            down_outside: None,
        }
    }
}

impl<'a> From<&'a RecordedMigration> for ExpectedRow<'a> {
    fn from(recorded: &'a RecordedMigration) -> Self {
        Self {
            migration_name: &recorded.migration_name,
            checksum: recorded.checksum,
        }
    }
}

impl Call for RepairLedger<'_> {
    type Response = RepairOutcome;

    fn function(&self) -> Function {
        Function::RepairLedger
    }

    fn attempt(&self) -> Option<Uuid> {
        // The database looks for the first one to tell a copy of the request.
        self.p_steps.first().map(|step| step.attempt)
    }
}

/// What `ctx0_repair_ledger` returns.
#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum RepairOutcome {
    Recorded { current_version: Version },
    AlreadyRecorded { current_version: Version },
    Cancelled { cancelled_by: String },
    Locked { held_by: LockHeldBy },
    Conflict(Conflict),
}
