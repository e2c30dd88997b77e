//! Everything that goes over the wire: the ledger's table and the installed functions, with their
//! names, arguments and responses.

mod exchange;
mod hosted;
mod outside;
mod repair;
mod setup;
#[cfg(test)]
mod tests;
mod watch;

use std::{fmt, io, time::Duration};

use bytes::Bytes;
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, Error as _},
};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use self::exchange::exchange;
pub(crate) use self::{
    exchange::{ExchangeError, Verdict},
    hosted::HostedManifest,
    outside::{Instead, NOTHING_RUNS_SQL, SqlEnd},
    repair::{RecogniseOutcome, RecogniseSchema, RepairLedger, RepairOutcome},
    setup::ScriptEnd,
};
pub(crate) use crate::transport::{RequestError, RetryPolicy};
use crate::{
    app_version::AppVersion,
    config::{Config, ConfigError},
    doctor::{Health, Probe},
    drift::Findings,
    error::{ConflictReason, Error, LockHolder, MigrationError},
    install::RPC_VERSION,
    ledger::{Action, AppliedVersion, AttemptAction, AttemptOutcome, RepairAction},
    manifest::{Checksum, SqlFile, Version},
    plan::Step,
    preview::{
        Cancellation, MovedSequence, SeenObject, SeenOutsideTable, SeenRewrite, SeenRows,
        TableFacts, TableLock,
    },
    report::{DatabaseStatus, Position, Wait, WaitReason},
    sql::Outside,
    transport::{Effect, Http, Request, Response, Retry, Transport, classify},
};

/// The table of the ledger, in schema `public`.
pub(crate) const LEDGER_TABLE: &str = "ctx0_schema_versions";

/// The functions that this crate calls, in schema `public`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    ApplyMigration,
    ApplyMigrations,
    RollbackMigration,
    RehearseMigrations,
    RehearseMigrationsLong,
    CancelPreview,
    CancelChange,
    VerifySchema,
    RecogniseSchema,
    RepairLedger,
    SchemaStatus,
    Diagnose,
    Running,
    Upgrade,
}

impl Function {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ApplyMigration => "ctx0_apply_migration",
            Self::ApplyMigrations => "ctx0_apply_migrations",
            Self::RollbackMigration => "ctx0_rollback_migration",
            Self::RehearseMigrations => "ctx0_rehearse_migrations",
            Self::RehearseMigrationsLong => "ctx0_rehearse_migrations_long",
            Self::CancelPreview => "ctx0_cancel_preview",
            Self::CancelChange => "ctx0_cancel_change",
            Self::VerifySchema => "ctx0_verify_schema",
            Self::RecogniseSchema => "ctx0_recognise_schema",
            Self::RepairLedger => "ctx0_repair_ledger",
            Self::SchemaStatus => "ctx0_schema_status",
            Self::Diagnose => "ctx0_diagnose",
            Self::Running => "ctx0_running",
            Self::Upgrade => "ctx0_upgrade",
        }
    }
}

/// A call of a function. It serialises to the function's named arguments.
pub(crate) trait Call: Serialize {
    /// What the function returns.
    type Response: DeserializeOwned;

    fn function(&self) -> Function;

