//! Previews while others use the database, and while the network or the database fails.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use ctx0_schema::{Error, Migrations, Version, WaitReason};
use ctx0_stack::project::GATE;
use ctx0_stack::{
    Options,
    fault::{Fault, Page},
    project::LONGEST,
};
use tokio::time::sleep;

use crate::support::{AppTransaction, Network, Running, steps};

const NOTES: &str = "
create table public.notes (id serial primary key, text text);
insert into public.notes (text) values ('one'), ('two');
";

fn changes_notes() -> Migrations {
    steps(&[
        "alter table public.notes alter column text type varchar(100); \
             insert into public.notes (text) values ('three');",
    ])
}

#[tokio::test]
async fn whatever_the_network_does_a_preview_is_right_or_an_error_and_leaves_nothing() {
    let network = Network::start().await;
    network.sql(NOTES).await;
    let before = network.everything().await;
    let faults = [
        Fault::Pass,
        Fault::Delay(Duration::from_millis(50)),
        Fault::Refuse,
        Fault::ResetBeforeSending,
        Fault::ResetAfterRequest,
        Fault::ResetAfterAnswer,
        Fault::ResetInAnswer,
        Fault::Status(502, Page::Html),
        Fault::StatusAfterRequest(504, Page::Html),
        Fault::Truncated,
        Fault::Duplicate,
        Fault::LateDuplicate(Duration::from_millis(50)),
    ];
    for fault in faults {
        // The ledger is read without trouble.
        network.proxy.script([Fault::Pass, fault.clone()]);
        let preview = network
            .manager(&changes_notes())
            .preview()
            .budget(LONGEST)
            .await;
        let preview = preview.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert!(preview.succeeds(), "{fault:?}: {preview}");
        assert_eq!(
            preview.versions[0].rewrites.len(),
            1,
            "{fault:?}: {preview}"
        );
        network.proxy.settle().await;
        assert_eq!(network.everything().await, before, "{fault:?}");
    }
}

#[tokio::test]
async fn a_preview_that_is_given_up_in_the_middle_leaves_nothing() {
    let network = Network::start().await;
    network.sql(NOTES).await;
    let before = network.everything().await;
    let migrations = steps(&["insert into public.notes (text) values ('three');", GATE]);
    let manager = network.manager(&migrations);
    tokio::select! {
        preview = manager.preview().budget(LONGEST) => panic!("it waits for its gate: {preview:?}"),
        process = network.until_asleep() => assert!(!process.is_empty()),
    }
    // The database goes on with it, and takes it back at its end.
    network.close_gate().await;
    network.open_gate().await;
    network.proxy.settle().await;
    network.close_gate().await;
    network.sql("vacuum public.gate_of_ctx0_tests").await;
    let after = network.everything().await;
    let (before, after) = (without_gate(before), without_gate(after));
    assert_eq!(after, before);
}

/// The gate itself was opened.
fn without_gate(lines: Vec<String>) -> Vec<String> {
    lines
        .into_iter()
        .filter(|line| !line.starts_with("gate_of_ctx0_tests "))
        .collect()
}

#[tokio::test]
async fn a_database_that_is_killed_during_a_preview_has_nothing_of_it() {
    let network = Network::start().await;
    network.sql(NOTES).await;
    // A crash skips the numbers that a sequence has written ahead; now it has not.
    network.sql("select setval('public.notes_id_seq', 2)").await;
    let before = network.everything().await;
    let migrations = steps(&["insert into public.notes (text) values ('three');", GATE]);
    let manager = network.manager(&migrations);
    tokio::select! {
        preview = manager.preview().budget(LONGEST) => panic!("it waits for its gate: {preview:?}"),
        _ = network.until_asleep() => {}
    }
    network.stack.kill_database().await.expect("it is killed");
    network.stack.start_database().await.expect("it starts");
    assert_eq!(network.everything().await, before);
    network.proxy.settle().await;
    assert_eq!(network.truth().await.versions(), [0; 0]);
}

#[tokio::test]
async fn a_preview_is_refused_at_once_while_the_schema_is_changed() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&[GATE]));
    let run = Running::start(manager.apply_all_pending());
    network.until_asleep().await;
    let before = network.proxy.records().len();
    let error = manager.preview().budget(LONGEST).await.unwrap_err();
    assert!(matches!(error, Error::ChangeRunning), "{error}");
    assert!(error.is_retryable());
    let asked = network.proxy.records().len() - before;
    assert_eq!(asked, 2, "the ledger and the rehearsal, once each");
    assert!(manager.status().await.unwrap().locked);
    network.open_gate().await;
    assert_eq!(run.success().await, (vec![1], 1));
}

#[tokio::test]
async fn a_change_waits_for_a_preview_and_previews_for_one_another() {
    let network = Arc::new(Network::start().await);
    let manager = network.manager(&steps(&[GATE]));
    let preview = tokio::spawn({
        let manager = manager.clone();
        async move { manager.preview().budget(LONGEST).await }
    });
    network.until_asleep().await;
    assert!(
        !manager.status().await.unwrap().locked,
        "nothing is changed"
    );
    let another = tokio::spawn({
        let manager = manager.clone();
        async move { manager.preview().budget(LONGEST).await }
    });
    let mut run = Running::start(manager.apply_all_pending());
    run.until_waiting_for(WaitReason::Preview).await;
    network.open_gate().await;
    assert_eq!(run.success().await, (vec![1], 1));
    assert!(preview.await.unwrap().unwrap().succeeds());
    // It comes before the run or after it.
    let another = another.await.unwrap();
    assert!(
        matches!(&another, Ok(preview) if preview.succeeds())
            || matches!(&another, Err(Error::Conflict { .. } | Error::ChangeRunning)),
        "{another:?}"
    );
}

