//! Applying: each version is sent under an id of its own and followed to its true end.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Limits, SchemaVersionManager, parse, unexpected};
use crate::{
    error::{ConflictReason, Error, LockHolder, MigrationFailure},
    manifest::{Migration, Version},
    plan::plan,
    report::{ApplyError, ApplyReport, Progress, WaitReason},
    transport::{Call, Effect, Fault, Patience, Reply, Retry, try_once},
};

/// How often a migration that found a table in use is tried once more.
const LOCK_TIMEOUT_RETRIES: usize = 3;

/// PostgreSQL's `lock_not_available`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Migrations that are about to be applied: await it to start.
///
/// Dropping it while it runs stops the asking, not a migration that the database has
/// begun: that one ends as a whole or not at all, and the next call finds it as it is.
///
/// ```no_run
/// # async fn example(manager: ctx0_schema::SchemaVersionManager) -> Result<(), ctx0_schema::ApplyError> {
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
#[must_use = "nothing is applied until it is awaited"]
pub struct Apply {
    manager: SchemaVersionManager,
    /// The one version to apply; none means all.
    only: Option<Version>,
    deadline: Duration,
    on_progress: Box<dyn FnMut(Progress) + Send>,
}

impl Apply {
    pub(super) fn new(manager: SchemaVersionManager, only: Option<Version>) -> Self {
        let deadline = manager.0.limits.apply;
        Self {
            manager,
            only,
            deadline,
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

    async fn run(mut self) -> Result<ApplyReport, ApplyError> {
        let mut applied = Vec::new();
        match self.run_into(&mut applied).await {
            Ok(current_version) => Ok(ApplyReport {
                applied,
                current_version,
            }),
            Err(error) => Err(ApplyError { applied, error }),
        }
    }

    async fn run_into(&mut self, applied: &mut Vec<Version>) -> Result<Version, Error> {
        let manager = self.manager.clone();
        let migrations = &manager.0.migrations;
        let latest = migrations.latest_version();
        if let Some(version) = self
            .only
            .filter(|version| migrations.get(*version).is_none())
        {
            return Err(Error::UnknownVersion { version, latest });
        }
        let ledger = manager.history().await?;
        let plan = plan(migrations, &ledger);
        if let Some(problem) = plan.problem {
            return Err(problem.into());
        }
        let (current, next) = (plan.current, plan.current.next());
        let wanted = match self.only {
            None => plan.pending,
            Some(version) if version <= current => &[],
            Some(version) if version == next => &plan.pending[..1],
            Some(version) => {
                return Err(Error::NotNext {
                    version,
                    current,
                    next,
                });
            }
        };

        for (migration, position) in wanted.iter().zip(1..) {
            let version = migration.version();
            let migration_name = migration.name().to_owned();
            (self.on_progress)(Progress::Started {
                version,
                migration_name,
                position,
                total: wanted.len(),
            });
            match self.apply_one(migration).await {
                Ok(done) => {
                    if done.by_this_run {
                        applied.push(version);
                    }
                    (self.on_progress)(Progress::Applied {
                        version,
                        execution_ms: done.execution_ms,
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
        Ok(wanted.last().map_or(current, Migration::version))
    }

    /// Applies one version, and asks until it knows what became of it.
    async fn apply_one(&mut self, migration: &Migration) -> Result<Done, Error> {
        let manager = self.manager.clone();
        let Limits { request, retry, .. } = manager.0.limits;
        let version = migration.version();
        let started = Instant::now();
        let mut lock_timeouts = 0;
        let mut call = manager.apply_call(migration);
        let mut patience = Patience::new(started, retry, self.deadline);
        loop {
            let limit = request.min(patience.left(Instant::now()));
            let answer = try_once(&*manager.0.transport, &call, limit)
                .await
                .and_then(outcome);
            let now = Instant::now();
            let (reason, wait) = match answer {
                Ok(Outcome::Applied { execution_ms }) => {
                    return Ok(Done {
                        by_this_run: true,
                        execution_ms: Some(execution_ms),
                    });
                }
                Ok(Outcome::AlreadyApplied) => {
                    return Ok(Done {
                        by_this_run: false,
                        execution_ms: None,
                    });
                }
                Ok(Outcome::Conflict { reason, message }) => {
                    return Err(Error::Conflict {
                        version,
                        reason,
                        message,
                    });
                }
                Ok(Outcome::Failed(failed))
                    if failed.sqlstate == LOCK_NOT_AVAILABLE
                        && lock_timeouts < LOCK_TIMEOUT_RETRIES =>
                {
                    // It has ended, so this is a new attempt and needs an id of its own.
                    lock_timeouts += 1;
                    let deadline = self.deadline.saturating_sub(now - started);
                    call = manager.apply_call(migration);
                    patience = Patience::new(now, deadline, deadline);
                    let wait = patience
                        .wait_for_running(now)
                        .ok_or_else(|| failed.of(migration))?;
                    (WaitReason::TableInUse, wait)
                }
                Ok(Outcome::Failed(failed)) => return Err(failed.of(migration)),
                Ok(Outcome::Locked) => {
                    let still_running = || Error::StillRunning {
                        version,
                        waited: now - started,
                    };
                    (
                        WaitReason::Running,
                        patience.wait_for_running(now).ok_or_else(still_running)?,
                    )
                }
                Err(fault) => match patience.next(now, fault) {
                    Ok(wait) => (WaitReason::NoAnswer, wait),
                    Err(Fault { error, .. }) if patience.is_busy() => {
                        return Err(Error::OutcomeUnknown {
                            version,
                            source: error,
                        });
                    }
                    Err(Fault { error, .. }) => return Err(*error),
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
}

impl IntoFuture for Apply {
    type Output = Result<ApplyReport, ApplyError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Apply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Apply")
            .field("only", &self.only)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl SchemaVersionManager {
    fn apply_call(&self, migration: &Migration) -> Call {
        let arguments = json!({
            "p_version": migration.version(),
            "p_name": migration.name(),
            "p_description": migration.description(),
            "p_sql": migration.pieces().collect::<Vec<_>>(),
            "p_checksum": migration.checksum(),
            "p_down_sql": migration.down_sql(),
            "p_applied_by": self.0.applied_by,
            "p_expected_version": migration.version().get() - 1,
            "p_attempt": Uuid::new_v4(),
        });
        Call::Function {
            name: "ctx0_apply_migration",
            arguments: arguments.to_string(),
        }
    }
}

/// A version that is there now.
struct Done {
    by_this_run: bool,
    execution_ms: Option<u64>,
}

/// What `ctx0_apply_migration` returns.
#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    Applied {
        execution_ms: u64,
    },
    AlreadyApplied,
    Locked,
    Conflict {
        reason: ConflictReason,
        message: String,
    },
    Failed(Failed),
}

#[derive(Deserialize)]
struct Failed {
    statement: usize,
    sqlstate: String,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    context: Option<String>,
    retryable: bool,
    holders: Option<Vec<LockHolder>>,
}

impl Failed {
    fn of(self, migration: &Migration) -> Error {
        let line = migration.line_of(self.statement);
        Error::MigrationFailed(Box::new(MigrationFailure {
            version: migration.version(),
            file: migration.file().to_owned(),
            statement: line.map(|_| self.statement),
            line,
            sqlstate: self.sqlstate,
            message: self.message,
            detail: self.detail,
            hint: self.hint,
            context: self.context,
            retryable: self.retryable,
            holders: self.holders.unwrap_or_default(),
        }))
    }
}

fn outcome(reply: Reply) -> Result<Outcome, Fault> {
    let read = match reply {
        Reply::Json { value, .. } => parse(value),
        Reply::NoLedger => Err(unexpected("the outcome is missing".to_owned())),
    };
    match read {
        // The body came damaged to the function. The attempt is unused, so it is sent again.
        Ok(Outcome::Conflict {
            reason: ConflictReason::Damaged,
            message,
        }) => Err(Fault {
            error: Box::new(unexpected(message)),
            effect: Effect::None,
            retry: Retry::Yes,
        }),
        Ok(outcome) => Ok(outcome),
        Err(error) => Err(Fault {
            error: Box::new(error),
            effect: Effect::Unknown,
            retry: Retry::No,
        }),
    }
}
