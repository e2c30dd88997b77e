//! Random schedules of faults, each of which follows from its seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fmt,
    io::{self, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ctx0_schema::{ConfigBuilder, Error, Migrations, RunError, RunReport};
use ctx0_stack::{
    Options,
    fault::{replay, schedule},
};
use tokio::{task::JoinSet, time::timeout};

use crate::support::{Network, Truth, manager, numbers, steps, steps_and_index};

/// How many seeds are tried unless `CTX0_CHAOS_RUNS` says otherwise.
const RUNS: u64 = 1_000;

/// Databases that are worked on at the same time.
const NETWORKS: u64 = 4;

/// Faults in a schedule; then requests pass.
const FAULTS: usize = 16;

const VERSIONS: u32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_any_schedule_of_faults_versions_are_whole_and_reports_true() {
    let (first, runs) = match variable("CTX0_CHAOS_SEED") {
        Some(seed) => (seed, 1),
        None => (0, variable("CTX0_CHAOS_RUNS").unwrap_or(RUNS)),
    };
    let began = Instant::now();
    let seeds = Arc::new(AtomicU64::new(first));
    let figures = Arc::new(Mutex::new(Figures::default()));
    let mut workers = JoinSet::new();
    for _ in 0..NETWORKS.min(runs) {
        let (seeds, figures) = (Arc::clone(&seeds), Arc::clone(&figures));
        workers.spawn(async move {
            let network = Arc::new(Network::informed_once(Options::default()).await);
            let served = network.stack.serve_sql("postgres").await;
            served.expect("postgres-meta starts");
            loop {
                let seed = seeds.fetch_add(1, Ordering::Relaxed);
                if seed >= first + runs {
                    break;
                }
                // A task of its own, so that what it panics with does not end the others.
                let tried = tokio::spawn(try_seed(Arc::clone(&network), seed)).await;
                figures.lock().unwrap().note(seed, tried.ok());
            }
            let faults = network.proxy.counts();
            figures.lock().unwrap().note_faults(faults);
        });
    }
    workers.join_all().await;

    let figures = figures.lock().unwrap();
    // Past the test harness, which would keep it to itself.
    writeln!(io::stderr(), "{figures} in {:.0?}", began.elapsed()).expect("standard error");
    for seed in figures.wrong.iter().take(3) {
        eprintln!(
            "\nseed {seed}: {:?}\n{}\nCTX0_CHAOS_SEED={seed} cargo test --test network chaos",
            Scenario::of(*seed),
            replay(*seed, FAULTS)
        );
    }
    assert!(
        figures.wrong.is_empty(),
        "wrong outcomes: {:?}",
        figures.wrong
    );
}

/// What happens beside the faults.
#[derive(Debug)]
struct Scenario {
    /// How long each manager is let alone before its future is dropped; none means to its end.
    managers: Vec<Option<Duration>>,
    /// The version whose migration always fails.
    broken: Option<u32>,
    /// How long the migrations take, in milliseconds.
    takes: u64,
    /// Whether several versions go into one request.
    batch: bool,
    /// Whether another version follows, outside a transaction.
    outside: bool,
}

impl Scenario {
    fn of(seed: u64) -> Self {
        // Another stream than that of the schedule, which begins with the same number.
        let mut rng = fastrand::Rng::with_seed(!seed);
        let managers = 1 + usize::from(rng.u8(..3) == 0);
        Self {
            managers: (0..managers)
                .map(|_| (rng.u8(..8) == 0).then(|| Duration::from_millis(rng.u64(1..=60))))
                .collect(),
            broken: (rng.u8(..4) == 0).then(|| rng.u32(1..=VERSIONS)),
            takes: [0, 0, 5, 40][rng.usize(..4)],
            batch: rng.bool(),
            outside: rng.u8(..16) == 0,
        }
    }

    fn migrations(&self) -> Migrations {
        let texts: Vec<_> = (1..=VERSIONS)
            .map(|version| {
                let broken = self.broken == Some(version);
                let fails = if broken { "select 1 / 0;" } else { "" };
                format!("select pg_sleep({}::float / 1000);\n{fails}", self.takes)
            })
            .collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        match self.outside {
            true => steps_and_index(&texts),
            false => steps(&texts),
        }
    }
}

/// How the apply of a manager ended; none where it was dropped.
type End = Option<Result<RunReport, RunError>>;

/// Applies under the seed's schedule, and again without faults. Panics where anything is
/// wrong, and returns how the applies under faults ended.
async fn try_seed(network: Arc<Network>, seed: u64) -> Vec<&'static str> {
    let scenario = Scenario::of(seed);
    let migrations = scenario.migrations();
    let start = |config: ConfigBuilder, name: &str| {
        let manager = manager(config.applied_by(name), &migrations);
        tokio::spawn(
            manager
                .apply_all_pending()
                .batch(scenario.batch)
                .into_future(),
        )
    };
    let hasty = || {
        network
            .config()
            .request_timeout(Duration::from_millis(250))
            .retry_delay(Duration::from_millis(10))
            .retry_deadline(Duration::from_secs(2))
            .apply_deadline(Duration::from_secs(5))
    };
    network.forget().await;
    network.proxy.script(schedule(seed, FAULTS));

    let names = ["one", "two"].into_iter();
    let running: Vec<_> = names
        .zip(&scenario.managers)
        .map(|(name, alone)| (name, *alone, start(hasty(), name)))
        .collect();
    let mut ends = Vec::new();
    for (name, alone, mut task) in running {
        let end = match alone {
            None => Some(task.await.expect("it does not panic")),
            Some(time) => match timeout(time, &mut task).await {
                Ok(end) => Some(end.expect("it does not panic")),
                Err(_elapsed) => {
                    task.abort();
                    None
                }
            },
        };
        ends.push((name, end));
    }
    network.proxy.clear();
    network.proxy.settle().await;
    let truth = network.truth().await;
    scenario.must_allow(&truth);
    for (name, end) in &ends {
        scenario.must_be_true(&truth, name, end);
    }

    // Without faults nothing is given up, however busy the machine is.
    let end = start(network.config(), "after").await;
    let end = Some(end.expect("it does not panic"));
    let missing = (1..=scenario.reachable()).filter(|version| !truth.versions().contains(version));
    let missing: Vec<_> = missing.collect();
    let truth = network.truth().await;
    // What another one has begun outside a transaction stays its own.
    let begun =
        |version: &u32| *version > VERSIONS && !truth.versions_by("after").contains(version);
    let missing: Vec<_> = missing
        .into_iter()
        .filter(|version| !begun(version))
        .collect();
    assert_eq!(truth.running, 0, "{truth:#?}");
    scenario.must_allow(&truth);
    scenario.must_be_true(&truth, "after", &end);
    assert_eq!(truth.versions_by("after"), missing, "{end:?} {truth:#?}");
    let name = name_of(&end);
    assert!(matches!(name, "success" | "migration failed"), "{end:?}");
    ends.iter().map(|(_, end)| name_of(end)).collect()
}