#[tokio::test]
async fn a_preview_waits_two_seconds_for_a_table_and_says_who_holds_it() {
    let network = Arc::new(Network::start().await);
    network.sql(NOTES).await;
    let app =
        AppTransaction::begin(&network, "lock table public.notes in row exclusive mode").await;
    let in_a_block =
        steps(&["do $$ begin alter table public.notes alter column text set not null; end $$;"]);
    for migrations in [changes_notes(), in_a_block] {
        let asked = Instant::now();
        let manager = network.manager(&migrations);
        let mut waits = BTreeSet::new();
        let preview = tokio::select! {
            preview = manager.preview().budget(LONGEST) => preview.unwrap(),
            () = each_wait(&network, &mut waits) => unreachable!(),
        };
        let took = asked.elapsed();
        assert!(took >= Duration::from_secs(2), "{took:?}");
        assert_eq!(waits.len(), 1, "{waits:?}");
        let failure = preview.failure().expect("the table is held");
        assert_eq!(failure.sqlstate, "55P03");
        assert!(failure.retryable);
        assert_eq!(failure.holders[0].pid.to_string(), app.process);
    }
    app.end().await;
    assert!(
        network
            .manager(&changes_notes())
            .preview()
            .budget(LONGEST)
            .await
            .unwrap()
            .succeeds()
    );
}

/// Collects when somebody began to wait for a lock.
async fn each_wait(network: &Network, since: &mut BTreeSet<String>) {
    loop {
        let waits =
            "select string_agg(distinct waitstart::text, ',') from pg_locks where not granted";
        let found = network.value(waits).await;
        since.extend(
            found
                .split(',')
                .filter(|wait| !wait.is_empty())
                .map(str::to_owned),
        );
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn numbers_of_a_sequence_in_use_are_used_up_and_that_is_said() {
    let network = Arc::new(Network::start().await);
    network.sql(NOTES).await;
    let app =
        AppTransaction::begin(&network, "insert into public.notes (text) values ('app')").await;
    let last = "select last_value::text from public.notes_id_seq";
    assert_eq!(network.value(last).await, "3");
    let inserts = steps(&["insert into public.notes (text) values ('three');"]);
    let preview = network
        .manager(&inserts)
        .preview()
        .budget(LONGEST)
        .await
        .unwrap();
    assert!(preview.succeeds());
    let moved: Vec<_> = preview
        .sequences
        .iter()
        .map(|moved| (moved.relation.as_str(), moved.from, moved.to))
        .collect();
    assert_eq!(moved, [("public.notes_id_seq", Some(3), Some(4))]);
    assert!(
        preview.to_string().contains(
            "This preview used up numbers of the sequence notes_id_seq, which is harmless."
        )
    );
    assert_eq!(network.value(last).await, "4");
    app.end().await;
    // Once nobody uses it, its numbers come back.
    let preview = network
        .manager(&inserts)
        .preview()
        .budget(LONGEST)
        .await
        .unwrap();
    assert_eq!(preview.sequences, []);
    assert_eq!(network.value(last).await, "4");
}

#[tokio::test]
async fn a_rollback_whose_answer_is_lost_is_followed_to_its_end_and_done_once() {
    let network = Network::informed_once(Options::default()).await;
    for fault in [
        Fault::ResetBeforeSending,
        Fault::ResetAfterRequest,
        Fault::ResetAfterAnswer,
        Fault::StatusAfterRequest(504, Page::Html),
        Fault::Duplicate,
        Fault::LateDuplicate(Duration::from_millis(50)),
    ] {
        network.forget().await;
        let manager = network.manager(&with_ways_back());
        manager.apply_all_pending().await.unwrap();
        network.proxy.script([Fault::Pass, fault.clone()]);
        let report = manager.rollback_to(version(1)).await;
        let report = report.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(
            (report.rolled_back.len(), report.current_version.get()),
            (1, 1),
            "{fault:?}"
        );
        network.proxy.settle().await;
        let truth = network.look().await;
        assert_eq!(truth.versions(), [1], "{fault:?}");
        assert_eq!(truth.outcomes(2), ["applied", "rolled_back"], "{fault:?}");
        assert!(
            manager.apply_all_pending().await.unwrap().applied == [version(2)],
            "{fault:?}"
        );
    }
}

fn version(number: u32) -> Version {
    Version::new(number).expect("a version")
}

/// Two versions; the second is reversible.
fn with_ways_back() -> Migrations {
    let manifest = r#"{"currentVersion": 2, "migrations": [
        {"version": 1, "name": "001_step", "description": "1", "file": "001_step.sql"},
        {"version": 2, "name": "002_step", "description": "2", "file": "002_step.sql", "down": "002_step.down.sql"}]}"#;
    Migrations::embedded(&[
        ("manifest.json", manifest),
        ("001_step.sql", "create table public.step_1 (id int);"),
        ("002_step.sql", "create table public.step_2 (id int);"),
        ("002_step.down.sql", "drop table public.step_2;"),
    ])
    .expect("valid migrations")
}
