//! A change of the schema: its request, and what the database has decided.

use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::Value;
use uuid::Uuid;

use super::{Call, Function, NOTHING_RUNS_SQL, RequestError, SqlEnd, Statements, outside_of, sql};
use crate::{
    app_version::AppVersion,
    error::{ConflictReason, Error, LockHolder, MigrationError},
    ledger::{Action, AttemptAction, AttemptOutcome, RepairAction},
    manifest::{Checksum, Version},
    plan::Step,
    report::{Position, Wait, WaitReason},
    sql::Outside,
    transport::{Effect, Retry},
};

/// Changes the schema: by one version, or by several to apply.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum ChangeSchema<'a> {
    Apply {
        p_version: Version,
        p_name: &'a str,
        p_description: &'a str,
        p_sql: Option<Statements<'a>>,
        p_checksum: Option<Checksum>,
        p_down_sql: Option<Statements<'a>>,
        p_down_checksum: Option<Checksum>,
        p_applied_by: &'a str,
        p_expected_version: Version,
        p_attempt: Uuid,
        p_backup_by: Option<&'a str>,
        p_continues: bool,
        p_breaking: Option<bool>,
        p_min_app_version: Option<&'a AppVersion>,
        #[serde(skip_serializing_if = "Option::is_none")]
        p_outside: Option<&'a Outside>,
        #[serde(skip_serializing_if = "Option::is_none")]
        p_down_outside: Option<&'a Outside>,
        #[serde(skip_serializing_if = "Option::is_none")]
        p_response: Option<SqlEnd>,
    },
    ApplySeveral {
        p_steps: Vec<AppliedStep<'a>>,
        p_applied_by: &'a str,
        p_backup_by: Option<&'a str>,
        p_continues: bool,
    },
    Rollback {
        p_version: Version,
        p_down_sql: Option<Statements<'a>>,
        p_down_checksum: Option<Checksum>,
        p_applied_by: &'a str,
        p_expected_version: Version,
        p_attempt: Uuid,
        p_backup_by: Option<&'a str>,
        p_continues: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        p_outside: Option<&'a Outside>,
        #[serde(skip_serializing_if = "Option::is_none")]
        p_response: Option<SqlEnd>,
    },
}

/// A version of [`ChangeSchema::ApplySeveral`]: `ctx0_private.schema_step`.
#[derive(Serialize)]
pub(crate) struct AppliedStep<'a> {
    version: Version,
    name: &'a str,
    description: &'a str,
    sql: Option<Statements<'a>>,
    checksum: Option<Checksum>,
    down_sql: Option<Statements<'a>>,
    down_checksum: Option<Checksum>,
    expected_version: Version,
    attempt: Uuid,
    breaking: Option<bool>,
    min_app_version: Option<&'a AppVersion>,
    outside: Option<&'a Outside>,
    down_outside: Option<&'a Outside>,
}

/// What a run says with each of its requests.
#[derive(Clone, Copy)]
pub(crate) struct RunFacts<'a> {
    pub(crate) applied_by: &'a str,
    pub(crate) backup_by: Option<&'a str>,
    /// Whether other versions follow in another request.
    pub(crate) continues: bool,
}

impl<'a> ChangeSchema<'a> {
    /// New attempts to take these steps. Only steps that apply can be more than one.
    pub(crate) fn new(steps: &'a [Step], run: RunFacts<'a>) -> Self {
        let (p_applied_by, p_backup_by) = (run.applied_by, run.backup_by);
        let p_continues = run.continues;
        match steps {
            [step] => Self::of_one(step, run),
            _ => Self::ApplySeveral {
                p_steps: steps.iter().map(AppliedStep::new).collect(),
                p_applied_by,
                p_backup_by,
                p_continues,
            },
        }
    }

    fn of_one(step: &'a Step, run: RunFacts<'a>) -> Self {
        let (p_down_sql, p_down_checksum) = sql(step.down());
        let (p_applied_by, p_backup_by) = (run.applied_by, run.backup_by);
        let (p_continues, p_attempt) = (run.continues, Uuid::new_v4());
        match step.action {
            Action::Apply => {
                let (p_sql, p_checksum) = sql(step.up());
                Self::Apply {
                    p_version: step.version,
                    p_name: &step.name,
                    p_description: &step.description,
                    p_sql,
                    p_checksum,
                    p_down_sql,
                    p_down_checksum,
                    p_applied_by,
                    p_expected_version: step.starts_from(),
                    p_attempt,
                    p_backup_by,
                    p_continues,
                    p_breaking: step.breaking(),
                    p_min_app_version: step.min_app_version(),
                    p_outside: outside_of(step.up()),
                    p_down_outside: outside_of(step.down()),
                    p_response: None,
                }
            }
            Action::Rollback => Self::Rollback {
                p_version: step.version,
                p_down_sql,
                p_down_checksum,
                p_applied_by,
                p_expected_version: step.starts_from(),
                p_attempt,
                p_backup_by,
                p_continues,
                p_outside: outside_of(step.down()),
                p_response: None,
            },
        }
    }