impl Scenario {
    fn versions(&self) -> u32 {
        VERSIONS + u32::from(self.outside)
    }

    /// The highest version that can be applied.
    fn reachable(&self) -> u32 {
        self.broken.map_or(self.versions(), |version| version - 1)
    }

    /// What must be so in the database, whatever was reported.
    fn must_allow(&self, truth: &Truth) {
        assert!(truth.ledger.len() as u32 <= self.reachable(), "{truth:#?}");
        let mut seen = BTreeSet::new();
        for attempt in &truth.attempts {
            let first = seen.insert((&attempt.applied_by, attempt.version));
            assert!(
                first,
                "one attempt for each manager and version: {truth:#?}"
            );
            match attempt.outcome.as_str() {
                "applied" | "already_applied" => {}
                "failed" => assert_eq!(Some(attempt.version), self.broken, "{truth:#?}"),
                _ => panic!("no such outcome is expected: {truth:#?}"),
            }
        }
        for version in 1..=VERSIONS {
            let outcomes = truth.outcomes(version);
            let run = outcomes
                .iter()
                .filter(|outcome| **outcome != "already_applied");
            let run = run.count() as u64;
            // Behind others in one request, a failure is not recorded: it is tried alone.
            let unrecorded = if self.batch && self.broken == Some(version) {
                self.managers.len() as u64 + 1
            } else {
                0
            };
            let executions = truth.executions(version);
            assert!((run..=run + unrecorded).contains(&executions), "{truth:#?}");
        }
    }

