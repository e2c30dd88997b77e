//! A preview: runs the steps in a transaction that is rolled back.

use std::{
    fmt,
    future::{Future, IntoFuture},
    ops::RangeInclusive,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::{SchemaVersionManager, goal::Goal};
use crate::{
    config::in_range,
    error::Error,
    ledger::AttemptAction,
    plan::{Step, Way},
    preview::{Cancellation, Preview, PreviewState, Rehearsal, SeenVersion, Unfinished},
    report::WaitReason,
    rpc::{
        CancelPreview, ExchangeError, RehearsalOutcome, RehearseMigrations, Rehearsed,
        RehearsedVersion, SHORT_REHEARSAL_MS, Verdict,
    },
};

/// Up to what the database allows `ctx0_rehearse_migrations_long`.
const BUDGETS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(25);

/// How much longer than the budget a response is waited for before the preview is cancelled.
const GRACE: Duration = Duration::from_millis(500);

/// A preview of a change. Await it to start.
///
/// ```no_run
/// # async fn example(manager: ctx0_schema::SchemaVersionManager) -> Result<(), ctx0_schema::Error> {
/// let preview = manager.preview().await?;
/// println!("{preview}");
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing runs until it is awaited"]
pub struct PreviewRequest {
    manager: SchemaVersionManager,
    goal: Goal,
    budget: Duration,
    id: Uuid,
    /// Then it is not started, and not started again where its request failed.
    cancelled: Arc<AtomicBool>,
}

impl PreviewRequest {
    /// The budget of a preview for which none is set.
    pub const DEFAULT_BUDGET: Duration = Duration::from_millis(SHORT_REHEARSAL_MS);

    pub(super) fn new(manager: SchemaVersionManager, goal: Goal) -> Self {
        Self {
            manager,
            goal,
            budget: Self::DEFAULT_BUDGET,
            id: Uuid::new_v4(),
            cancelled: Arc::default(),
        }
    }

    /// How long the database may work on it: 1 ms to 25 s, 5 s by default. When the budget is used,
    /// the preview ends and reports what it has seen by then. A budget out of range is refused when
    /// the request is awaited ([`ConfigError::OutOfRange`](crate::ConfigError::OutOfRange)).
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// Ends the preview from another task. Dropping the request does not: the database continues
    /// until the budget is used.
    #[must_use]
    pub fn canceller(&self) -> PreviewCanceller {
        PreviewCanceller {
            manager: self.manager.clone(),
            id: self.id,
            cancelled: Arc::clone(&self.cancelled),
        }
    }

    async fn run(self) -> Result<Preview, Error> {
        in_range("budget", self.budget, BUDGETS)?;
        let (current, steps) = self.goal.steps(&self.manager).await?;
        let instructions = &self.manager.0.backup_instructions;
        if steps.is_empty() {
            let nothing = Rehearsal::default();
            return Ok(Preview::new(current, &steps, nothing, instructions));
        }
        let rpc = &self.manager.0.rpc;
        let call = || RehearseMigrations::new(current, &steps, self.id, self.budget);
        let decide = |outcome| {
            Ok(match outcome {
                RehearsalOutcome::Rehearsed(rehearsed) => Verdict::Done(Ok(Some(rehearsed))),
                // Perhaps an earlier copy of this request. It ends soon.
                RehearsalOutcome::Locked { rehearsal: true } => {
                    Verdict::Running(WaitReason::Preview.into())
                }
                RehearsalOutcome::Locked { rehearsal: false } => {
                    Verdict::Done(Err(Error::ChangeRunning))
                }
                RehearsalOutcome::Conflict(conflict) => {
                    let action = AttemptAction::Change(steps[0].action);
                    Verdict::Done(Err(conflict.into_error(action, steps[0].version)?))
                }
            })
        };
        let cancelled = || self.cancelled.load(Ordering::Relaxed).then_some(Ok(None));
        let rehearse = rpc.call(rpc.policy(), call, decide, |_, _| {}, cancelled);
        let (rehearsed, open) =
            tokio::join!(self.within_budget(rehearse), self.manager.way_for(&steps));
        let (rehearsed, reason) = rehearsed?;
        let cron = rehearsed.as_ref().is_some_and(|rehearsed| rehearsed.cron);
        let open = open.map(|open| match open {
            Ok(Way::ManagementApi) | Err(_) if cron => Ok(Way::PgCron),
            open => open,
        });
        let rehearsal = match rehearsed {
            Some(rehearsed) => in_steps(rehearsed, &steps, reason),
            None => Rehearsal {
                versions: vec![stopped(reason)],
                ..Rehearsal::default()
            },
        };
        let rehearsal = Rehearsal { open, ..rehearsal };
        Ok(Preview::new(current, &steps, rehearsal, instructions))
    }

    /// Waits for a rehearsal, and ends it once its budget is used. `None`: it did not begin.
    async fn within_budget(
        &self,
        rehearse: impl Future<Output = Result<Result<Option<Rehearsed>, Error>, ExchangeError>>,
    ) -> Result<(Option<Rehearsed>, Unfinished), Error> {
        let mut rehearsed = pin!(rehearse);
        Ok(match timeout(self.budget + GRACE, &mut rehearsed).await {
            Ok(rehearsed) => (rehearsed??, Unfinished::Cancelled),
            Err(_) => {
                // For the database it may be a cancellation: its own clock starts later.
                let reason = match self.cancelled.load(Ordering::Relaxed) {
                    true => Unfinished::Cancelled,
                    false => Unfinished::BudgetUsed,
                };
                // If this fails, the database's own limit still ends it.
                if let Ok(Cancellation::Cancelled) = self.canceller().end().await {
                    self.cancelled.store(true, Ordering::Relaxed);
                }
                (rehearsed.await??, reason)
            }
        })
    }
}

impl IntoFuture for PreviewRequest {
    type Output = Result<Preview, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for PreviewRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreviewRequest")
            .field("goal", &self.goal)
            .finish_non_exhaustive()
    }
}

