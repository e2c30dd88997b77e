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
        let now =
            1_800_000_000 + self.started.elapsed().as_secs() as i64 + *self.moved.lock().unwrap();
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
async fn any_interval_is_survived_and_kept_between_a_second_and_30_days() {
    for (interval, expected) in [
        (Duration::ZERO, Duration::from_secs(1)),
        (Duration::from_nanos(1), Duration::from_secs(1)),
        (HOUR, HOUR),
        (30 * DAY, 30 * DAY),
        (31 * DAY, 30 * DAY),
        (Duration::from_secs(u64::MAX), 30 * DAY),
        (Duration::MAX, 30 * DAY),
    ] {
        let fake = Fake::new([up_to_date()]);
        let scheduler = Scheduler::builder(SchemaVersionManager::on(&fake))
            .interval(interval)
            .start();
        // The first wait is a random part of the interval, the second is all of it.
        while fake.waits().len() < 2 {
            sleep(expected / 4).await;
        }
        let second = fake.waits()[1];
        assert!(
            expected <= second && second < expected + Duration::from_secs(1),
            "{second:?}"
        );
        scheduler.check_now().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_at_the_end_of_its_range_is_survived() {
    let last = (0..64).rev().fold(SystemTime::UNIX_EPOCH, |time, bit| {
        time.checked_add(Duration::from_secs(1 << bit))
            .unwrap_or(time)
    });
    for now in [last, SystemTime::UNIX_EPOCH] {
        let fake = Fake::new([up_to_date()]);
        let manager = SchemaVersionManager::on(&fake);
        let scheduler = Scheduler::builder(manager).start_with(move || now);
        sleep(3 * INTERVAL).await;
        assert!(fake.asked().len() > 2, "the timer goes on");
        scheduler.check_now().await.unwrap();
    }
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
async fn what_a_check_read_before_a_change_is_told_to_nobody() {
    let slow = |response| Scripted::Later(Duration::from_secs(5), Box::new(response));
    let fake = Fake::new([slow(nothing_applied()), up_to_date()]);
    let (scheduler, _) = start(&fake);
    let mut listener = scheduler.listen();
    sleep(Duration::from_secs(1)).await;
    scheduler.schema_changed();
    assert!(scheduler.check_now().await.unwrap().is_up_to_date());
    let Some(SchemaState::Checked(check)) = listener.next().await else {
        panic!("a state")
    };
    assert!(check.is_up_to_date());
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_late_does_not_get_what_was_known_before_a_change() {
    let fake = Fake::new([nothing_applied(), up_to_date()]);
    let (scheduler, _) = start(&fake);
    let mut late = scheduler.listen();
    scheduler.check_now().await.unwrap();
    scheduler.schema_changed();
    assert!(matches!(scheduler.state(), SchemaState::Unknown));
    tokio::select! {
        _ = late.next() => panic!("nothing is known"),
        () = sleep(Duration::from_secs(1)) => {}
    }
    scheduler.check_now().await.unwrap();
    let Some(SchemaState::Checked(check)) = late.next().await else {
        panic!("a state")
    };
    assert!(check.is_up_to_date());
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
async fn a_requested_check_that_fails_returns_its_error() {
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

#[test]
fn asking_a_scheduler_whose_runtime_is_gone_is_an_error() {
    let fake = Fake::new([up_to_date()]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let scheduler = runtime.block_on(async { start(&fake).0 });
    drop(runtime);
    let after = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let error = after.block_on(scheduler.check_now()).unwrap_err();
    assert!(matches!(*error, Error::SchedulerStopped), "{error}");
}
