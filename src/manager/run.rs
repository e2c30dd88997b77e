//! A change of the schema: takes each step under an attempt id and follows it to its end.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use super::{
    SchemaVersionManager,
    cancel::{Ending, RunCanceller},
    goal::Goal,
};
use crate::{
    config::SqlApi,
    error::Error,
    ledger::{Action, AttemptAction},
    manifest::{Backup, LockInstead, Migrations, Version},
    plan::{Step, Way, next_batch, worth_a_backup},
    preview::PreviewToken,
    report::{FailedEnd, Progress, RunError, RunReport, Wait},
    rpc::{
        Call as _, ChangeOutcome, ChangeOutcomes, ChangeSchema, Instead, OutsideStatement,
        RequestError, RetryPolicy, RunFacts, SqlEnd, Verdict,
    },
};

/// How many new attempts follow one that found a table in use.
const NEW_ATTEMPTS: usize = 3;

/// A change of the schema. Await it to start.
///
/// Dropping it stops polling. A request that has started keeps running in the database, and each of its
/// versions ends completely or not at all; the next call finds out which.
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
#[must_use = "nothing changes until it is awaited"]
pub struct Run {
    manager: SchemaVersionManager,
    goal: Goal,
    deadline: Duration,
    agreed: Option<PreviewToken>,
    backup_by: Option<String>,
    may_lock: bool,
    /// Whether several versions go into one request; `None` where the database's version decides.
    batch: Option<bool>,
    ending: Ending,
    on_progress: Option<Box<dyn FnMut(Progress) + Send>>,
}

impl Run {
    pub(super) fn new(manager: SchemaVersionManager, goal: Goal) -> Self {
        let deadline = manager.0.apply_deadline;
        Self {
            manager,
            goal,
            deadline,
            agreed: None,
            backup_by: None,
            may_lock: false,
            batch: None,
            ending: Ending::default(),
            on_progress: None,
        }
    }

    /// Calls `listener` with each event of the run. It must not block.
    ///
    /// For it, the database is asked how far a version is, every 1 to 3 s while the version runs.
    pub fn on_progress(mut self, listener: impl FnMut(Progress) + Send + 'static) -> Self {
        self.on_progress = Some(Box::new(listener));
        self
    }

    /// Whether to apply several versions in one request, in one transaction with a savepoint for each.
    ///
    /// That saves a round trip a version. But the locks of all of them are held until the last one has
    /// ended, so the default is several only where the database has no version yet and nobody can be
    /// using its tables. It changes nothing else: a version that fails leaves those before it applied,
    /// and one that fails after others is tried alone before it is called failed. No version is begun
    /// later than 20 s into a request, or once a request has locked a quarter of what the server has
    /// room for; another request goes on with it. [`Progress`] reports the versions of a request when
    /// the request has ended. Rollbacks always take one request a version.
    pub fn batch(mut self, several: bool) -> Self {
        self.batch = Some(several);
        self
    }

    /// Ends the run from another task.
    #[must_use]
    pub fn canceller(&self) -> RunCanceller {
        RunCanceller::new(self.manager.clone(), self.ending.clone())
    }

    /// How long to wait for each request. Default:
    /// [`ConfigBuilder::apply_deadline`](crate::ConfigBuilder::apply_deadline).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Does what the preview showed, or fails with [`Error::PreviewOutdated`] and does nothing: if
    /// the versions, a checksum or the database's version have changed since.
    pub fn agreed_to(mut self, preview: PreviewToken) -> Self {
        self.agreed = Some(preview);
        self
    }

    /// States that there is a backup, and who said so. The name is recorded with each version.
    ///
    /// A run with a version that requires a backup fails without this.
    /// A blank name is refused ([`Error::BlankBackupName`]).
    pub fn backup_made_by(mut self, name: impl Into<String>) -> Self {
        self.backup_by = Some(name.into());
        self
    }

    /// Whether an index may be made inside a transaction where nothing runs `create index concurrently` outside
    /// one: neither `/pg/query`, nor pg_cron, nor the Management API. That blocks writes to its table until it is made.
    /// A version may forbid it ([`Migration::lock_instead`](crate::Migration::lock_instead)). Without this, such a
    /// version fails with [`Error::NothingRunsSql`].
    pub fn may_lock(mut self, agreed: bool) -> Self {
        self.may_lock = agreed;
        self
    }

