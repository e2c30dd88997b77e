//! Many managers at once, and an app that holds what a migration needs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ctx0_schema::{Error, WaitReason};

use crate::support::{AppTransaction, Network, Running, manager, steps};

#[tokio::test]
async fn fifty_managers_at_once_apply_each_version_once() {
    const MANAGERS: usize = 50;
    let network = Network::start().await;
    let migrations = steps(&[""; 5]);
    let began = Instant::now();
    let runs: Vec<_> = (0..MANAGERS)
        .map(|number| {
            // Each with connections of its own, as in processes of their own.
            let config = network.config().applied_by(number.to_string());
            Running::start(manager(config, &migrations).apply_all_pending())
        })
        .collect();
    let mut applied: Vec<u32> = Vec::new();
    let mut by_each = Vec::new();
    for run in runs {
        let (versions, current) = run.success().await;
        assert_eq!(current, 5);
        applied.extend(&versions);
        by_each.push(versions);
    }
    let took = began.elapsed();
    applied.sort_unstable();
    assert_eq!(applied, [1, 2, 3, 4, 5]);

    network.proxy.settle().await;
    let truth = network.truth().await;
    for (number, versions) in by_each.iter().enumerate() {
        assert_eq!(truth.versions_by(&number.to_string()), *versions);
    }
    for version in 1..=5 {
        assert_eq!(truth.executions(version), 1);
        let outcomes = truth.outcomes(version);
        assert!(
            outcomes[1..]
                .iter()
                .all(|outcome| *outcome == "already_applied")
        );
    }
    let asked = network.proxy.records().len();
    println!("{MANAGERS} managers, 5 versions: {took:.1?}, {asked} requests");
}

#[tokio::test]
async fn a_table_that_the_app_gives_back_after_the_lock_timeout_is_waited_for() {
    let network = Arc::new(Network::start().await);
    let app = hold_notes(&network).await;
    let began = Instant::now();
    let mut run = Running::start(network.manager(&alters_notes()).apply_all_pending());
    run.until_waiting_for(WaitReason::TableInUse).await;
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(5), "{waited:?}");
    app.end().await;
    assert_eq!(run.success().await, (vec![1], 1));

    let truth = network.truth().await;
    assert_eq!(truth.outcomes(1), ["failed", "applied"]);
    assert_eq!(truth.attempts[0].sqlstate.as_deref(), Some("55P03"));
    assert_eq!(truth.executions(1), 2);
}

#[tokio::test]
async fn a_table_that_the_app_keeps_is_a_retryable_failure_that_names_the_holder() {
    let network = Arc::new(Network::start().await);
    network
        .sql("alter function public.ctx0_apply_migration set lock_timeout = '300ms'")
        .await;
    let app = hold_notes(&network).await;
    let manager = network.manager(&alters_notes());
    let error = Running::start(manager.apply_all_pending()).failure().await;
    assert!(error.error.is_retryable());
    let text = error.to_string();
    let Error::MigrationFailed(failure) = error.error else {
        panic!("{error}")
    };
    assert_eq!(failure.sqlstate, "55P03");
    let [holder] = &failure.holders[..] else {
        panic!("{failure:?}")
    };
    assert_eq!(holder.relation, "public.notes");
    assert_eq!(holder.mode, "RowExclusiveLock");
    assert_eq!(holder.pid.to_string(), app.process);
    assert_eq!(holder.user.as_deref(), Some("postgres"));
    assert_eq!(holder.application.as_deref(), Some(AppTransaction::NAME));
    assert!(holder.state.is_some() && holder.since.is_some());
    let named = format!(
        "public.notes is held by process {} (postgres, {}",
        app.process,
        AppTransaction::NAME
    );
    assert!(text.contains(&named), "{text}");

    let truth = network.truth().await;
    assert_eq!(truth.outcomes(1), ["failed"; 4]);
    assert_eq!(truth.versions(), [0; 0]);

    // Nobody has to do anything about it but wait for the app.
    app.end().await;
    let again = Running::start(manager.apply_all_pending());
    assert_eq!(again.success().await, (vec![1], 1));
}

/// The app has written to a table and has not committed yet.
async fn hold_notes(network: &Arc<Network>) -> AppTransaction {
    network.sql("create table public.notes (id int)").await;
    AppTransaction::begin(network, "insert into public.notes values (1)").await
}

fn alters_notes() -> ctx0_schema::Migrations {
    steps(&["alter table public.notes add column text text;"])
}
