//! A change is stopped: nothing of its version is left, and it is recorded who asked.

use std::{sync::Arc, time::Duration};

use ctx0_schema::{
    AttemptOutcome, CancelReport, Error, RunCanceller, RunError, Version, WaitReason,
};
use ctx0_stack::fault::Fault;
use ctx0_stack::project::GATE;
use tokio::{task::JoinSet, time::sleep};

use crate::support::{AppTransaction, Network, Running, manager, numbers, steps};

/// The version that was stopped, by whom, and the versions that were applied before.
fn stopped(error: &RunError) -> (u32, &str, Vec<u32>) {
    match &error.error {
        Error::ChangeCancelled { version, by, .. } => {
            (version.get(), by.as_str(), numbers(&error.applied))
        }
        other => panic!("{other}"),
    }
}

fn version_of(report: &CancelReport) -> Option<u32> {
    match report {
        CancelReport::Cancelled { version, .. } => version.map(Version::get),
        other => panic!("{other}"),
    }
}

async fn cancelled_by(network: &Network) -> String {
    let who = "select string_agg(concat_ws(' ', version, outcome, cancelled_by), ', ' order by started_at) \
               from ctx0_private.ctx0_schema_attempts where outcome = 'cancelled'";
    network.value(who).await
}

#[tokio::test]
async fn a_running_version_is_undone_as_a_whole_and_it_is_recorded_who_asked() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&["", GATE, ""]));
    for batch in [false, true] {
        network.forget().await;
        let run = manager.apply_all_pending().batch(batch);
        let canceller = run.canceller();
        let run = Running::start(run);
        network.until_asleep().await;
        let report = canceller.cancel_by("Ada").await.expect("it is asked");
        assert_eq!(version_of(&report), Some(2));
        assert_eq!(stopped(&run.failure().await), (2, "Ada", vec![1]));
        let truth = network.truth().await;
        assert_eq!(truth.versions(), [1]);
        assert_eq!(
            (truth.outcomes(1), truth.outcomes(2)),
            (vec!["applied"], vec!["cancelled"])
        );
        assert_eq!(cancelled_by(&network).await, "2 cancelled Ada");
        let status = manager.status().await.expect("the status");
        let last = status.last_attempt.expect("an attempt");
        assert_eq!(
            (last.outcome, last.cancelled_by.as_deref()),
            (AttemptOutcome::Cancelled, Some("Ada"))
        );
    }
    network.open_gate().await;
    let again = Running::start(manager.apply_all_pending());
    assert_eq!(again.success().await, (vec![2, 3], 3));
    network.truth().await;
}

#[tokio::test]
async fn another_process_stops_it_as_well() {
    let network = Network::start().await;
    let files = steps(&[GATE]);
    let run = Running::start(network.manager(&files).apply_all_pending());
    network.until_asleep().await;
    let other = manager(network.config().applied_by("other"), &files);
    assert_eq!(
        version_of(&other.cancel().await.expect("it is asked")),
        Some(1)
    );
    assert_eq!(stopped(&run.failure().await), (1, "other", vec![]));
    assert_eq!(network.truth().await.versions(), [0; 0]);
    assert_eq!(
        other.cancel().await.expect("it is asked"),
        CancelReport::NotRunning
    );
}

#[tokio::test]
async fn a_rollback_that_is_stopped_leaves_the_version() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&[""]));
    Running::start(manager.apply_all_pending()).success().await;
    let down = format!("array['drop table public.step_1;', $down${GATE}$down$]");
    network
        .sql(&format!(
            "update ctx0_private.ctx0_schema_attempts set down_sql = {down}"
        ))
        .await;
    let run = manager.rollback_to(Version::ZERO);
    let canceller = run.canceller();
    let run = Running::start(run);
    network.until_asleep().await;
    assert_eq!(
        version_of(&canceller.cancel_by("Ada").await.expect("it is asked")),
        Some(1)
    );
    assert_eq!(stopped(&run.failure().await), (1, "Ada", vec![]));
    assert_eq!(network.truth().await.versions(), [1]);
}