    async fn run(mut self) -> Result<RunReport, RunError> {
        let mut done = Vec::new();
        let end = self.run_into(&mut done).await;
        self.ending.lock().has_ended = true;
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

    fn report(&mut self, progress: Progress) {
        if let Some(listener) = &mut self.on_progress {
            listener(progress);
        }
    }

    async fn run_into(&mut self, done: &mut Vec<Version>) -> Result<Version, Error> {
        if self
            .backup_by
            .as_ref()
            .is_some_and(|name| name.trim().is_empty())
        {
            return Err(Error::BlankBackupName);
        }
        let (current, steps) = self.goal.steps(&self.manager).await?;
        self.check_agreed(current, &steps)?;
        if self.backup_by.is_none()
            && let Some(version) = backup_required(&self.manager, current, &steps).await?
        {
            return Err(Error::BackupRequired { version });
        }
        let several = match self.goal {
            Goal::Latest => self.batch.unwrap_or(current == Version::ZERO),
            Goal::Next(_) | Goal::BackTo(_) => false,
        };
        let started = |position: usize| Progress::Started {
            action: steps[position - 1].action,
            version: steps[position - 1].version,
            migration_name: steps[position - 1].name.clone(),
            position,
            total: steps.len(),
        };
        let mut rest = &steps[..];
        while let Some(first) = rest.first() {
            let position = steps.len() - rest.len() + 1;
            self.report(started(position));
            let sent = next_batch(rest, several);
            let answer = self.follow(sent, sent.len() < rest.len()).await;
            self.ending.lock().attempt = None;
            let Taken {
                done: taken, error, ..
            } = answer.unwrap_or_else(Taken::failed);
            for ((step, end), position) in rest.iter().zip(&taken).zip(position..) {
                if step.version != first.version {
                    self.report(started(position));
                }
                if end.by_this_run {
                    done.push(step.version);
                }
                self.report(end.progress(step));
            }
            rest = &rest[taken.len()..];
            if let (Some(error), Some(step)) = (error, rest.first()) {
                if !taken.is_empty() {
                    self.report(started(position + taken.len()));
                }
                self.report(Progress::Failed {
                    version: step.version,
                    end: FailedEnd::from(&error),
                    error: error.to_string(),
                });
                return Err(error);
            }
        }
        Ok(steps.last().map_or(current, Step::leads_to))
    }

    /// Whether the user has agreed to these steps.
    fn check_agreed(&self, current: Version, steps: &[Step]) -> Result<(), Error> {
        match &self.agreed {
            Some(agreed) if *agreed != PreviewToken::of(current, steps) => {
                Err(Error::PreviewOutdated)
            }
            _ => Ok(()),
        }
    }

    /// Requests these steps and follows the request until its outcome is known. In between the database may ask
    /// for a statement to be run outside a transaction.
    async fn follow(&mut self, steps: &[Step], continues: bool) -> Result<Taken, Error> {
        let (version, started) = (steps[0].version, Instant::now());
        let (mut last, mut way) = (None, None);
        loop {
            let left = self.deadline.saturating_sub(started.elapsed());
            let taken = self.request(steps, continues, left, last.take()).await?;
            let (Some(statement), Some(attempt)) = (&taken.outside, self.ending.lock().attempt)
            else {
                return Ok(taken);
            };
            if started.elapsed() >= self.deadline {
                let waited = started.elapsed();
                return Err(Error::StillRunning {
                    action: AttemptAction::Change(steps[0].action),
                    version,
                    waited,
                });
            }
            last = Some((
                attempt,
                self.run_outside(&steps[0], attempt, statement, &mut way)
                    .await,
            ));
        }
    }

    /// Runs a statement outside a transaction, or leaves it to pg_cron. What became of it the database says. `told`: the
    /// last way that was reported.
    async fn run_outside(
        &mut self,
        step: &Step,
        attempt: Uuid,
        statement: &OutsideStatement,
        told: &mut Option<Way>,
    ) -> Option<SqlEnd> {
        let (manager, version) = (&self.manager, step.version);
        let left_to_cron = match &manager.0.sql_api {
            Some(SqlApi::Management { .. }) if statement.no_cron.is_none() => {
                Some("pg_cron comes first".to_owned())
            }
            _ => manager.no_sql_api(),
        };
        let reason = match left_to_cron {
            Some(reason) => reason,
            None => {
                let migrations = &manager.0.migrations;
                let on_wait = self.on_progress.as_mut().map(|listener| {
                    |wait, waited| listener(waiting(version, wait, waited, migrations))
                });
                match manager
                    .0
                    .rpc
                    .run_outside(&statement.sql, attempt, on_wait)
                    .await
                {
                    Ok(end) => return end,
                    Err(error) => manager.why_closed(&error),
                }
            }
        };
        let instead = instead(self.may_lock, step.lock_instead());
        let next = match (&statement.no_cron, instead) {
            (None, _) => Some((Way::PgCron, reason.clone())),
            (Some(no_cron), Instead::Lock { .. }) if step.may_run_inside() => {
                Some((Way::Transaction, format!("{reason}; {no_cron}")))
            }
            (Some(_), Instead::Lock { .. } | Instead::Nothing) => None,
        };
        if let Some((way, reason)) = next.filter(|(way, _)| *told != Some(*way)) {
            *told = Some(way);
            self.report(Progress::NextWay {
                version,
                way,
                reason,
            });
        }
        Some(SqlEnd::nothing_runs_it(reason, instead))
    }

    /// Requests these steps until the response is an outcome, or a statement to be run. `last`: the attempt under way,
    /// and what came back for its statement.
    async fn request(
        &mut self,
        steps: &[Step],
        continues: bool,
        deadline: Duration,
        last: Option<(Uuid, Option<SqlEnd>)>,
    ) -> Result<Taken, Error> {
        let Self {
            manager,
            backup_by,
            may_lock,
            on_progress,
            ending,
            ..
        } = self;
        let (rpc, action, version) = (&manager.0.rpc, steps[0].action, steps[0].version);
        let policy = RetryPolicy {
            running_deadline: deadline,
            new_attempts: NEW_ATTEMPTS,
            ..rpc.policy()
        };
        let facts = RunFacts {
            applied_by: &manager.0.applied_by,
            backup_by: backup_by.as_deref(),
            continues,
        };
        let cancelled = |by| Error::ChangeCancelled { version, by };
        // Once somebody has cancelled the run, there is no attempt that they do not know of.
        let begin = || {
            let mut state = ending.lock();
            if let Some(by) = &state.by {
                return Err(cancelled(by.clone()));
            }
            let change = ChangeSchema::new(steps, facts);
            state.attempt = change.attempt();
            Ok(change)
        };
        let is_under_way = last.is_some();
        let mut first = Some(match last {
            Some((attempt, response)) => ChangeSchema::new(steps, facts).again(attempt, response),
            None => begin()?,
        });
        let attempt = || first.take().or_else(|| begin().ok());
        let decide = |outcomes| {
            Ok(match (decide(steps, outcomes, *may_lock)?, ending.by()) {
                (Verdict::TableInUse(_), Some(by)) => Verdict::Done(Taken::failed(cancelled(by))),
                (verdict, _) => verdict,
            })
        };
        let prevented = || ending.prevented_by().map(|by| Taken::failed(cancelled(by)));
        let migrations = &manager.0.migrations;
        let on_wait = on_progress
            .as_mut()
            .map(|listener| |wait, waited| listener(waiting(version, wait, waited, migrations)));
        rpc.change(policy, attempt, decide, on_wait, prevented)
            .await
            .map_err(|end| match is_under_way {
                true => end.of_what_is_under_way(),
                false => end,
            })
            .map_err(|end| end.of_change(AttemptAction::Change(action), version))
    }
}

/// The version before which a backup must be made. Where the ledger is empty, one more request may be needed to know
/// whether there is anything to lose.
async fn backup_required(
    manager: &SchemaVersionManager,
    current: Version,
    steps: &[Step],
) -> Result<Option<Version>, Error> {
    let required = |steps: &[Step]| {
        let mut steps = steps.iter();
        let step = steps.find(|step| step.backup() == Some(Backup::Required))?;
        Some(step.version)
    };
    let needs_no_data = required(worth_a_backup(false, steps));
    if current != Version::ZERO || needs_no_data.is_some() {
        return Ok(required(steps));
    }
    let Some(version) = required(steps) else {
        return Ok(None);
    };
    // Objects of ctx0 may have been made by hand.
    let has_data = !manager.status().await?.unrecorded.is_empty();
    Ok(has_data.then_some(version))
}

/// What to do where nothing runs a statement outside a transaction.
fn instead(may_lock: bool, allowed: Option<LockInstead>) -> Instead {
    match allowed {
        _ if !may_lock => Instead::Nothing,
        Some(LockInstead::Never) => Instead::Nothing,
        Some(LockInstead::BelowMib(mib)) => Instead::Lock {
            below_bytes: Some(u64::from(mib) * 1024 * 1024),
        },
        None => Instead::Lock { below_bytes: None },
    }
}

fn waiting(version: Version, wait: Wait, waited: Duration, migrations: &Migrations) -> Progress {
    let position = wait.position;
    Progress::Waiting {
        version,
        reason: wait.reason,
        waited,
        position: position.map(|position| position.in_files_of(migrations)),
    }
}

/// What the outcomes of a request mean for its steps. `may_lock`: whether the user has agreed to that.
fn decide(
    steps: &[Step],
    outcomes: ChangeOutcomes,
    may_lock: bool,
) -> Result<Verdict<Taken>, RequestError> {
    let mut taken = Taken::default();
    for (step, outcome) in steps.iter().zip(outcomes.0) {
        let (by_this_run, execution_ms) = match outcome {
            ChangeOutcome::Applied { execution_ms }
            | ChangeOutcome::RolledBack { execution_ms } => (true, Some(execution_ms)),
            ChangeOutcome::AlreadyApplied | ChangeOutcome::AlreadyRolledBack => (false, None),
            ChangeOutcome::Outside(statement) => {
                taken.outside = Some(statement);
                break;
            }
            ChangeOutcome::Locked(running) => return Ok(Verdict::Running(running.into())),
            ChangeOutcome::Conflict(conflict) => {
                let action = AttemptAction::Change(step.action);
                taken.error = Some(conflict.into_error(action, step.version)?);
                break;
            }
            ChangeOutcome::Failed(failed) => {
                if let Some(reason) = failed.nothing_runs_sql() {
                    taken.error = Some(Error::NothingRunsSql {
                        version: step.version,
                        reason: reason.to_owned(),
                        may_lock: !may_lock && step.may_run_inside(),
                    });
                    break;
                }
                let table_in_use = taken.done.is_empty() && failed.is_lock_timeout();
                taken.error = Some(Error::MigrationFailed(Box::new(failed.in_step(step))));
                if table_in_use {
                    return Ok(Verdict::TableInUse(taken));
                }
                break;
            }
            ChangeOutcome::Cancelled { cancelled_by: by } => {
                let version = step.version;
                taken.error = Some(Error::ChangeCancelled { version, by });
                break;
            }
        };
        taken.done.push(Done {
            by_this_run,
            execution_ms,
        });
    }
    Ok(Verdict::Done(taken))
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

/// What has become of the steps of a request.
#[derive(Default)]
struct Taken {
    /// Those that were taken.
    done: Vec<Done>,
    /// Why the one after them was not, and the run ends. The run goes on where there is none.
    error: Option<Error>,
    /// What is to be run outside a transaction before the step is taken.
    outside: Option<OutsideStatement>,
}

impl Taken {
    fn failed(error: Error) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }
}

/// A step that was taken.
struct Done {
    by_this_run: bool,
    execution_ms: Option<u64>,
}

impl Done {
    fn progress(&self, step: &Step) -> Progress {
        let (version, execution_ms) = (step.version, self.execution_ms);
        match step.action {
            Action::Apply => Progress::Applied {
                version,
                execution_ms,
            },
            Action::Rollback => Progress::RolledBack {
                version,
                execution_ms,
            },
        }
    }
}