    /// The id by which the database knows a repeated request again, for one that changes something.
    fn attempt(&self) -> Option<Uuid> {
        None
    }
}

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
    fn new(step: &'a Step) -> Self {
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

/// Compares the schema with what the last change left.
#[derive(Serialize)]
pub(crate) struct VerifySchema {}

impl Call for VerifySchema {
    type Response = Findings;

    fn function(&self) -> Function {
        Function::VerifySchema
    }
}

/// Describes the state of the database.
#[derive(Serialize)]
pub(crate) struct SchemaStatus {}

impl Call for SchemaStatus {
    type Response = Value;

    fn function(&self) -> Function {
        Function::SchemaStatus
    }
}

/// Asks for what a doctor wants to know of the server.
#[derive(Serialize)]
pub(crate) struct Diagnose {
    pub(crate) p_extensions: Vec<String>,
}

impl Call for Diagnose {
    type Response = Health;

    fn function(&self) -> Function {
        Function::Diagnose
    }
}

/// The statements of a file. Joined they are the file's text.
type Statements<'a> = Vec<&'a str>;

fn sql(file: Option<&SqlFile>) -> (Option<Statements<'_>>, Option<Checksum>) {
    (
        file.map(|file| file.statements().collect()),
        file.map(SqlFile::checksum),
    )
}

fn outside_of(file: Option<&SqlFile>) -> Option<&Outside> {
    file.and_then(SqlFile::outside)
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
        rows: Vec<SeenRows>,
        restarted: Vec<MovedSequence>,
        unseen: Vec<String>,
        large_objects: u64,
        slots: Vec<String>,
    },
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

/// A page of the ledger.
pub(crate) struct LedgerPage {
    pub(crate) rows: Vec<AppliedVersion>,
    /// How many rows the ledger has from the first of these on, where the server counted them.
    pub(crate) total: Option<usize>,
}

/// Makes the calls, with the retry policy of one project.
pub(crate) struct Rpc {
    transport: Box<dyn Transport>,
    policy: RetryPolicy,
}

impl Rpc {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self::over(Box::new(Http::new(config)?), config))
    }

    pub(crate) fn over(transport: Box<dyn Transport>, config: &Config) -> Self {
        Self {
            transport,
            policy: RetryPolicy {
                timeout: config.request_timeout,
                delay: config.retry_delay,
                deadline: config.retry_deadline,
                running_deadline: config.retry_deadline,
                new_attempts: 0,
            },
        }
    }

    /// The policy of requests that change nothing.
    pub(crate) fn policy(&self) -> RetryPolicy {
        self.policy
    }

    /// The ledger's rows above a version. `None` where the ledger does not exist.
    pub(crate) async fn ledger_page(&self, above: Version) -> Result<Option<LedgerPage>, Error> {
        let request = Request::Rows {
            table: LEDGER_TABLE,
            above,
        };
        let page = |response| match response {
            Response::Json { value, total } => {
                let rows = parse(value)?;
                Ok(Verdict::Done(Some(LedgerPage { rows, total })))
            }
            Response::NoTable => Ok(Verdict::Done(None)),
            Response::Refused(refusal) => Err(unexpected(refusal.reason)),
        };
        let request = || request.clone();
        Ok(exchange(
            &*self.transport,
            self.policy,
            request,
            page,
            |_, _| {},
            || None,
        )
        .await?)
    }

    /// Reads the ledger once, and looks at the response itself.
    pub(crate) async fn probe(&self) -> Probe {
        let request = Request::Rows {
            table: LEDGER_TABLE,
            above: Version::ZERO,
        };
        let started = Instant::now();
        let response = self.transport.send(&request, self.policy.timeout).await;
        let (date, server) = response.as_ref().map_or((None, None), |response| {
            let date = response.date.and_then(|date| date.try_into().ok());
            (date, response.server.clone())
        });
        let responded = response.is_ok();
        let took = started.elapsed();
        let (rows, error) = match classify(&request, response) {
            Ok(Response::Json { value, total }) => {
                let returned = value.as_array().map(Vec::len);
                (returned.zip(total), None)
            }
            Ok(Response::NoTable | Response::Refused(_)) => (None, None),
            Err(failed) => (None, Some(*failed.error)),
        };
        Probe {
            took,
            date,
            server,
            responded,
            rows,
            error,
        }
    }

    /// The state of the database, from functions that are new enough to tell it.
    pub(crate) async fn status(&self) -> Result<DatabaseStatus, Error> {
        let status = self.read(&SchemaStatus {}).await?;
        let installed = status["rpc_version"]
            .as_u64()
            .and_then(|release| release.try_into().ok());
        match installed {
            Some(installed) if installed < RPC_VERSION => Err(Error::RpcOutdated {
                installed: Some(installed),
                needed: RPC_VERSION,
            }),
            _ => parse(status).map_err(|failed| *failed.error),
        }
    }

    /// Makes a call that changes nothing and whose response is its outcome.
    pub(crate) async fn read<C: Call>(&self, call: &C) -> Result<C::Response, Error> {
        let request = request(call);
        let outcome = |response| Ok(Verdict::Done(returned(response)?));
        let request = || request.clone();
        Ok(exchange(
            &*self.transport,
            self.policy,
            request,
            outcome,
            |_, _| {},
            || None,
        )
        .await?)
    }

    /// Makes a call until its outcome is known; see [`exchange`].
    pub(crate) async fn call<C: Call, T>(
        &self,
        policy: RetryPolicy,
        mut call: impl FnMut() -> C,
        mut decide: impl FnMut(C::Response) -> Result<Verdict<T>, RequestError>,
        on_wait: impl FnMut(Wait, Duration),
        cancelled: impl Fn() -> Option<T>,
    ) -> Result<T, ExchangeError> {
        let request = || request(&call());
        let decide = |response| decide(returned(response)?);
        exchange(
            &*self.transport,
            policy,
            request,
            decide,
            on_wait,
            cancelled,
        )
        .await
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

fn request<C: Call>(call: &C) -> Request {
    Request::Function {
        name: call.function().name(),
        arguments: json(call),
        attempt: call.attempt(),
    }
}

/// A call as JSON. Its length is counted first, because a text that grows while it is written has at
/// times two copies in memory, and a migration may be of 16 MiB.
fn json<C: Call>(call: &C) -> Bytes {
    let mut length = Length(0);
    serde_json::to_writer(&mut length, call).expect("arguments are plain values");
    let mut text = Vec::with_capacity(length.0);
    serde_json::to_writer(&mut text, call).expect("arguments are plain values");
    text.into()
}

/// Counts what is written to it.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The value that a function returned.
fn returned<T: DeserializeOwned>(response: Response) -> Result<T, RequestError> {
    match response {
        Response::Json { value, .. } => parse(value),
        Response::NoTable => Err(unexpected("the outcome is missing".to_owned())),
        Response::Refused(refusal) => Err(unexpected(refusal.reason)),
    }
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T, RequestError> {
    serde_json::from_value(value).map_err(|error| unexpected(error.to_string()))
}

/// A response that only another release of the functions gives. What it did is not known.
fn unexpected(message: String) -> RequestError {
    RequestError {
        error: Box::new(Error::UnexpectedResponse {
            status: 200,
            code: None,
            message,
        }),
        effect: Effect::Unknown,
        retry: Retry::No,
    }
}