    /// The same attempt once more, after a statement that the database asked for.
    pub(crate) fn again(mut self, attempt: Uuid, response: Option<SqlEnd>) -> Self {
        match &mut self {
            Self::Apply {
                p_attempt,
                p_response,
                ..
            }
            | Self::Rollback {
                p_attempt,
                p_response,
                ..
            } => (*p_attempt, *p_response) = (attempt, response),
            Self::ApplySeveral { .. } => unreachable!("a version outside a transaction is alone"),
        }
        self
    }
}

impl<'a> AppliedStep<'a> {
    pub(super) fn new(step: &'a Step) -> Self {
        let (sql_, checksum) = sql(step.up());
        let (down_sql, down_checksum) = sql(step.down());
        Self {
            version: step.version,
            name: &step.name,
            description: &step.description,
            sql: sql_,
            checksum,
            down_sql,
            down_checksum,
            expected_version: step.starts_from(),
            attempt: Uuid::new_v4(),
            breaking: step.breaking(),
            min_app_version: step.min_app_version(),
            outside: outside_of(step.up()),
            down_outside: outside_of(step.down()),
        }
    }
}

impl Call for ChangeSchema<'_> {
    type Response = ChangeOutcomes;

    fn function(&self) -> Function {
        match self {
            Self::Apply { .. } => Function::ApplyMigration,
            Self::ApplySeveral { .. } => Function::ApplyMigrations,
            Self::Rollback { .. } => Function::RollbackMigration,
        }
    }

    fn attempt(&self) -> Option<Uuid> {
        match self {
            Self::Apply { p_attempt, .. } | Self::Rollback { p_attempt, .. } => Some(*p_attempt),
            // The database looks for the first one to tell a copy of the request.
            Self::ApplySeveral { p_steps, .. } => p_steps.first().map(|step| step.attempt),
        }
    }
}

/// Ends a change of the schema: this attempt, or whatever runs.
#[derive(Serialize)]
pub(crate) struct CancelChange<'a> {
    pub(crate) p_attempt: Option<Uuid>,
    pub(crate) p_cancelled_by: &'a str,
}

impl Call for CancelChange<'_> {
    type Response = CancelChangeOutcome;

    fn function(&self) -> Function {
        Function::CancelChange
    }
}

/// What `ctx0_cancel_change` returns.
#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum CancelChangeOutcome {
    Requested {
        attempt: Uuid,
        /// The process that the owner of the functions may not cancel.
        pid: Option<i64>,
    },
    Cancelled {
        version: Option<Version>,
    },
    Finished {
        version: Version,
        result: AttemptOutcome,
    },
    NotRunning,
}

/// What a change of the schema returns: the outcome of its first step, and of those after it that
/// the database has decided too.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct ChangeOutcomes(pub(crate) Vec<ChangeOutcome>);

impl TryFrom<Value> for ChangeOutcomes {
    type Error = serde_json::Error;

    fn try_from(mut response: Value) -> Result<Self, Self::Error> {
        let outcomes: Vec<_> = match response.get_mut("results").map(Value::take) {
            Some(results) => serde_json::from_value(results)?,
            None => vec![serde_json::from_value(response)?],
        };
        if outcomes.is_empty() {
            return Err(serde_json::Error::custom("no version has an outcome"));
        }
        Ok(Self(outcomes))
    }
}

/// What `ctx0_apply_migration` and `ctx0_rollback_migration` return, and `ctx0_apply_migrations` for
/// each version.
#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum ChangeOutcome {
    Applied {
        execution_ms: u64,
    },
    AlreadyApplied,
    RolledBack {
        execution_ms: u64,
    },
    AlreadyRolledBack,
    /// The client is to make its request again after this.
    Outside(OutsideStatement),
    Locked(Running),
    Conflict(Conflict),
    Failed(Failed),
    Cancelled {
        cancelled_by: String,
    },
}

/// A statement that the client is to run outside a transaction.
#[derive(Deserialize)]
pub(crate) struct OutsideStatement {
    pub(crate) sql: String,
    /// Why pg_cron does not run it if the client cannot; `None` where it does.
    pub(crate) no_cron: Option<String>,
}