/// Ends a running preview, from any task.
#[derive(Clone, Debug)]
pub struct PreviewCanceller {
    manager: SchemaVersionManager,
    id: Uuid,
    cancelled: Arc<AtomicBool>,
}

impl PreviewCanceller {
    /// Ends the preview in the database, and returns when it has ended. The preview then reports
    /// what it has seen by then. Code that catches each cancellation loses its connection after 5 s;
    /// the preview then reports nothing.
    ///
    /// # Errors
    /// [`Error`], when the database could not be asked.
    pub async fn cancel(&self) -> Result<Cancellation, Error> {
        self.cancelled.store(true, Ordering::Relaxed);
        self.end().await
    }

    async fn end(&self) -> Result<Cancellation, Error> {
        let deadline = Instant::now() + *BUDGETS.end();
        let mut outcome = self.request().await?;
        // Each request waits some seconds in the database, and while it waits no statement begins.
        while outcome == Cancellation::Requested && Instant::now() < deadline {
            outcome = match self.request().await? {
                Cancellation::NotRunning => Cancellation::Cancelled,
                other => other,
            };
        }
        Ok(outcome)
    }

    async fn request(&self) -> Result<Cancellation, Error> {
        let request = CancelPreview { p_preview: self.id };
        Ok(self.manager.0.rpc.read(&request).await?.outcome)
    }
}

/// What the database saw of each step. `cancelled` is why it was cancelled, if it was.
fn in_steps(rehearsed: Rehearsed, steps: &[Step], cancelled: Unfinished) -> Rehearsal {
    let versions = steps.iter().zip(rehearsed.versions);
    let reason = if rehearsed.cancelled {
        cancelled
    } else {
        Unfinished::BudgetUsed
    };
    Rehearsal {
        versions: versions
            .map(|(step, version)| in_step(version, step, reason))
            .collect(),
        tables: rehearsed.tables,
        sequences: rehearsed.sequences,
        unrecorded: rehearsed.unrecorded,
        drifted: rehearsed.drifted,
        open: None,
    }
}

fn stopped(reason: Unfinished) -> SeenVersion {
    SeenVersion {
        state: PreviewState::NotFinished { reason },
        ..SeenVersion::default()
    }
}

fn in_step(version: RehearsedVersion, step: &Step, reason: Unfinished) -> SeenVersion {
    match version {
        RehearsedVersion::Stopped { outside_table } => SeenVersion {
            outside_table,
            ..stopped(reason)
        },
        RehearsedVersion::AfterPrevious => SeenVersion {
            state: PreviewState::After {
                version: step.starts_from(),
            },
            ..SeenVersion::default()
        },
        RehearsedVersion::Failed(failed) => SeenVersion {
            state: PreviewState::Failed,
            failure: Some(failed.in_step(step)),
            ..SeenVersion::default()
        },
        RehearsedVersion::Applied {
            execution_ms,
            outside_table,
            objects,
            locks,
            rewrites,
            columns,
            rows,
            restarted,
            unseen,
            large_objects,
            slots,
        } => SeenVersion {
            state: PreviewState::Tested,
            execution_ms: Some(execution_ms),
            objects,
            locks,
            outside_table,
            rewrites,
            columns,
            rows,
            restarted,
            unseen: match step.can_be_tested() {
                true => unseen,
                false => vec!["the statement, which cannot run inside a transaction".to_owned()],
            },
            large_objects,
            slots,
            failure: None,
        },
    }
}
