//! A change of the schema: each version is sent under an id of its own and followed to its
//! true end.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Limits, SchemaVersionManager, returned};
use crate::{
    error::{ConflictReason, Error, LockHolder, MigrationError},
    ledger::Action,
    manifest::{Backup, Checksum, SqlFile, Version},
    plan::Step,
    preview::PreviewToken,
    report::{Progress, RunError, RunReport, WaitReason},
    transport::{Effect, Request, RequestError, Response, Retry, RetryState, try_once},
};

/// How often a migration that found a table in use is tried once more.
const LOCK_TIMEOUT_RETRIES: usize = 3;

/// PostgreSQL's `lock_not_available`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// A change of the schema that is about to be made: await it to start.
///
/// Dropping it while it runs stops the asking, not a migration that the database has
/// begun: that one ends as a whole or not at all, and the next call finds it as it is.
///
/// ```no_run
/// # async fn example(manager: ctx0_schema::SchemaVersionManager) -> Result<(), ctx0_schema::RunError> {
/// use ctx0_schema::Progress;
///
/// let report = manager
///     .apply_all_pending()
///     .on_progress(|progress| match progress {
///         Progress::Started { version, position, total, .. } => println!("{position}/{total}: v{version} …"),
///         Progress::Applied { version, execution_ms: Some(ms), .. } => println!("v{version} in {ms} ms"),
///         _ => {}
///     })
///     .await?;
/// println!("now at v{}", report.current_version);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is changed until it is awaited"]
pub struct Run {
    manager: SchemaVersionManager,
    goal: Goal,
    deadline: Duration,
    agreed: Option<PreviewToken>,
    backup_by: Option<String>,
    on_progress: Box<dyn FnMut(Progress) + Send>,
}

/// What a run is to reach.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// Everything that is pending.
    Latest,
    /// One version more.
    Next(Version),
    /// A version below.
    BackTo(Version),
}

impl Run {
    pub(super) fn new(manager: SchemaVersionManager, goal: Goal) -> Self {
        let deadline = manager.0.limits.apply;
        Self {
            manager,
            goal,
            deadline,
            agreed: None,
            backup_by: None,
            on_progress: Box::new(|_| {}),
        }
    }

    /// Is told what happens, as it happens. Must not block.
    pub fn on_progress(mut self, listener: impl FnMut(Progress) + Send + 'static) -> Self {
        self.on_progress = Box::new(listener);
        self
    }

