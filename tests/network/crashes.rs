//! The database, the REST server, its connections or its knowledge of the schema go away.

use std::time::{Duration, Instant};

use ctx0_schema::{Error, WaitReason};
use ctx0_stack::project::{GATE, PATIENCE};
use ctx0_stack::{Options, fault::Fault};
use tokio::time::{sleep, timeout};

use crate::support::{Network, Running, manager, numbers, steps};

#[tokio::test]
async fn a_running_call_outlives_a_database_that_is_killed() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&["", GATE, ""]));
    let mut run = Running::start(manager.apply_all_pending().batch(false));
    network.until_asleep().await;
    network.stack.kill_database().await.expect("it is killed");
    run.until_waiting_for(WaitReason::NoResponse).await;
    network.stack.start_database().await.expect("it starts");
    assert_eq!(network.ledger().await, [1]);
    network.open_gate().await;
    assert_eq!(run.success().await, (vec![1, 2, 3], 3));

    network.proxy.settle().await;
    let truth = network.truth().await;
    assert_eq!(truth.outcomes(2), ["applied"]);
}

#[tokio::test]
async fn the_next_call_carries_on_after_a_database_that_was_killed() {
    let network = Network::start().await;
    let migrations = steps(&["", GATE, ""]);
    // Long enough to come to the second version on a busy machine.
    let config = network.config().apply_deadline(Duration::from_secs(5));
    let manager = manager(config, &migrations);
    let run = Running::start(manager.apply_all_pending().batch(false));
    network.until_asleep().await;
    network.stack.kill_database().await.expect("it is killed");
    let error = run.failure().await;
    assert_eq!(numbers(&error.applied), [1]);
    let Error::OutcomeUnknown { version, .. } = error.error else {
        panic!("{error}")
    };
    assert_eq!(version.get(), 2);

    network.stack.start_database().await.expect("it starts");
    // A request that was given up may still wait for the database, and read the ledger then.
    network.proxy.settle().await;
    assert_eq!(network.truth().await.versions(), [1]);
    network.open_gate().await;
    let next = Running::start(network.manager(&migrations).apply_all_pending());
    assert_eq!(next.success().await, (vec![2, 3], 3));
    network.proxy.settle().await;
    network.truth().await;
}

#[tokio::test]
async fn a_database_that_is_killed_at_any_moment_has_whole_versions() {
    let network = Network::start().await;
    for (batch, position, later) in moments() {
        let mut run = begin_five(&network, batch).await;
        run.until_started(position).await;
        sleep(later).await;
        network.stack.kill_database().await.expect("it is killed");
        network.stack.start_database().await.expect("it starts");
        end_five(&network, run).await;
    }
}

#[tokio::test]
async fn a_database_that_stays_away_is_given_up_and_nothing_has_run() {
    let network = Network::start().await;
    let config = network.config().retry_deadline(Duration::from_secs(1));
    let manager = manager(config, &steps(&[""]));
    network.stack.kill_database().await.expect("it is killed");
    let error = Running::start(manager.apply_all_pending()).failure().await;
    assert!(error.error.is_retryable(), "{error}");
    assert!(
        matches!(error.error, Error::DatabaseUnavailable { .. }),
        "{error}"
    );
    network.stack.start_database().await.expect("it starts");
    network.proxy.settle().await;
    assert_eq!(network.truth().await.attempts, []);
}

#[tokio::test]
async fn a_running_call_outlives_a_rest_server_that_is_restarted() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&["", GATE, ""]));
    let mut run = Running::start(manager.apply_all_pending());
    network.until_asleep().await;
    network.stack.stop_rest().await.expect("it stops");
    run.until_waiting_for(WaitReason::NoResponse).await;
    network.stack.start_rest().await.expect("it starts");
    network.open_gate().await;
    assert_eq!(run.success().await, (vec![1, 2, 3], 3));

    network.proxy.settle().await;
    let truth = network.truth().await;
    assert_eq!(truth.outcomes(2), ["applied"]);
}

#[tokio::test]
async fn a_rest_server_that_is_restarted_at_any_moment_leaves_whole_versions() {
    let network = Network::start().await;
    for (batch, position, later) in moments() {
        let mut run = begin_five(&network, batch).await;
        run.until_started(position).await;
        sleep(later).await;
        network.stack.stop_rest().await.expect("it stops");
        let stopped = network.value("select clock_timestamp()").await;
        network.stack.start_rest().await.expect("it starts");
        // PostgreSQL still ends what the server had sent to it, and perhaps begins it only now.
        network
            .until(&format!(
                "not exists (select from pg_stat_activity \
                             where usename = 'authenticator' and backend_start < '{stopped}')"
            ))
            .await;
        end_five(&network, run).await;
    }
}

