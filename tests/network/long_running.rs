//! A migration takes longer than a gateway, a client or a deadline waits for it.

use std::{
    env,
    time::{Duration, Instant},
};

use ctx0_schema::{Error, WaitReason};
use ctx0_stack::fault::Fault;
use ctx0_stack::project::GATE;

use crate::support::{Network, Running, manager, steps};

#[tokio::test]
async fn a_migration_that_outlasts_the_gateway_is_applied_and_reported() {
    let (seconds, gateway) = seconds();
    let network = Network::start().await;
    network
        .proxy
        .gateway_timeout(Some(Duration::from_secs(gateway)));
    let migrations = steps(&[&format!("select pg_sleep({seconds});")]);
    let began = Instant::now();
    let mut daemon = Running::start(network.manager(&migrations).apply_all_pending());
    network.until_asleep().await;
    let mut second = Running::start(network.manager(&migrations).apply_all_pending());

    second.until_waiting_for(WaitReason::OtherChange).await;
    daemon.until_waiting_for(WaitReason::NoResponse).await;
    daemon.until_waiting_for(WaitReason::Running).await;
    assert_eq!(daemon.success().await, (vec![1], 1));
    assert_eq!(second.success().await, (vec![], 1));
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(seconds), "{took:?}");

    let truth = network.truth().await;
    assert_eq!(truth.executions(1), 1);
    let asked = network.proxy.records().len();
    println!(
        "{seconds} s behind a gateway of {gateway} s: reported after {took:.1?} and {asked} requests of two managers"
    );
}

#[tokio::test]
async fn a_migration_that_outlasts_the_clients_timeout_is_applied_and_reported() {
    let network = Network::start().await;
    let config = network.config().request_timeout(Duration::from_millis(200));
    let mut run = Running::start(manager(config, &steps(&[GATE])).apply_all_pending());
    run.until_waiting_for(WaitReason::NoResponse).await;
    run.until_waiting_for(WaitReason::Running).await;
    network.open_gate().await;
    assert_eq!(run.success().await, (vec![1], 1));
    let truth = network.truth().await;
    assert_eq!(
        (truth.outcomes(1), truth.executions(1)),
        (vec!["applied"], 1)
    );
}

#[tokio::test]
async fn an_apply_that_is_dropped_in_mid_migration_ends_whole_in_the_database() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&[GATE, ""]));
    let run = Running::start(manager.apply_all_pending().batch(false));
    network.until_asleep().await;
    run.task.abort();
    assert!(run.task.await.expect_err("it was dropped").is_cancelled());

    network.open_gate().await;
    network.proxy.settle().await;
    assert_eq!(network.truth().await.versions(), [1]);
    assert_eq!(
        manager.current_version().await.expect("it is read").get(),
        1
    );
    let next = Running::start(manager.apply_all_pending());
    assert_eq!(next.success().await, (vec![2], 2));
    let truth = network.truth().await;
    assert_eq!((truth.executions(1), truth.executions(2)), (1, 1));
}

#[tokio::test]
async fn a_request_for_several_versions_outlives_the_apply_that_was_dropped() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&["", GATE, ""]));
    let run = Running::start(manager.apply_all_pending().batch(true));
    network.until_asleep().await;
    run.task.abort();
    assert!(run.task.await.expect_err("it was dropped").is_cancelled());
    assert_eq!(network.ledger().await, [0; 0]);

    let mut next = Running::start(manager.apply_all_pending());
    next.until_waiting_for(WaitReason::OtherChange).await;
    network.open_gate().await;
    assert_eq!(next.success().await, (vec![], 3));
    let truth = network.truth().await;
    assert_eq!((truth.executions(1), truth.executions(3)), (1, 1));
}

#[tokio::test]
async fn an_apply_that_is_dropped_before_it_is_awaited_changes_nothing() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&[""]));
    drop(manager.apply_all_pending());
    assert_eq!(network.proxy.records(), []);
}

#[tokio::test]
async fn after_the_deadline_it_is_still_running_and_a_later_call_picks_it_up() {
    let network = Network::start().await;
    network
        .proxy
        .script([Fault::Pass, Fault::ResetAfterRequest]);
    // A second copy must not come before the first one has begun.
    network.proxy.script(vec![Fault::Refuse; 100]);
    let manager = network.manager(&steps(&[GATE, ""]));
    let deadline = Duration::from_secs(5);
    let began = Instant::now();
    let run = manager.apply_all_pending().batch(false).deadline(deadline);
    let run = Running::start(run);
    network.until_asleep().await;
    network.proxy.clear();
    let error = run.failure().await;
    let took = began.elapsed();
    let Error::StillRunning {
        version, waited, ..
    } = error.error
    else {
        panic!("{error}")
    };
    assert_eq!((version.get(), error.applied), (1, vec![]));
    assert!(waited <= took, "{waited:?} of {took:?}");
    assert_eq!(network.ledger().await, [0; 0]);

    let mut later = Running::start(manager.apply_all_pending());
    later.until_waiting_for(WaitReason::OtherChange).await;
    network.open_gate().await;
    assert_eq!(later.success().await, (vec![2], 2));
    let truth = network.truth().await;
    assert_eq!(
        (truth.executions(1), truth.outcomes(2)),
        (1, vec!["applied"])
    );
}

/// How long the migration takes, and how long the gateway waits, in seconds.
fn seconds() -> (u64, u64) {
    let text = env::var("CTX0_LONG_SECONDS").unwrap_or_else(|_| "10/1".to_owned());
    let seconds = text
        .split_once('/')
        .and_then(|(migration, gateway)| Some((migration.parse().ok()?, gateway.parse().ok()?)));
    seconds.unwrap_or_else(|| panic!("CTX0_LONG_SECONDS is like 10/1, not {text:?}"))
}
