//! A change of the schema: takes each step under an attempt id and follows it to its end.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use super::{SchemaVersionManager, goal::Goal};
use crate::{
    error::Error,
    ledger::Action,
    manifest::{Backup, Version},
    plan::{Step, worth_a_backup},
    preview::PreviewToken,
    report::{Progress, RunError, RunReport},
    rpc::{ChangeOutcome, ChangeSchema, ExchangeError, RetryPolicy, Verdict},
};

/// How many new attempts follow one that found a table in use.
const NEW_ATTEMPTS: usize = 3;

/// A change of the schema. Await it to start.
///
/// Dropping it stops polling. A migration that has started keeps running in the database and ends
/// completely or not at all; the next call finds out which.
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
    on_progress: Box<dyn FnMut(Progress) + Send>,
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
            on_progress: Box::new(|_| {}),
        }
    }

    /// Calls `listener` with each event of the run. It must not block.
    pub fn on_progress(mut self, listener: impl FnMut(Progress) + Send + 'static) -> Self {
        self.on_progress = Box::new(listener);
        self
    }

    /// How long to wait for each version. Default:
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
        if self
            .backup_by
            .as_ref()
            .is_some_and(|name| name.trim().is_empty())
        {
            return Err(Error::BlankBackupName);
        }
        let (current, steps) = self.goal.steps(&self.manager).await?;
        if let Some(agreed) = &self.agreed
            && *agreed != PreviewToken::of(current, &steps)
        {
            return Err(Error::PreviewOutdated);
        }
        if self.backup_by.is_none()
            && let Some(step) = worth_a_backup(current, &steps)
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

    /// Takes one step and follows it until its outcome is known.
    async fn follow(&mut self, step: &Step) -> Result<Done, Error> {
        let Self {
            manager,
            deadline,
            backup_by,
            on_progress,
            ..
        } = self;
        let (rpc, version) = (&manager.0.rpc, step.version);
        let policy = RetryPolicy {
            running_deadline: *deadline,
            new_attempts: NEW_ATTEMPTS,
            ..rpc.policy()
        };
        let attempt = || ChangeSchema::new(step, &manager.0.applied_by, backup_by.as_deref());
        let on_wait = |reason, waited| {
            on_progress(Progress::Waiting {
                version,
                reason,
                waited,
            });
        };
        let decide = |outcome| {
            Ok(match outcome {
                ChangeOutcome::Applied { execution_ms }
                | ChangeOutcome::RolledBack { execution_ms } => Verdict::Done(Ok(Done {
                    by_this_run: true,
                    execution_ms: Some(execution_ms),
                })),
                ChangeOutcome::AlreadyApplied | ChangeOutcome::AlreadyRolledBack => {
                    Verdict::Done(Ok(Done {
                        by_this_run: false,
                        execution_ms: None,
                    }))
                }
                ChangeOutcome::Locked { held_by } => Verdict::Running(held_by.into()),
                ChangeOutcome::Conflict(conflict) => {
                    Verdict::Done(Err(conflict.into_error(version)?))
                }
                ChangeOutcome::Failed(failed) => {
                    let table_in_use = failed.is_lock_timeout();
                    let error = Error::MigrationFailed(Box::new(failed.in_step(step)));
                    if table_in_use {
                        Verdict::TableInUse(Err(error))
                    } else {
                        Verdict::Done(Err(error))
                    }
                }
            })
        };
        rpc.call(policy, attempt, decide, on_wait)
            .await
            .map_err(|end| match end {
                ExchangeError::StillRunning { waited } => Error::StillRunning { version, waited },
                ExchangeError::Failed {
                    error: source,
                    may_have_run: true,
                } => Error::OutcomeUnknown { version, source },
                ExchangeError::Failed { error, .. } => *error,
            })?
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

/// A step that was taken.
struct Done {
    by_this_run: bool,
    execution_ms: Option<u64>,
}
