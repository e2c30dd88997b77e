//! Checks at start and every six hours, and tells whoever listens.
//!
//! The scheduler only looks: it retries nothing by itself within a check and applies nothing.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{error::Error, manager::SchemaVersionManager, report::UpdateCheck};

/// The time between two checks, as the specification has it.
const INTERVAL: Duration = Duration::from_secs(6 * 60 * 60);

/// How soon a failed check is followed by another; doubled with each failure.
const FIRST_RETRY: Duration = Duration::from_secs(60);

/// How long one sleeps without a look at the wall clock. While a computer sleeps, the
/// clock that timers run on stands still on most systems, so a timer of six hours would
/// go on where it was; after this time at most, the wall clock tells the difference.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// What is known about the schema.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SchemaState {
    /// No check has ended yet.
    Unknown,
    /// The last check ended with this.
    Checked(Arc<UpdateCheck>),
    /// The last check failed; there will be another one soon.
    Failed(Arc<Error>),
}

/// A check as its callers share it.
pub type CheckResult = Result<Arc<UpdateCheck>, Arc<Error>>;

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
    state: watch::Receiver<SchemaState>,
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

    /// Checks now, and returns with the result. While a check is running, its result is
    /// the answer, and no other is begun.
    ///
    /// # Errors
    /// As [`SchemaVersionManager::check_for_updates`].
    ///
    /// # Panics
    /// When the scheduler's runtime has been shut down.
    pub async fn check_now(&self) -> CheckResult {
        let (sender, receiver) = oneshot::channel();
        // The task runs until `self` is gone, so it is there to answer.
        self.requests
            .send(sender)
            .expect("the scheduler runs on a runtime that was not shut down");
        receiver
            .await
            .expect("the scheduler runs on a runtime that was not shut down")
    }

    /// Listens to what is found from now on, after what is known already.
    #[must_use]
    pub fn listen(&self) -> Listener {
        let mut state = self.state.clone();
        state.mark_changed();
        Listener { state }
    }

    /// What is known at this moment, and a listener to what is found later.
    #[cfg(feature = "ipc")]
    pub(crate) fn state_and_later(&self) -> (SchemaState, Listener) {
        let mut state = self.state.clone();
        let known = state.borrow_and_update().clone();
        (known, Listener { state })
    }

    /// What is known at this moment.
    #[must_use]
    pub fn state(&self) -> SchemaState {
        self.state.borrow().clone()
    }

    /// Stops, and returns when nothing is running any more. A check that is under way is
    /// given up. Dropping does the same without waiting.
    pub async fn stop(mut self) {
        self.task.abort();
        // It ends as cancelled, which is what was asked for.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A scheduler that is not started yet.
#[derive(Clone, Debug)]
#[must_use = "nothing is checked until `start` is called"]
pub struct SchedulerBuilder {
    manager: SchemaVersionManager,
    interval: Duration,
}

impl SchedulerBuilder {
    /// The longest time between two checks. Default: 6 hours. At least one second.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_secs(1));
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
        let (publisher, state) = watch::channel(SchemaState::Unknown);
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
            state,
            task: tokio::spawn(worker.run()),
        }
    }
}

/// Learns the present state first, then each later one. Who is slow misses what was
/// outdated in the meantime, and holds up nobody.
#[derive(Clone, Debug)]
pub struct Listener {
    state: watch::Receiver<SchemaState>,
}

impl Listener {
    /// The next state, or nothing once the scheduler has stopped. Skips [`SchemaState::Unknown`].
    pub async fn next(&mut self) -> Option<SchemaState> {
        loop {
            self.state.changed().await.ok()?;
            let state = self.state.borrow_and_update().clone();
            if !matches!(state, SchemaState::Unknown) {
                return Some(state);
            }
        }
    }
}

struct Worker<C> {
    manager: SchemaVersionManager,
    inbox: mpsc::UnboundedReceiver<oneshot::Sender<CheckResult>>,
    publisher: watch::Sender<SchemaState>,
    timetable: Timetable,
    wall_clock: C,
}

impl<C: Fn() -> SystemTime> Worker<C> {
    async fn run(mut self) {
        let mut waiting = Vec::new();
        loop {
            let result: CheckResult = self
                .manager
                .check_for_updates()
                .await
                .map(Arc::new)
                .map_err(Arc::new);
            self.publisher.send_replace(match &result {
                Ok(check) => SchemaState::Checked(Arc::clone(check)),
                Err(error) => SchemaState::Failed(Arc::clone(error)),
            });
            // Whoever asked while it ran gets its result too.
            while let Ok(asker) = self.inbox.try_recv() {
                waiting.push(asker);
            }
            for asker in waiting.drain(..) {
                // An asker who has gone away needs no answer.
                let _ = asker.send(result.clone());
            }
            let wait = self.timetable.wait_after(result.is_ok());
            let Some(asker) = self.nap(wait).await else {
                return;
            };
            waiting.extend(asker);
        }
    }

    /// Waits until the time is over by either clock, or until somebody asks. Nothing where
    /// there is nobody left to check for.
    async fn nap(&mut self, wait: Duration) -> Option<Option<oneshot::Sender<CheckResult>>> {
        let (due, due_by_wall) = (Instant::now() + wait, (self.wall_clock)() + wait);
        loop {
            let left = due.saturating_duration_since(Instant::now());
            let left_by_wall = due_by_wall
                .duration_since((self.wall_clock)())
                .unwrap_or_default();
            let left = left.min(left_by_wall);
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

/// When the next check is due. Pure but for the jitter.
#[derive(Clone, Debug)]
struct Timetable {
    interval: Duration,
    first: bool,
    failures: u32,
}

impl Timetable {
    fn new(interval: Duration) -> Self {
        Self {
            interval,
            first: true,
            failures: 0,
        }
    }

    /// How long to wait after a check.
    ///
    /// Daemons that a release started in the same minute would come together every six
    /// hours for ever. So the first wait is anything up to the interval, which spreads them
    /// evenly, and later ones are up to a tenth shorter, which keeps them spread. No wait is
    /// longer than the interval.
    fn wait_after(&mut self, succeeded: bool) -> Duration {
        if succeeded {
            self.failures = 0;
            let shortest = if std::mem::take(&mut self.first) {
                0.05
            } else {
                0.9
            };
            self.interval
                .mul_f64(shortest + (1.0 - shortest) * fastrand::f64())
        } else {
            let wait = FIRST_RETRY
                .saturating_mul(2_u32.saturating_pow(self.failures))
                .min(self.interval);
            self.failures = self.failures.saturating_add(1);
            wait.mul_f64(0.5 + fastrand::f64() / 2.0)
        }
    }
}
