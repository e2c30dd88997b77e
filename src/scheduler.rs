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
const LONGEST_NAP: Duration = Duration::from_secs(45);

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
    /// Whether the last wait was chosen so that daemons do not come together.
    spread: bool,
    failures: u32,
}

impl Timetable {
    fn new(interval: Duration) -> Self {
        Self {
            interval,
            spread: false,
            failures: 0,
        }
    }

    /// How long to wait after a check; never longer than the interval.
    ///
    /// Daemons that a release started in the same minute would come together every six
    /// hours for ever, and so would those that found the same server down. So the first wait
    /// after a start or a failure is anything up to the interval, which spreads them evenly,
    /// and the later ones are the interval itself, which keeps them so.
    fn wait_after(&mut self, succeeded: bool) -> Duration {
        if !succeeded {
            let wait = FIRST_RETRY
                .saturating_mul(2_u32.saturating_pow(self.failures))
                .min(self.interval);
            self.failures = self.failures.saturating_add(1);
            self.spread = false;
            return wait.mul_f64(0.5 + fastrand::f64() / 2.0);
        }
        self.failures = 0;
        if std::mem::replace(&mut self.spread, true) {
            self.interval
        } else {
            self.interval.mul_f64(0.05 + 0.95 * fastrand::f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{process::Command, sync::Mutex};

    use serde_json::json;

    use super::*;
    use crate::transport::fake::{Fake, Scripted, refusal, response};

    const HOUR: Duration = Duration::from_secs(60 * 60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn up_to_date() -> Scripted {
        let row = |version, name| json!({"version": version, "migration_name": name, "description": null, "applied_at": null, "applied_by": null});
        response(200, json!([row(1, "001_a"), row(2, "002_b")]))
    }

    fn nothing_applied() -> Scripted {
        response(200, json!([]))
    }

    fn wrong_key() -> Scripted {
        refusal(401, "PGRST301", None)
    }

    /// A wall clock that follows the paused clock, and can be moved.
    #[derive(Clone)]
    struct WallClock {
        started: Instant,
        moved: Arc<Mutex<i64>>,
    }

    impl WallClock {
        fn new() -> Self {
            Self {
                started: Instant::now(),
                moved: Arc::default(),
            }
        }

        fn move_by(&self, seconds: i64) {
            *self.moved.lock().unwrap() += seconds;
        }

        fn read(&self) -> SystemTime {
            let now = 1_800_000_000
                + self.started.elapsed().as_secs() as i64
                + *self.moved.lock().unwrap();
            SystemTime::UNIX_EPOCH + Duration::from_secs(now as u64)
        }
    }

    fn start(fake: &Fake) -> (Scheduler, WallClock) {
        let clock = WallClock::new();
        let reader = clock.clone();
        (
            Scheduler::builder(SchemaVersionManager::on(fake)).start_with(move || reader.read()),
            clock,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn it_checks_at_once_and_then_at_least_every_six_hours() {
        let fake = Fake::new([up_to_date()]);
        let (_scheduler, _) = start(&fake);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(fake.asked().len(), 1);

        sleep(100 * DAY).await;
        let waits = fake.waits();
        assert!(
            waits
                .iter()
                .all(|wait| *wait <= INTERVAL + Duration::from_secs(1)),
            "{waits:?}"
        );
        // Behind the first wait, which may be short, each is the interval.
        assert!(waits[1..].iter().all(|wait| *wait >= INTERVAL), "{waits:?}");
        assert!((399..=400).contains(&waits.len()), "{}", waits.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_computer_that_slept_through_a_check_makes_it_within_a_minute_of_waking() {
        let fake = Fake::new([up_to_date()]);
        let (_scheduler, clock) = start(&fake);
        sleep(DAY).await;
        let before = fake.asked().len();
        clock.move_by(7 * 60 * 60);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(fake.asked().len(), before + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_delays_nothing_and_causes_no_storm() {
        let fake = Fake::new([up_to_date()]);
        let (_scheduler, clock) = start(&fake);
        sleep(DAY).await;
        let before = fake.asked().len();
        clock.move_by(-365 * 24 * 60 * 60);
        sleep(INTERVAL).await;
        let after = fake.asked().len();
        assert!(
            (before + 1..=before + 2).contains(&after),
            "{before} {after}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_followed_by_sooner_tries_with_growing_waits() {
        let fake = Fake::new([wrong_key()]);
        let (_scheduler, _) = start(&fake);
        sleep(3 * DAY).await;
        let waits = fake.waits();
        for (wait, minutes) in waits
            .iter()
            .zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360])
        {
            let longest = Duration::from_secs(minutes * 60);
            assert!(
                longest / 2 <= *wait && *wait <= longest + Duration::from_secs(1),
                "{waits:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_that_passed_the_interval_is_as_before() {
        let fake = Fake::new([wrong_key(), wrong_key(), up_to_date()]);
        let (_scheduler, _) = start(&fake);
        sleep(10 * DAY).await;
        assert!(fake.waits()[3..].iter().all(|wait| *wait >= INTERVAL));
    }

    #[tokio::test(start_paused = true)]
    async fn asking_for_a_check_collapses_with_one_that_is_running() {
        let fake = Fake::new([Scripted::Later(
            Duration::from_secs(5),
            Box::new(up_to_date()),
        )]);
        let (scheduler, _) = start(&fake);
        let (first, second) = tokio::join!(scheduler.check_now(), scheduler.check_now());
        assert!(first.unwrap().is_up_to_date() && second.unwrap().is_up_to_date());
        assert_eq!(fake.asked().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn asking_for_a_check_between_two_makes_one_at_once() {
        let fake = Fake::new([up_to_date()]);
        let (scheduler, _) = start(&fake);
        sleep(Duration::from_secs(1)).await;
        scheduler.check_now().await.unwrap();
        assert_eq!(fake.asked().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_check_that_was_asked_for_is_told_to_the_asker() {
        let fake = Fake::new([wrong_key()]);
        let (scheduler, _) = start(&fake);
        assert!(matches!(
            *scheduler.check_now().await.unwrap_err(),
            Error::KeyRejected { .. }
        ));
        assert!(matches!(scheduler.state(), SchemaState::Failed(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_listener_learns_the_present_state_and_a_slow_one_blocks_nobody() {
        let fake = Fake::new([nothing_applied(), up_to_date()]);
        let (scheduler, _) = start(&fake);
        let mut slow = scheduler.listen();
        let Some(SchemaState::Checked(check)) = slow.next().await else {
            panic!("a state")
        };
        assert!(check.has_updates);

        sleep(30 * DAY).await;
        assert!(fake.asked().len() > 100, "nobody waits for the slow one");
        let mut late = scheduler.listen();
        for listener in [&mut slow, &mut late] {
            let Some(SchemaState::Checked(check)) = listener.next().await else {
                panic!("a state")
            };
            assert!(check.is_up_to_date());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_and_dropping_end_everything_within_a_second() {
        for stopped in [true, false] {
            // In the middle of a check that would take its time.
            let fake = Fake::new([Scripted::Later(HOUR, Box::new(up_to_date()))]);
            let (scheduler, _) = start(&fake);
            let mut listener = scheduler.listen();
            sleep(Duration::from_secs(1)).await;
            let began = Instant::now();
            if stopped {
                scheduler.stop().await;
            } else {
                drop(scheduler);
            }
            assert!(listener.next().await.is_none());
            assert!(began.elapsed() < Duration::from_secs(1));
            sleep(10 * DAY).await;
            assert_eq!(fake.asked().len(), 1);
        }
    }

    /// Runs alone, in a process of its own, so that its memory is its own.
    #[test]
    fn a_year_of_checks_costs_what_it_should() {
        const ALONE: &str = "CTX0_YEAR_ALONE";
        if std::env::var_os(ALONE).is_some() {
            return year();
        }
        let name = "scheduler::tests::a_year_of_checks_costs_what_it_should";
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let output = alone
            .args(["--exact", name, "--nocapture"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        print!("{text}");
    }

    /// A year in which every tenth check fails, with a listener.
    #[tokio::main(flavor = "current_thread")]
    async fn year() {
        tokio::time::pause();
        let seed = 7;
        let mut random = fastrand::Rng::with_seed(seed);
        let asked = Arc::new(Mutex::new([0_u32; 2]));
        let counter = Arc::clone(&asked);
        let clock = WallClock::new();
        let reader = clock.clone();
        // Counts instead of remembering, so that the memory measured is the scheduler's.
        let fake = Fake::forgetful(move |_| {
            let fails = random.f64() < 0.1;
            counter.lock().unwrap()[usize::from(fails)] += 1;
            if fails { wrong_key() } else { up_to_date() }
        });
        let scheduler =
            Scheduler::builder(SchemaVersionManager::on(&fake)).start_with(move || reader.read());
        let mut listener = scheduler.listen();
        let listening = tokio::spawn(async move {
            let mut events = [0_u32; 2];
            while let Some(state) = listener.next().await {
                events[usize::from(matches!(state, SchemaState::Failed(_)))] += 1;
            }
            events
        });
        sleep(30 * DAY).await;
        let after_a_month = resident_bytes();
        sleep(335 * DAY).await;
        let grown = resident_bytes().saturating_sub(after_a_month);
        scheduler.stop().await;

        let [succeeded, failed] = *asked.lock().unwrap();
        println!(
            "a year: {succeeded} checks succeeded, {failed} failed, {grown} bytes grown since the first month"
        );
        assert_eq!(
            listening.await.unwrap(),
            [succeeded, failed],
            "an event for each check"
        );
        // 1,460 waits of 6 hours make a year; the wait after a failure that passed is shorter.
        assert!((1460..=1623).contains(&(succeeded)), "{succeeded}");
        assert!((100..=250).contains(&failed), "{failed}");
        assert!(grown < 1024 * 1024, "{grown}");
    }

    /// The memory of this process, where the system tells it so simply; 0 elsewhere.
    fn resident_bytes() -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        statm
            .split_whitespace()
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok())
            .unwrap_or(0)
            * 4096
    }

    /// Checks per minute of a fleet that a release started within ten minutes.
    fn fleet(
        daemons: usize,
        minutes: usize,
        wait: impl Fn(&mut Timetable) -> Duration,
    ) -> Vec<u32> {
        let mut per_minute = vec![0; minutes];
        for _ in 0..daemons {
            let mut timetable = Timetable::new(INTERVAL);
            let mut at = fastrand::f64() * 600.0;
            while let Some(count) = per_minute.get_mut((at / 60.0) as usize) {
                *count += 1;
                at += wait(&mut timetable).as_secs_f64();
            }
        }
        per_minute
    }

    /// The highest minute to the mean one, over the six hours after the first six.
    fn peak_to_mean(per_minute: &[u32]) -> f64 {
        let window = &per_minute[360..720];
        let mean = f64::from(window.iter().sum::<u32>()) / window.len() as f64;
        f64::from(*window.iter().max().unwrap()) / mean
    }

    #[test]
    fn a_million_daemons_of_one_release_do_not_come_together_again() {
        fastrand::seed(7);
        let minutes = 12 * 60;
        let with = fleet(1_000_000, minutes, |timetable| timetable.wait_after(true));
        let without = fleet(1_000_000, minutes, |_| INTERVAL);
        let (with_ratio, without_ratio) = (peak_to_mean(&with), peak_to_mean(&without));
        println!(
            "peak to mean of hours 6 to 12: {with_ratio:.2} with jitter, {without_ratio:.2} without"
        );
        assert!(with_ratio < 1.2, "{with_ratio}");
        assert!(without_ratio > 30.0, "{without_ratio}");
        if let Some(path) = std::env::var_os("CTX0_FLEET_PLOT") {
            std::fs::write(path, plot(&with, &without)).unwrap();
        }
    }

    /// Both fleets as an SVG, one line each.
    fn plot(with: &[u32], without: &[u32]) -> String {
        let highest = f64::from(*with.iter().chain(without).max().unwrap());
        let line = |counts: &[u32], colour: &str| {
            let points: Vec<_> = counts
                .iter()
                .enumerate()
                .map(|(minute, count)| {
                    format!(
                        "{},{:.1}",
                        60 + minute,
                        240.0 - f64::from(*count) / highest * 200.0
                    )
                })
                .collect();
            format!(
                r#"<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{}"/>"#,
                points.join(" ")
            )
        };
        let hours: String = (0..=12)
            .map(|hour| {
                format!(
                    r#"<text x="{}" y="258" text-anchor="middle">{hour} h</text>"#,
                    60 + hour * 60
                )
            })
            .collect();
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 300" font-family="sans-serif" font-size="12" fill="#444">
<rect width="800" height="300" fill="#fff"/>
<text x="60" y="20">Checks per minute of a million daemons that a release started within ten minutes</text>
<line x1="60" y1="240" x2="780" y2="240" stroke="#999"/><line x1="60" y1="40" x2="60" y2="240" stroke="#999"/>
<text x="54" y="44" text-anchor="end">{highest:.0}</text><text x="54" y="244" text-anchor="end">0</text>
{hours}
{without_line}
{with_line}
<text x="60" y="282" fill="#c33">without jitter: peak to mean {without_ratio:.1} in hours 6 to 12</text>
<text x="430" y="282" fill="#06c">as built: peak to mean {with_ratio:.2}</text>
</svg>
"##,
            without_line = line(without, "#c33"),
            with_line = line(with, "#06c"),
            without_ratio = peak_to_mean(without),
            with_ratio = peak_to_mean(with),
        )
    }
}
