//! Checks for updates at start and every six hours, and publishes the result.
//!
//! The scheduler only reads. It never applies anything.

#[cfg(test)]
mod tests;
mod timetable;

use std::{
    ops::RangeInclusive,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};

use self::timetable::Timetable;
use crate::{error::Error, manager::SchemaVersionManager, report::UpdateCheck};

/// The time between two checks, from the specification.
const INTERVAL: Duration = Duration::from_secs(6 * 60 * 60);

/// The shortest and longest interval that can be configured.
const INTERVALS: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 60 * 60);

/// How often the wall clock is read. On most systems timers stop while the computer sleeps,
/// so a six-hour timer would fire six hours after waking. The wall clock keeps going.
const LONGEST_NAP: Duration = Duration::from_secs(45);

/// What is known about the schema.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SchemaState {
    /// No check has ended yet, or none since the schema was changed.
    Unknown,
    /// The last check ended with this.
    Checked(Arc<UpdateCheck>),
    /// The last check failed; there will be another one soon.
    Failed(Arc<Error>),
}

/// What the worker publishes.
#[derive(Debug)]
struct Known {
    state: SchemaState,
    /// How often the schema was changed. What a check found before the last change is outdated.
    changes: u64,
}

/// The result of a check, shared by everyone who asked for it.
type CheckResult = Result<Arc<UpdateCheck>, Arc<Error>>;

/// Checks in the background until it is dropped or stopped.
///
/// ```no_run
/// # async fn example(manager: ctx0_schema::SchemaVersionManager) {
/// use ctx0_schema::{SchemaState, Scheduler};
///
/// let scheduler = Scheduler::builder(manager).start();
/// let mut listener = scheduler.listen();
/// while let Some(state) = listener.next().await {
///     if let SchemaState::Checked(check) = state && check.has_updates {
///         println!("v{} → v{}", check.current_version, check.latest_version);
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Scheduler {
    requests: mpsc::UnboundedSender<oneshot::Sender<CheckResult>>,
    known: watch::Receiver<Known>,
    /// The worker owns it, so listeners learn when that has ended.
    publisher: Weak<watch::Sender<Known>>,
    task: JoinHandle<()>,
}

impl Scheduler {
    /// Prepares a scheduler.
    pub fn builder(manager: SchemaVersionManager) -> SchedulerBuilder {
        SchedulerBuilder {
            manager,
            interval: INTERVAL,
        }
    }