#[tokio::test]
async fn what_was_committed_is_reported_as_applied() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&["", ""]));
    let run = manager.apply_migration(Version::new(1).expect("a version"));
    let canceller = run.canceller();
    // The answer to its request comes late, so the run does not know yet.
    network.proxy.script([
        Fault::Pass,
        Fault::SlowBytes {
            chunk: 1,
            every: Duration::from_millis(20),
        },
    ]);
    let run = Running::start(run);
    network
        .until("exists (select from public.ctx0_schema_versions)")
        .await;
    match canceller.cancel().await.expect("it is asked") {
        CancelReport::Finished { version, end, .. } => {
            assert_eq!((version.get(), end), (1, AttemptOutcome::Applied));
        }
        other => panic!("{other}"),
    }
    assert_eq!(run.success().await, (vec![1], 1));
    assert_eq!(
        canceller.cancel().await.expect("nothing is asked"),
        CancelReport::NotRunning
    );
    assert_eq!(network.truth().await.outcomes(1), ["applied"]);
}

#[tokio::test]
async fn a_request_that_arrives_after_the_cancellation_begins_nothing() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&["", ""]));
    network
        .proxy
        .script([Fault::Pass, Fault::Delay(Duration::MAX)]);
    let run = manager.apply_all_pending().batch(false);
    let canceller = run.canceller();
    let mut run = Running::start(run);
    run.until_started(1).await;
    // The request has been sent by now, or will be; either way it is the one that is prevented.
    while network.proxy.records().len() < 2 {
        if run.task.is_finished() {
            break;
        }
        sleep(Duration::from_millis(5)).await;
        let report = canceller.cancel_by("Ada").await.expect("it is asked");
        assert_eq!(version_of(&report), None);
    }
    network.proxy.deliver_now();
    assert_eq!(stopped(&run.failure().await), (1, "Ada", vec![]));
    network.proxy.settle().await;
    let truth = network.truth().await;
    assert_eq!((truth.versions(), truth.executions(1)), (vec![], 0));
}

#[tokio::test]
async fn a_run_that_waits_for_another_change_ends_without_stopping_that() {
    let network = Network::start().await;
    let first = Running::start(network.manager(&steps(&[GATE])).apply_all_pending());
    network.until_asleep().await;
    let run = network.manager(&steps(&[GATE])).apply_all_pending();
    let canceller = run.canceller();
    let mut second = Running::start(run);
    second.until_waiting_for(WaitReason::OtherChange).await;
    assert_eq!(
        version_of(&canceller.cancel_by("Ada").await.expect("it is asked")),
        None
    );
    assert_eq!(stopped(&second.failure().await), (1, "Ada", vec![]));
    network.open_gate().await;
    assert_eq!(first.success().await, (vec![1], 1));
}

#[tokio::test]
async fn a_table_in_use_is_not_tried_again_once_the_run_is_stopped() {
    let network = Arc::new(Network::start().await);
    network.sql("create table public.busy (id int)").await;
    let app = AppTransaction::begin(&network, "begin; lock table public.busy").await;
    let run = network
        .manager(&steps(&["alter table public.busy add column name text;"]))
        .apply_all_pending();
    let canceller = run.canceller();
    let mut run = Running::start(run);
    run.until_waiting_for(WaitReason::TableInUse).await;
    canceller.cancel_by("Ada").await.expect("it is asked");
    assert_eq!(stopped(&run.failure().await), (1, "Ada", vec![]));
    app.end().await;
    network.proxy.settle().await;
    assert_eq!(network.truth().await.versions(), [0; 0]);
}

#[tokio::test]
async fn a_statement_that_catches_the_cancellation_is_cancelled_again() {
    let network = Network::start().await;
    let stubborn = "
        do $$
        begin
          for i in 1 .. 3 loop
            begin
              perform pg_sleep(600);
            exception when query_canceled then
              null;
            end;
          end loop;
        end
        $$;";
    let run = network.manager(&steps(&[stubborn])).apply_all_pending();
    let canceller = run.canceller();
    let run = Running::start(run);
    network.until_asleep().await;
    assert_eq!(
        version_of(&canceller.cancel_by("Ada").await.expect("it is asked")),
        Some(1)
    );
    assert_eq!(stopped(&run.failure().await), (1, "Ada", vec![]));
    assert_eq!(network.truth().await.versions(), [0; 0]);
}