/// What has the lock of the schema, and where it is.
#[derive(Deserialize)]
pub(crate) struct Running {
    held_by: LockHeldBy,
    position: Option<Position>,
}

impl From<LockHeldBy> for Wait {
    fn from(held_by: LockHeldBy) -> Self {
        WaitReason::from(held_by).into()
    }
}

impl From<Running> for Wait {
    fn from(running: Running) -> Self {
        Self {
            reason: running.held_by.into(),
            position: running.position,
        }
    }
}

/// What has the lock of the schema, so that nothing was done.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LockHeldBy {
    /// An earlier copy of this request.
    Attempt,
    Change,
    Rehearsal,
}

impl From<LockHeldBy> for WaitReason {
    fn from(held_by: LockHeldBy) -> Self {
        match held_by {
            LockHeldBy::Attempt => Self::Running,
            LockHeldBy::Change => Self::OtherChange,
            LockHeldBy::Rehearsal => Self::Preview,
        }
    }
}

/// Why the database refused to start. Nothing has run.
#[derive(Deserialize)]
pub(crate) struct Conflict {
    reason: ConflictReason,
    message: String,
}

impl Conflict {
    /// The error of what was to be done with this version. A request that was damaged on its way is an error
    /// of the request, which is sent again.
    pub(crate) fn into_error(
        self,
        action: AttemptAction,
        version: Version,
    ) -> Result<Error, RequestError> {
        let Self { reason, message } = self;
        let error = match reason {
            ConflictReason::NotReversible => Error::NotReversible { version },
            ConflictReason::Damaged
            | ConflictReason::AttemptReused
            | ConflictReason::DifferentMigration
            | ConflictReason::UnexpectedVersion
            | ConflictReason::UnexpectedObjects
            | ConflictReason::UnsafeTable
            | ConflictReason::Gap => Error::Conflict {
                action,
                version,
                reason,
                message,
            },
        };
        match reason {
            ConflictReason::Damaged => Err(damaged(error)),
            _ => Ok(error),
        }
    }

    /// The error of a repair of the ledger for this version.
    pub(crate) fn into_repair_error(
        self,
        action: RepairAction,
        version: Version,
    ) -> Result<Error, RequestError> {
        match self.reason {
            ConflictReason::DifferentMigration
            | ConflictReason::UnexpectedVersion
            | ConflictReason::UnexpectedObjects
            | ConflictReason::Gap => Ok(Error::RepairOutdated {
                reason: self.message,
            }),
            ConflictReason::Damaged
            | ConflictReason::AttemptReused
            | ConflictReason::NotReversible
            | ConflictReason::UnsafeTable => {
                self.into_error(AttemptAction::Repair(action), version)
            }
        }
    }
}

/// The text was damaged on its way, so the request is made again.
fn damaged(error: Error) -> RequestError {
    RequestError {
        error: Box::new(error),
        effect: Effect::None,
        retry: Retry::Yes,
    }
}

/// A version whose SQL failed. Nothing of it is left.
#[derive(Deserialize)]
pub(crate) struct Failed {
    statement: usize,
    sqlstate: String,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    context: Option<String>,
    retryable: bool,
    holders: Option<Vec<LockHolder>>,
    /// The checksum of the SQL that ran.
    checksum: Option<Checksum>,
}

impl Failed {
    /// Why nothing runs a statement outside a transaction, if that is the reason.
    pub(crate) fn nothing_runs_sql(&self) -> Option<&str> {
        (self.sqlstate == NOTHING_RUNS_SQL).then_some(&self.message)
    }

    /// Whether a statement waited for a table until `lock_timeout`.
    pub(crate) fn is_lock_timeout(&self) -> bool {
        self.sqlstate == "55P03"
    }

    pub(crate) fn in_step(self, step: &Step) -> MigrationError {
        // The stored down migration may not be this build's file. A preview runs another text of a statement
        // that runs outside a transaction.
        let file = step.runs().filter(|file| {
            file.outside().is_some() || self.checksum.is_none_or(|ran| ran == file.checksum())
        });
        let line = file.and_then(|file| file.line_of(self.statement));
        let known = file.map_or(self.statement > 0, |_| line.is_some());
        MigrationError {
            action: step.action,
            version: step.version,
            file: file.map(|file| file.name().to_owned()),
            statement: known.then_some(self.statement),
            line,
            last_line: file.and_then(|file| file.last_line_of(self.statement)),
            sqlstate: self.sqlstate,
            message: self.message,
            detail: self.detail,
            hint: self.hint,
            context: self.context,
            retryable: self.retryable,
            holders: self.holders.unwrap_or_default(),
        }
    }
}