    /// A report says no more and no less than the database.
    fn must_be_true(&self, truth: &Truth, name: &str, end: &End) {
        let Some(end) = end else { return };
        let recorded = truth.versions_by(name);
        let about = || format!("{name} {end:?} {truth:#?}");
        match end {
            Ok(report) => {
                assert_eq!(numbers(&report.applied), recorded, "{}", about());
                assert_eq!(report.current_version.get(), self.versions(), "{}", about());
                assert_eq!(truth.ledger.len() as u32, self.versions(), "{}", about());
            }
            Err(RunError { applied, error, .. }) => {
                let mut applied = numbers(applied);
                match error {
                    Error::MigrationFailed(failure) => {
                        let failed = failure.version.get();
                        assert_eq!(Some(failed), self.broken, "{}", about());
                        assert!(truth.outcomes(failed).contains(&"failed"), "{}", about());
                    }
                    Error::OutcomeUnknown { version, .. } | Error::StillRunning { version, .. } => {
                        // It does not know about the next one, or ones.
                        let unknown = recorded.iter().filter(|one| **one >= version.get());
                        applied.extend(unknown.take(if self.batch { usize::MAX } else { 1 }));
                    }
                    // Too long an answer, the last of several that could not be used.
                    Error::UnexpectedResponse { status: 200, .. } => {}
                    _ => assert!(error.is_retryable(), "{}", about()),
                }
                assert_eq!(applied, recorded, "{}", about());
            }
        }
    }
}

fn name_of(end: &End) -> &'static str {
    match end {
        None => "dropped",
        Some(Ok(_)) => "success",
        Some(Err(RunError { error, .. })) => match error {
            Error::MigrationFailed(_) => "migration failed",
            Error::OutcomeUnknown { .. } => "outcome unknown",
            Error::StillRunning { .. } => "still running",
            _ => "given up",
        },
    }
}

/// What was tried, and what came of it.
#[derive(Default)]
struct Figures {
    schedules: usize,
    faults: BTreeMap<&'static str, usize>,
    ends: BTreeMap<&'static str, usize>,
    wrong: Vec<u64>,
}

impl Figures {
    /// The ends are none where the seed went wrong.
    fn note(&mut self, seed: u64, ends: Option<Vec<&'static str>>) {
        self.schedules += 1;
        match ends {
            None => self.wrong.push(seed),
            Some(ends) => ends
                .into_iter()
                .for_each(|end| *self.ends.entry(end).or_default() += 1),
        }
    }

    fn note_faults(&mut self, faults: BTreeMap<&'static str, usize>) {
        for (name, count) in faults {
            *self.faults.entry(name).or_default() += count;
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |counts: &BTreeMap<&str, usize>| {
            let counts: Vec<_> = counts
                .iter()
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            counts.join(", ")
        };
        let faults = self.faults.iter().filter(|(name, _)| **name != "pass");
        let faults: usize = faults.map(|(_, count)| count).sum();
        write!(
            f,
            "chaos: {} schedules, {faults} faults ({}), applies ended: {}, wrong outcomes: {}",
            self.schedules,
            list(&self.faults),
            list(&self.ends),
            self.wrong.len()
        )
    }
}

fn variable(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")))
}