#[tokio::test]
async fn where_the_role_may_not_cancel_an_administrator_is_told_what_to_run() {
    let network = Network::start().await;
    let revoke = "revoke pg_signal_backend from postgres; revoke authenticator from postgres";
    network
        .stack
        .admin_sql(revoke)
        .await
        .expect("it is revoked");
    let manager = network.manager(&steps(&[GATE]));
    for by_administrator in [true, false] {
        network.forget().await;
        let run = manager.apply_all_pending();
        let canceller = run.canceller();
        let run = Running::start(run);
        let process = network.until_asleep().await;
        let report = canceller.cancel_by("Ada").await.expect("it is asked");
        let sql = format!("select pg_cancel_backend({process});");
        assert_eq!(report.sql(), Some(sql.clone()), "{report}");
        assert!(
            report.to_string().contains(sql.trim_end_matches(';')),
            "{report}"
        );
        if by_administrator {
            network.stack.admin_sql(&sql).await.expect("it runs");
        } else {
            // It ends by itself before anything else.
            network.open_gate().await;
        }
        assert_eq!(stopped(&run.failure().await), (1, "Ada", vec![]));
        assert_eq!(network.truth().await.outcomes(1), ["cancelled"]);
    }
}

#[tokio::test]
async fn a_cancellation_over_a_network_that_fails_is_exact() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&[GATE]));
    for fault in [
        Fault::ResetBeforeSending,
        Fault::ResetAfterRequest,
        Fault::ResetAfterAnswer,
        Fault::ResetInAnswer,
        Fault::Duplicate,
        Fault::LateDuplicate(Duration::from_millis(20)),
    ] {
        network.forget().await;
        let run = manager.apply_all_pending();
        let canceller = run.canceller();
        let run = Running::start(run);
        network.until_asleep().await;
        network
            .proxy
            .script([fault.clone(), fault.clone(), fault.clone()]);
        let report = canceller.cancel_by("Ada").await.expect("it is asked");
        assert_eq!(version_of(&report), Some(1), "{fault:?}");
        assert_eq!(
            stopped(&run.failure().await),
            (1, "Ada", vec![]),
            "{fault:?}"
        );
        network.proxy.clear();
        network.proxy.settle().await;
        assert_eq!(
            network.truth().await.outcomes(1),
            ["cancelled"],
            "{fault:?}"
        );
    }
}

/// A click too many, or a request that is delivered again, does not undo the record of the first.
#[tokio::test]
async fn several_cancellations_at_once_are_all_answered_with_the_version() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&[GATE]));
    for _ in 0..10 {
        network.forget().await;
        let run = manager.apply_all_pending();
        let canceller = run.canceller();
        let run = Running::start(run);
        network.until_asleep().await;
        let mut clicks = JoinSet::new();
        for _ in 0..6 {
            let canceller = canceller.clone();
            clicks.spawn(async move { canceller.cancel_by("Ada").await });
        }
        for report in clicks.join_all().await {
            assert_eq!(version_of(&report.expect("it is asked")), Some(1));
        }
        assert_eq!(stopped(&run.failure().await), (1, "Ada", vec![]));
        assert_eq!(network.truth().await.outcomes(1), ["cancelled"]);
    }
}

/// Whatever the moment: what the run says is what the database has.
#[tokio::test]
async fn a_run_that_is_stopped_at_any_moment_tells_the_truth() {
    let network = Network::start().await;
    let texts = ["select pg_sleep(0.02);"; 5];
    for (round, batch) in (0_u64..16).flat_map(|round| [(round, false), (round, true)]) {
        network.forget().await;
        let run = network
            .manager(&steps(&texts))
            .apply_all_pending()
            .batch(batch);
        let canceller: RunCanceller = run.canceller();
        let run = Running::start(run);
        sleep(Duration::from_millis(round * 13)).await;
        canceller.cancel_by("Ada").await.expect("it is asked");
        let applied = match run.end().await {
            Ok(report) => numbers(&report.applied),
            Err(error) => stopped(&error).2,
        };
        network.proxy.settle().await;
        let truth = network.truth().await;
        assert_eq!(truth.versions(), applied, "round {round}, batch {batch}");
    }
}