#[tokio::test]
async fn a_rest_server_that_stays_away_is_unreachable_and_nothing_has_run() {
    let network = Network::start().await;
    network.stack.stop_rest().await.expect("it stops");
    let config = network
        .project
        .config()
        .retry_deadline(Duration::from_secs(1));
    let manager = manager(config, &steps(&[""]));
    let error = Running::start(manager.apply_all_pending()).failure().await;
    assert!(error.error.is_retryable(), "{error}");
    assert!(matches!(error.error, Error::Unreachable { .. }), "{error}");
    assert_eq!(network.truth().await.attempts, []);
}

#[tokio::test]
async fn a_full_pool_is_waited_for() {
    let network = Network::informed_once(one_connection()).await;
    let migrations = steps(&[GATE]);
    let busy = Running::start(network.manager(&migrations).apply_all_pending());
    network.until_asleep().await;
    let other = network.manager(&migrations);
    let read = tokio::spawn(async move { other.current_version().await });
    until_refused(&network).await;
    network.open_gate().await;
    assert_eq!(busy.success().await, (vec![1], 1));
    let version = read.await.expect("no panic").expect("it is read");
    assert_eq!(version.get(), 1);
}

#[tokio::test]
async fn a_pool_that_stays_full_is_given_up_and_nothing_has_run() {
    let network = Network::informed_once(one_connection()).await;
    let busy = Running::start(network.manager(&steps(&[GATE])).apply_all_pending());
    network.until_asleep().await;
    let config = network.config().retry_deadline(Duration::from_secs(1));
    let other = manager(config.applied_by("other"), &steps(&[GATE]));
    let error = Running::start(other.apply_all_pending()).failure().await;
    assert!(error.error.is_retryable(), "{error}");
    assert!(matches!(error.error, Error::PoolExhausted), "{error}");
    network.open_gate().await;
    assert_eq!(busy.success().await, (vec![1], 1));
    let truth = network.truth().await;
    assert_eq!(
        (truth.versions_by("other"), truth.attempts.len()),
        (vec![], 1)
    );
}

#[tokio::test]
async fn functions_that_were_just_installed_are_waited_for() {
    let network = Network::uninformed().await;
    // The second call arrives once the schema has been read, however long that takes.
    let calls = [Fault::Pass, Fault::Pass, Fault::Delay(Duration::MAX)];
    network.proxy.script(calls);
    let mut run = Running::start(network.manager(&steps(&[""])).apply_all_pending());
    run.until_waiting_for(WaitReason::FunctionsMissing).await;
    network.stack.reload_schema().await.expect("it is read");
    network.proxy.deliver_now();
    assert_eq!(run.success().await, (vec![1], 1));
    network.truth().await;
}

#[tokio::test]
async fn functions_that_stay_unknown_are_given_up_after_four_requests() {
    let network = Network::uninformed().await;
    let began = Instant::now();
    let run = network.manager(&steps(&[""])).apply_all_pending();
    let error = run.await.expect_err("it is given up");
    let took = began.elapsed();
    assert!(!error.error.is_retryable(), "{error}");
    assert!(
        matches!(error.error, Error::RpcNotInstalled { .. }),
        "{error}"
    );
    assert!(took >= Duration::from_millis(850), "{took:?}");
    assert_eq!(
        network.proxy.records().len(),
        1 + 4,
        "one to read, four to call"
    );
    assert_eq!(network.truth().await.attempts, []);
}

/// At the beginning of each of the five versions of [`begin_five`], and a little later; and while
/// one request applies all of them.
fn moments() -> impl Iterator<Item = (bool, usize, Duration)> {
    let ms = Duration::from_millis;
    let one_by_one = (1..=5).flat_map(move |position| [0, 15].map(|at| (false, position, ms(at))));
    one_by_one.chain([0, 20, 40, 60, 90].map(|at| (true, 1, ms(at))))
}

async fn begin_five(network: &Network, batch: bool) -> Running {
    network.forget().await;
    let config = network.config().retry_delay(Duration::from_millis(20));
    let migrations = steps(&["select pg_sleep(0.01);"; 5]);
    let manager = manager(config, &migrations);
    Running::start(manager.apply_all_pending().batch(batch))
}

async fn end_five(network: &Network, run: Running) {
    assert_eq!(run.success().await, (vec![1, 2, 3, 4, 5], 5));
    network.proxy.settle().await;
    let truth = network.truth().await;
    for version in 1..=5 {
        assert_eq!(truth.outcomes(version), ["applied"]);
    }
}

fn one_connection() -> Options {
    Options {
        pool: 1,
        pool_timeout: Duration::from_millis(100),
        ..Options::default()
    }
}

/// Waits until a request was refused for want of a connection.
async fn until_refused(network: &Network) {
    let refused = async {
        while !network
            .proxy
            .records()
            .iter()
            .any(|record| record.upstream == [504])
        {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("it is refused");
}
