//! A late copy of an old request changes nothing, not even after a rollback.

use std::time::Duration;

use ctx0_stack::fault::Fault;
use serde_json::Value;

use crate::support::{Network, Running, steps};

#[tokio::test]
async fn a_late_copy_of_a_request_changes_nothing_after_a_rollback() {
    let network = Network::start().await;
    let late = Fault::LateDuplicate(Duration::MAX);
    network.proxy.script([Fault::Pass, late]);
    let manager = network.manager(&steps(&[""]));
    let run = Running::start(manager.apply_all_pending());
    assert_eq!(run.success().await, (vec![1], 1));
    network.sql(ROLLBACK).await;
    let before = network.look().await;
    assert_eq!(network.proxy.records()[1].delivered, 1);

    network.proxy.deliver_now();
    network.proxy.settle().await;
    assert_eq!(network.proxy.records()[1].upstream, [200, 200]);
    assert_eq!(network.look().await, before);
    assert_eq!((before.versions(), before.executions(1)), (vec![], 1));

    // What was rolled back can be applied again.
    let run = Running::start(manager.apply_all_pending());
    assert_eq!(run.success().await, (vec![1], 1));
    assert_eq!(network.look().await.executions(1), 2);
}

/// Also one that ended early, and whose other versions were never requested again.
#[tokio::test]
async fn a_late_copy_of_a_request_for_several_versions_begins_none() {
    let network = Network::start().await;
    let late = Fault::LateDuplicate(Duration::MAX);
    network.proxy.script([Fault::Pass, late]);
    let manager = network.manager(&steps(&["", "select 1 / 0;", ""]));
    let run = Running::start(manager.apply_all_pending());
    let error = run.failure().await;
    assert_eq!(error.applied.len(), 1, "{error}");
    // What made the second version fail is gone.
    network
        .sql("delete from ctx0_private.ctx0_schema_attempts where version = 2")
        .await;
    let before = network.look().await;
    assert_eq!(before.executions(2), 2, "behind the first, and alone");

    network.proxy.deliver_now();
    network.proxy.settle().await;
    assert_eq!(network.proxy.records()[1].upstream, [200, 200]);
    assert_eq!(network.look().await, before);
}

#[tokio::test]
async fn an_attempt_that_applied_is_answered_so_after_a_rollback() {
    let network = Network::start().await;
    assert_eq!(call(&network, 1, STEP, 1).await["outcome"], "applied");
    network.sql(ROLLBACK).await;
    is_replayed(&network, 1, STEP, 1, "applied").await;
    assert_eq!(network.look().await.versions(), [0; 0]);
}

#[tokio::test]
async fn an_attempt_that_found_the_version_there_is_answered_so_after_a_rollback() {
    let network = Network::start().await;
    call(&network, 1, STEP, 1).await;
    assert_eq!(
        call(&network, 1, STEP, 2).await["outcome"],
        "already_applied"
    );
    network.sql(ROLLBACK).await;
    is_replayed(&network, 1, STEP, 2, "already_applied").await;
    assert_eq!(network.look().await.versions(), [0; 0]);
}

#[tokio::test]
async fn an_attempt_that_failed_is_answered_so_when_it_would_work() {
    let network = Network::start().await;
    let needs_notes = "create table public.step_1 (id int); select from public.notes;";
    assert_eq!(call(&network, 1, needs_notes, 1).await["outcome"], "failed");
    network.sql("create table public.notes (id int)").await;
    is_replayed(&network, 1, needs_notes, 1, "failed").await;
    assert_eq!(
        call(&network, 1, needs_notes, 2).await["outcome"],
        "applied"
    );
}

#[tokio::test]
async fn an_attempt_that_came_too_early_is_answered_so_when_its_time_has_come() {
    let network = Network::start().await;
    let second = "create table public.step_2 (id int);";
    assert_eq!(call(&network, 2, second, 2).await["reason"], "gap");
    call(&network, 1, STEP, 1).await;
    is_replayed(&network, 2, second, 2, "conflict").await;
    assert_eq!(call(&network, 2, second, 3).await["outcome"], "applied");
}

const STEP: &str = "create table public.step_1 (id int);";

/// As someone does it who has the text of the down migration.
const ROLLBACK: &str =
    "drop table public.step_1; delete from public.ctx0_schema_versions where version = 1;";

/// A further copy of the attempt gets this outcome again, and changes nothing.
async fn is_replayed(network: &Network, version: u32, text: &str, attempt: u32, outcome: &str) {
    let before = network.look().await;
    let answer = call(network, version, text, attempt).await;
    assert_eq!(answer["outcome"], outcome);
    assert_eq!(answer["replayed"], true);
    assert_eq!(network.look().await, before);
}

/// Calls the function without any network.
async fn call(network: &Network, version: u32, text: &str, attempt: u32) -> Value {
    let sql = format!(
        "select public.ctx0_apply_migration(
           p_version => {version}, p_name => 'step', p_description => null,
           p_sql => array['{text}'], p_checksum => encode(sha256('{text}'), 'hex'),
           p_attempt => '00000000-0000-0000-0000-{attempt:012}')::text"
    );
    serde_json::from_str(&network.value(&sql).await).expect("JSON")
}