    /// How long a running migration is waited for, a version.
    /// Default: [`ConfigBuilder::apply_deadline`](crate::ConfigBuilder::apply_deadline).
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = limit;
        self
    }

    /// Does what a preview showed, or nothing: [`Error::PreviewOutdated`] where the versions,
    /// a checksum or the database's version are others by now.
    pub fn agreed_to(mut self, preview: PreviewToken) -> Self {
        self.agreed = Some(preview);
        self
    }

    /// Says that there is a backup, and who says so, which is recorded with each version.
    /// Versions that require a backup are not applied without.
    pub fn backup_made_by(mut self, name: impl Into<String>) -> Self {
        self.backup_by = Some(name.into());
        self
    }

    async fn run(mut self) -> Result<RunReport, RunError> {
        let mut done = Vec::new();
        let end = self.run_into(&mut done).await;
        let (applied, rolled_back) = match self.goal {
            Goal::Latest | Goal::Next(_) => (done, Vec::new()),
            Goal::BackTo(_) => (Vec::new(), done),
        };
        match end {
            Ok(current_version) => Ok(RunReport {
                applied,
                rolled_back,
                current_version,
            }),
            Err(error) => Err(RunError {
                applied,
                rolled_back,
                error,
            }),
        }
    }

    async fn run_into(&mut self, done: &mut Vec<Version>) -> Result<Version, Error> {
        let manager = self.manager.clone();
        let (current, steps) = match self.goal {
            Goal::Latest => manager.steps_to_latest().await?,
            Goal::Next(version) => manager.steps_to_next(version).await?,
            Goal::BackTo(version) => manager.steps_back_to(version).await?,
        };
        if let Some(agreed) = &self.agreed
            && *agreed != PreviewToken::of(current, &steps)
        {
            return Err(Error::PreviewOutdated);
        }
        if self.backup_by.is_none()
            && let Some(step) = steps
                .iter()
                .find(|step| step.backup() == Some(Backup::Required))
        {
            return Err(Error::BackupRequired {
                version: step.version,
            });
        }

        for (step, position) in steps.iter().zip(1..) {
            let version = step.version;
            (self.on_progress)(Progress::Started {
                action: step.action,
                version,
                migration_name: step.name.clone(),
                position,
                total: steps.len(),
            });
            match self.follow(step).await {
                Ok(end) => {
                    if end.by_this_run {
                        done.push(version);
                    }
                    let execution_ms = end.execution_ms;
                    (self.on_progress)(match step.action {
                        Action::Apply => Progress::Applied {
                            version,
                            execution_ms,
                        },
                        Action::Rollback => Progress::RolledBack {
                            version,
                            execution_ms,
                        },
                    });
                }
                Err(error) => {
                    (self.on_progress)(Progress::Failed {
                        version,
                        error: error.to_string(),
                    });
                    return Err(error);
                }
            }
        }
        Ok(steps.last().map_or(current, Step::leads_to))
    }

    /// Makes one step, and asks until it knows what became of it.
    async fn follow(&mut self, step: &Step) -> Result<Done, Error> {
        let manager = self.manager.clone();
        let Limits {
            request,
            delay,
            retry,
            ..
        } = manager.0.limits;
        let version = step.version;
        let started = Instant::now();
        let mut lock_timeouts = 0;
        let mut call = self.call(step);
        let mut state = RetryState::new(started, delay, retry, self.deadline);
        loop {
            let limit = request.min(state.left(Instant::now()));
            let answer = try_once(&*manager.0.transport, &call, limit)
                .await
                .and_then(|reply| outcome(version, reply));
            let now = Instant::now();
            let (reason, wait) = match answer {
                Ok(Outcome::Applied { execution_ms } | Outcome::RolledBack { execution_ms }) => {
                    return Ok(Done {
                        by_this_run: true,
                        execution_ms: Some(execution_ms),
                    });
                }
                Ok(Outcome::AlreadyApplied | Outcome::AlreadyRolledBack) => {
                    return Ok(Done {
                        by_this_run: false,
                        execution_ms: None,
                    });
                }
                Ok(Outcome::Conflict { reason, message }) => {
                    return Err(conflict(version, reason, message));
                }
                Ok(Outcome::Failed(failed))
                    if failed.sqlstate == LOCK_NOT_AVAILABLE
                        && lock_timeouts < LOCK_TIMEOUT_RETRIES =>
                {
                    // It has ended, so this is a new attempt and needs an id of its own.
                    lock_timeouts += 1;
                    let deadline = self.deadline.saturating_sub(now - started);
                    call = self.call(step);
                    state = RetryState::new(now, delay, retry.min(deadline), deadline);
                    let wait = state.pause(now).ok_or_else(|| failed.of(step))?;
                    (WaitReason::TableInUse, wait)
                }
                Ok(Outcome::Failed(failed)) => return Err(failed.of(step)),
                Ok(Outcome::Locked) => {
                    let still_running = || Error::StillRunning {
                        version,
                        waited: now - started,
                    };
                    (
                        WaitReason::Running,
                        state.wait_for_running(now).ok_or_else(still_running)?,
                    )
                }
                Err(fault) => match state.next(now, fault) {
                    Ok(wait) => (WaitReason::NoResponse, wait),
                    Err(RequestError { error, .. }) if state.is_busy() => {
                        return Err(Error::OutcomeUnknown {
                            version,
                            source: error,
                        });
                    }
                    Err(RequestError { error, .. }) => return Err(*error),
                },
            };
            (self.on_progress)(Progress::Waiting {
                version,
                reason,
                waited: now - started,
            });
            sleep(wait).await;
        }
    }

    /// The request for a step, as a new attempt.
    fn call(&self, step: &Step) -> Request {
        let down_statements = statement_list(step.down());
        let down_checksum = step.down().map(SqlFile::checksum);
        let mut arguments = json!({
            "p_version": step.version,
            "p_down_sql": down_statements,
            "p_down_checksum": down_checksum,
            "p_applied_by": self.manager.0.applied_by,
            "p_expected_version": step.starts_from(),
            "p_attempt": Uuid::new_v4(),
            "p_backup_by": self.backup_by,
        });
        let name = match step.action {
            Action::Apply => {
                arguments["p_name"] = json!(step.name);
                arguments["p_description"] = json!(step.description);
                arguments["p_sql"] = statement_list(step.up());
                arguments["p_checksum"] = json!(step.up().map(SqlFile::checksum));
                "ctx0_apply_migration"
            }
            Action::Rollback => "ctx0_rollback_migration",
        };
        Request::Function {
            name,
            arguments: arguments.to_string(),
        }
    }
}