    /// Checks now and returns the result. Joins a check that is already running.
    ///
    /// After a change call [`Scheduler::schema_changed`] first.
    ///
    /// # Errors
    /// As [`SchemaVersionManager::check_for_updates`], and [`Error::SchedulerStopped`] if the runtime
    /// on which the scheduler was started has been shut down.
    pub async fn check_now(&self) -> Result<Arc<UpdateCheck>, Arc<Error>> {
        let (sender, receiver) = oneshot::channel();
        let stopped = || Arc::new(Error::SchedulerStopped);
        self.requests.send(sender).map_err(|_| stopped())?;
        receiver.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Forgets what is known, because the schema was changed. A check that is running is made again:
    /// it may have read the ledger before the change.
    pub fn schema_changed(&self) {
        if let Some(publisher) = self.publisher.upgrade() {
            publisher.send_modify(|known| {
                known.state = SchemaState::Unknown;
                known.changes += 1;
            });
        }
    }

    /// Listens for states: the current one first, then every later one.
    #[must_use]
    pub fn listen(&self) -> Listener {
        let mut known = self.known.clone();
        known.mark_changed();
        Listener { known }
    }

    /// The current state, and a listener for later ones.
    #[cfg(feature = "ipc")]
    pub(crate) fn state_and_later(&self) -> (SchemaState, Listener) {
        let mut known = self.known.clone();
        let state = known.borrow_and_update().state.clone();
        (state, Listener { known })
    }

    /// The current state.
    #[must_use]
    pub fn state(&self) -> SchemaState {
        self.known.borrow().state.clone()
    }

    /// Stops and waits until nothing is running. A running check is dropped. Dropping the
    /// scheduler does the same without waiting.
    pub async fn stop(mut self) {
        self.task.abort();
        // It ends as cancelled, as requested.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A scheduler that has not been started.
#[derive(Clone, Debug)]
#[must_use = "nothing is checked until `start` is called"]
pub struct SchedulerBuilder {
    manager: SchemaVersionManager,
    interval: Duration,
}

impl SchedulerBuilder {
    /// The longest time between two checks: 1 s to 30 days, 6 hours by default. A value out of range
    /// is replaced by the nearest one in range, with a `tracing` event at `warn`.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.clamp(*INTERVALS.start(), *INTERVALS.end());
        if self.interval != interval {
            tracing::warn!(asked = ?interval, used = ?self.interval, "the interval between checks is out of range");
        }
        self
    }

    /// Starts with a check at once.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use = "it stops when it is dropped"]
    pub fn start(self) -> Scheduler {
        self.start_with(SystemTime::now)
    }

    fn start_with(self, wall_clock: impl Fn() -> SystemTime + Send + 'static) -> Scheduler {
        let (requests, inbox) = mpsc::unbounded_channel();
        let (publisher, known) = watch::channel(Known {
            state: SchemaState::Unknown,
            changes: 0,
        });
        let publisher = Arc::new(publisher);
        let weak_publisher = Arc::downgrade(&publisher);
        let timetable = Timetable::new(self.interval);
        let worker = Worker {
            manager: self.manager,
            inbox,
            publisher,
            timetable,
            wall_clock,
        };
        Scheduler {
            requests,
            known,
            publisher: weak_publisher,
            task: tokio::spawn(worker.run()),
        }
    }
}

/// Receives the current state first, then later ones. Slow listeners skip intermediate
/// states and never block the scheduler.
#[derive(Clone, Debug)]
pub struct Listener {
    known: watch::Receiver<Known>,
}

impl Listener {
    /// The next state, or `None` once the scheduler has stopped. Skips [`SchemaState::Unknown`].
    pub async fn next(&mut self) -> Option<SchemaState> {
        loop {
            self.known.changed().await.ok()?;
            let state = self.known.borrow_and_update().state.clone();
            if !matches!(state, SchemaState::Unknown) {
                return Some(state);
            }
        }
    }
}

struct Worker<C> {
    manager: SchemaVersionManager,
    inbox: mpsc::UnboundedReceiver<oneshot::Sender<CheckResult>>,
    publisher: Arc<watch::Sender<Known>>,
    timetable: Timetable,
    wall_clock: C,
}

impl<C: Fn() -> SystemTime> Worker<C> {
    async fn run(mut self) {
        let mut waiting = Vec::new();
        loop {
            let changes = self.publisher.borrow().changes;
            let result = check(&self.manager).await.map(Arc::new).map_err(Arc::new);
            // Whoever asked during the check gets its result too.
            while let Ok(asker) = self.inbox.try_recv() {
                waiting.push(asker);
            }
            if !self.publish(&result, changes) {
                continue;
            }
            for asker in waiting.drain(..) {
                // The asker may be gone.
                let _ = asker.send(result.clone());
            }
            let wait = self.timetable.wait_after(result.is_ok());
            let Some(asker) = self.nap(wait).await else {
                return;
            };
            waiting.extend(asker);
        }
    }

    /// Publishes a result unless the schema was changed since the check began.
    fn publish(&self, result: &CheckResult, changes: u64) -> bool {
        self.publisher.send_if_modified(|known| {
            let is_current = known.changes == changes;
            if is_current {
                known.state = match result {
                    Ok(check) => SchemaState::Checked(Arc::clone(check)),
                    Err(error) => SchemaState::Failed(Arc::clone(error)),
                };
            }
            is_current
        })
    }

    /// Waits until either clock says that the time is up, or until somebody asks for a check.
    /// Returns `None` once the scheduler is gone.
    async fn nap(&mut self, wait: Duration) -> Option<Option<oneshot::Sender<CheckResult>>> {
        let due = Instant::now() + wait;
        // A clock at the end of its range cannot tell; the timer can.
        let due_by_wall = (self.wall_clock)().checked_add(wait);
        loop {
            let mut left = due.saturating_duration_since(Instant::now());
            if let Some(due) = due_by_wall {
                left = left.min(due.duration_since((self.wall_clock)()).unwrap_or_default());
            }
            if left.is_zero() {
                return Some(None);
            }
            tokio::select! {
                () = sleep(left.min(LONGEST_NAP)) => {}
                asker = self.inbox.recv() => return asker.map(Some),
            }
        }
    }
}

/// Asks only where something is pending whether it can be applied, so that a check costs one
/// request as long as there is nothing to do.
async fn check(manager: &SchemaVersionManager) -> Result<UpdateCheck, Error> {
    let mut check = manager.check_for_updates().await?;
    if check.has_updates {
        // Where this cannot be learned now, applying tells.
        match manager.status().await {
            Ok(status) => manager.add_unrecorded(&mut check, status.unrecorded),
            Err(error) => check.setup = manager.setup_after(&error),
        }
    }
    Ok(check)
}