impl IntoFuture for Run {
    type Output = Result<RunReport, RunError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("goal", &self.goal)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// A version that is there now, or is there no more.
struct Done {
    by_this_run: bool,
    execution_ms: Option<u64>,
}

/// What `ctx0_apply_migration` and `ctx0_rollback_migration` return.
#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    Applied {
        execution_ms: u64,
    },
    AlreadyApplied,
    RolledBack {
        execution_ms: u64,
    },
    AlreadyRolledBack,
    Locked,
    Conflict {
        reason: ConflictReason,
        message: String,
    },
    Failed(Failed),
}

/// A failure as the database returns it.
#[derive(Deserialize)]
pub(super) struct Failed {
    statement: usize,
    sqlstate: String,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    context: Option<String>,
    retryable: bool,
    holders: Option<Vec<LockHolder>>,
    /// Of the text that ran.
    checksum: Option<Checksum>,
}

impl Failed {
    fn of(self, step: &Step) -> Error {
        Error::MigrationFailed(Box::new(self.in_step(step)))
    }

    pub(super) fn in_step(self, step: &Step) -> MigrationError {
        // The way back that was stored may be another than this build's.
        let file = step
            .runs()
            .filter(|file| self.checksum.is_none_or(|ran| ran == file.checksum()));
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

pub(super) fn conflict(version: Version, reason: ConflictReason, message: String) -> Error {
    match reason {
        ConflictReason::NotReversible => Error::NotReversible { version },
        ConflictReason::Damaged
        | ConflictReason::AttemptReused
        | ConflictReason::DifferentMigration
        | ConflictReason::UnexpectedVersion
        | ConflictReason::Gap => Error::Conflict {
            version,
            reason,
            message,
        },
    }
}

/// The statements of a file as the functions take them.
pub(super) fn statement_list(file: Option<&SqlFile>) -> Value {
    file.map_or(Value::Null, |file| file.statements().collect())
}

/// The text that arrived is not the text that was sent. Nothing has run, so it is sent again.
pub(super) fn damaged(version: Version, message: String) -> RequestError {
    RequestError {
        error: Box::new(conflict(version, ConflictReason::Damaged, message)),
        effect: Effect::None,
        retry: Retry::Yes,
    }
}

fn outcome(version: Version, reply: Response) -> Result<Outcome, RequestError> {
    match returned(reply) {
        Ok(Outcome::Conflict {
            reason: ConflictReason::Damaged,
            message,
        }) => Err(damaged(version, message)),
        Ok(outcome) => Ok(outcome),
        Err(error) => Err(RequestError {
            error: Box::new(error),
            effect: Effect::Unknown,
            retry: Retry::No,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;
    use crate::transport::fake::{Fake, Scripted, refusal, response};

    const RETRY: Duration = Duration::from_secs(30);
    const DEADLINE: Duration = Duration::from_secs(20 * 60);

    fn empty_ledger() -> Scripted {
        response(200, json!([]))
    }

    fn applied(ms: u64) -> Scripted {
        response(200, json!({"outcome": "applied", "execution_ms": ms}))
    }

    fn locked() -> Scripted {
        response(200, json!({"outcome": "locked"}))
    }

    fn failed(sqlstate: &str) -> Scripted {
        let retryable = sqlstate == "55P03";
        let body = json!({"outcome": "failed", "statement": 2, "sqlstate": sqlstate, "message": "no", "retryable": retryable});
        response(200, body)
    }

    /// Applies version 1 over an empty ledger: the result, the requests behind the first,
    /// the reasons for waiting, and the paused time that it took.
    struct Run {
        result: Result<RunReport, RunError>,
        fake: Fake,
        waited_for: Vec<WaitReason>,
        took: Duration,
    }

    impl Run {
        async fn of(queue: impl IntoIterator<Item = Scripted>) -> Self {
            let fake = Fake::new(std::iter::once(empty_ledger()).chain(queue));
            let waited_for = Arc::new(Mutex::new(Vec::new()));
            let listener = Arc::clone(&waited_for);
            let started = Instant::now();
            let apply = SchemaVersionManager::on(&fake)
                .apply_migration(Version::new(1).unwrap())
                .on_progress(move |progress| {
                    if let Progress::Waiting { reason, .. } = progress {
                        listener.lock().unwrap().push(reason);
                    }
                });
            let result = apply.await;
            let waited_for = waited_for.lock().unwrap().clone();
            Self {
                result,
                fake,
                waited_for,
                took: started.elapsed(),
            }
        }

        fn attempts(&self) -> Vec<Value> {
            self.fake.arguments("p_attempt")
        }

        fn error(self) -> Error {
            self.result.unwrap_err().error
        }
    }

    fn distinct(values: &[Value]) -> usize {
        let mut texts: Vec<_> = values.iter().map(Value::to_string).collect();
        texts.sort();
        texts.dedup();
        texts.len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_is_asked_for_again_with_the_same_attempt() {
        for lost in [
            Scripted::Lost,
            Scripted::Silent,
            refusal(503, "PGRST001", Some(0)),
        ] {
            let run = Run::of([lost, locked(), locked(), applied(9)]).await;
            assert_eq!(run.attempts().len(), 4);
            assert_eq!(distinct(&run.attempts()), 1);
            assert_eq!(
                run.waited_for,
                [
                    WaitReason::NoResponse,
                    WaitReason::Running,
                    WaitReason::Running
                ]
            );
            assert_eq!(run.result.unwrap().applied, [Version::new(1).unwrap()]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_process_applied_is_not_counted_as_ones_own() {
        let run = Run::of([
            locked(),
            response(200, json!({"outcome": "already_applied"})),
        ])
        .await;
        let report = run.result.unwrap();
        assert_eq!((report.applied, report.current_version.get()), (vec![], 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_migration_that_never_ends_is_still_running_at_the_deadline() {
        let run = Run::of([locked()]).await;
        let took = run.took;
        assert!(matches!(run.error(), Error::StillRunning { .. }));
        assert!(
            DEADLINE - Duration::from_secs(10) < took && took <= DEADLINE,
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_was_never_reached_is_not_waited_for_as_long_as_a_migration() {
        let run = Run::of([Scripted::Refused]).await;
        let took = run.took;
        assert!(matches!(run.error(), Error::Unreachable { .. }));
        assert!(took <= RETRY, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_went_away_with_the_answer_is_waited_for_as_long_as_a_migration() {
        let mut queue = vec![Scripted::Lost];
        queue.extend(vec![Scripted::Refused; 40]);
        queue.push(applied(9));
        assert!(Run::of(queue).await.result.is_ok());

        let run = Run::of([Scripted::Lost, Scripted::Refused]).await;
        let took = run.took;
        let Error::OutcomeUnknown { source, .. } = run.error() else {
            panic!("unknown")
        };
        assert!(matches!(*source, Error::Unreachable { .. }));
        assert!(took > DEADLINE - Duration::from_secs(10), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unusable_answer_leaves_the_outcome_unknown() {
        for body in [
            json!(null),
            json!({"outcome": "new"}),
            json!({"outcome": "applied"}),
        ] {
            let run = Run::of([response(200, body)]).await;
            assert_eq!(run.attempts().len(), 1);
            assert!(matches!(run.error(), Error::OutcomeUnknown { .. }));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_damaged_request_is_sent_again_as_the_same_attempt() {
        let damaged = response(
            200,
            json!({"outcome": "conflict", "reason": "damaged", "message": "no"}),
        );
        let run = Run::of([damaged, applied(9)]).await;
        assert_eq!((run.attempts().len(), distinct(&run.attempts())), (2, 1));
        assert!(run.result.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_in_use_is_tried_again_as_a_new_attempt() {
        let run = Run::of([failed("55P03"), failed("55P03"), applied(9)]).await;
        assert_eq!(distinct(&run.attempts()), 3);
        assert_eq!(run.waited_for, [WaitReason::TableInUse; 2]);
        assert!(run.result.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_that_stays_in_use_ends_as_a_retryable_failure() {
        let run = Run::of([failed("55P03")]).await;
        assert_eq!(run.attempts().len(), 1 + LOCK_TIMEOUT_RETRIES);
        let error = run.error();
        assert!(error.is_retryable(), "{error}");
        assert!(matches!(error, Error::MigrationFailed(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_goes_away_after_a_table_was_in_use_has_run_nothing() {
        let run = Run::of([failed("55P03"), Scripted::Refused]).await;
        let took = run.took;
        assert!(matches!(run.error(), Error::Unreachable { .. }));
        assert!(took <= RETRY, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_final_and_names_the_line() {
        for sqlstate in ["42P01", "40001", "40P01", "57014"] {
            let run = Run::of([failed(sqlstate)]).await;
            assert_eq!(run.attempts().len(), 1, "{sqlstate}");
            let Error::MigrationFailed(failure) = run.error() else {
                panic!("failed")
            };
            assert_eq!(
                (failure.statement, failure.line, failure.file.as_deref()),
                (Some(2), Some(3), Some("001_a.sql"))
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_run_says_what_it_applied() {
        let fake = Fake::new([empty_ledger(), applied(1), failed("42P01")]);
        let error = SchemaVersionManager::on(&fake)
            .apply_all_pending()
            .await
            .unwrap_err();
        assert_eq!(error.applied, [Version::new(1).unwrap()]);
        assert_eq!(fake.asked().len(), 3, "one to read, one a version");
    }

    #[tokio::test(start_paused = true)]
    async fn the_caller_sets_the_deadline() {
        let fake = Fake::new([empty_ledger(), locked()]);
        let started = Instant::now();
        let error = SchemaVersionManager::on(&fake)
            .apply_all_pending()
            .deadline(Duration::from_secs(60))
            .await
            .unwrap_err();
        assert!(matches!(error.error, Error::StillRunning { .. }));
        assert!(started.elapsed() <= Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn versions_are_applied_in_order_only() {
        let fake = Fake::new([empty_ledger()]);
        let version = |number| Version::new(number).unwrap();
        let error = SchemaVersionManager::on(&fake)
            .apply_migration(version(2))
            .await
            .unwrap_err()
            .error;
        assert!(matches!(error, Error::NotNext { .. }));
        let error = SchemaVersionManager::on(&fake)
            .apply_migration(version(3))
            .await
            .unwrap_err()
            .error;
        assert!(matches!(error, Error::UnknownVersion { .. }));
        let error = SchemaVersionManager::on(&fake)
            .apply_migration(Version::ZERO)
            .await
            .unwrap_err()
            .error;
        assert!(matches!(error, Error::UnknownVersion { .. }));
        assert_eq!(fake.asked().len(), 1, "nothing was sent but one read");
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_that_is_there_needs_no_request_of_its_own() {
        let row = json!([{"version": 1, "migration_name": "001_a", "description": null, "applied_at": null, "applied_by": null}]);
        let fake = Fake::new([response(200, row)]);
        let report = SchemaVersionManager::on(&fake)
            .apply_migration(Version::new(1).unwrap())
            .await
            .unwrap();
        assert_eq!(
            (
                report.applied,
                report.current_version.get(),
                fake.asked().len()
            ),
            (vec![], 1, 1)
        );
    }
}
