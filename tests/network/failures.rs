//! A migration that fails says so at once, as data: nothing repeats it, and nothing of it stays.

use std::{sync::Arc, time::Duration};

use ctx0_schema::{Error, MigrationError, WaitReason};
use ctx0_stack::project::GATE;
use tokio::time::sleep;

use crate::support::{Network, Running, steps};

#[tokio::test]
async fn a_serialization_failure_ends_at_once() {
    let network = Network::start().await;
    for batch in [false, true] {
        let failure = fails_once(&network, &raises("40001"), batch).await;
        assert_eq!(failure.sqlstate, "40001");
        assert!(failure.retryable);
    }
}

#[tokio::test]
async fn a_raised_deadlock_ends_at_once() {
    let network = Network::start().await;
    for batch in [false, true] {
        let failure = fails_once(&network, &raises("40P01"), batch).await;
        assert_eq!(failure.sqlstate, "40P01");
        assert!(failure.retryable);
    }
}

#[tokio::test]
async fn a_real_deadlock_with_the_app_ends_at_once_and_spares_the_app() {
    let network = Arc::new(Network::start().await);
    network
        .sql("create table public.notes (id int); create table public.tags (id int);")
        .await;
    let manager = network.manager(&steps(&[
        "lock table public.tags; lock table public.notes;",
    ]));
    // Whose `deadlock_timeout` ends first is the one that PostgreSQL gives up.
    let app = tokio::spawn({
        let network = Arc::clone(&network);
        async move {
            let sql = "
                set deadlock_timeout = '1h';
                lock table public.notes;
                do $$
                begin
                  while not exists (select from pg_locks where relation = 'public.tags'::regclass and granted) loop
                    perform pg_sleep(0.01);
                  end loop;
                end
                $$;
                lock table public.tags;";
            network.stack.admin_sql(sql).await
        }
    });
    network
        .until(
            "exists (select from pg_locks where relation = 'public.notes'::regclass and granted)",
        )
        .await;
    let error = Running::start(manager.apply_all_pending()).failure().await;
    let Error::MigrationFailed(failure) = &error.error else {
        panic!("{error}")
    };
    assert_eq!(
        (failure.sqlstate.as_str(), failure.retryable),
        ("40P01", true)
    );
    app.await
        .expect("no panic")
        .expect("the app's transaction is committed");
    let truth = network.truth().await;
    assert_eq!(
        (truth.outcomes(1), truth.executions(1)),
        (vec!["failed"], 1)
    );
}

#[tokio::test]
async fn a_migration_that_takes_longer_than_its_statement_timeout_ends_at_once() {
    let network = Network::start().await;
    network
        .sql(
            // The first version must end within it on a busy machine.
            "alter function public.ctx0_apply_migration set statement_timeout = '5s';
             alter function public.ctx0_apply_migrations set statement_timeout = '5s'",
        )
        .await;
    network.stack.reload_schema().await.expect("it is read");
    for batch in [false, true] {
        let failure = fails_once(&network, GATE, batch).await;
        assert_eq!(failure.sqlstate, "57014");
        assert!(failure.message.contains("statement timeout"), "{failure}");
    }
}

#[tokio::test]
async fn a_cancelled_migration_ends_at_once() {
    let network = Network::start().await;
    for batch in [false, true] {
        let failure = tokio::join!(fails_once(&network, GATE, batch), async {
            let process = network.until_asleep().await;
            let cancelled = format!("select pg_cancel_backend({process})::text");
            assert_eq!(network.value(&cancelled).await, "true");
        })
        .0;
        assert_eq!(failure.sqlstate, "57014");
        assert!(failure.message.contains("user request"), "{failure}");
    }
}

#[tokio::test]
async fn a_session_that_is_terminated_again_and_again_is_given_up() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&[GATE]));
    let run = Running::start(manager.apply_all_pending());
    for _ in 0..3 {
        let process = network.until_asleep().await;
        // Long enough to be no connection that had ended before.
        sleep(Duration::from_millis(1_100)).await;
        let terminated = format!("select pg_terminate_backend({process}, 60000)::text");
        assert_eq!(network.value(&terminated).await, "true");
    }
    let Error::OutcomeUnknown { source, .. } = run.failure().await.error else {
        panic!("it ran again")
    };
    assert!(
        matches!(*source, Error::DatabaseUnavailable { .. }),
        "{source}"
    );
    network.proxy.settle().await;
    assert_eq!(network.truth().await.attempts, []);
}

#[tokio::test]
async fn a_terminated_session_leaves_nothing_and_the_same_attempt_is_made_again() {
    let network = Network::start().await;
    let manager = network.manager(&steps(&[GATE]));
    let mut run = Running::start(manager.apply_all_pending());
    let process = network.until_asleep().await;
    let terminated = format!("select pg_terminate_backend({process}, 60000)::text");
    assert_eq!(network.value(&terminated).await, "true");

    run.until_waiting_for(WaitReason::NoResponse).await;
    assert_ne!(network.until_asleep().await, process);
    assert_eq!(network.ledger().await, [0; 0]);
    network.open_gate().await;
    assert_eq!(run.success().await, (vec![1], 1));
    let truth = network.truth().await;
    assert_eq!(
        (truth.outcomes(1), truth.executions(1)),
        (vec!["applied"], 2)
    );
}

fn raises(sqlstate: &str) -> String {
    format!("do $$ begin raise exception 'not now' using errcode = '{sqlstate}'; end $$;")
}

/// The second of two migrations fails, having been recorded exactly once; and executed once, unless it
/// failed behind the first one in a request and was tried alone.
async fn fails_once(network: &Network, text: &str, batch: bool) -> MigrationError {
    network.forget().await;
    let manager = network.manager(&steps(&["", text]));
    let run = Running::start(manager.apply_all_pending().batch(batch));
    let error = run.failure().await;
    assert_eq!(crate::support::numbers(&error.applied), [1]);
    let retryable = error.error.is_retryable();
    let Error::MigrationFailed(failure) = error.error else {
        panic!("{error}")
    };
    assert_eq!(failure.retryable, retryable);
    assert_eq!((failure.version.get(), failure.statement), (2, Some(3)));

    network.proxy.settle().await;
    let truth = network.truth().await;
    assert_eq!(truth.versions(), [1]);
    let executions = if batch && failure.sqlstate != "57014" {
        2
    } else {
        1
    };
    assert_eq!(
        (truth.outcomes(2), truth.executions(2)),
        (vec!["failed"], executions)
    );
    assert_eq!(truth.attempts[1].sqlstate.as_ref(), Some(&failure.sqlstate));
    *failure
}
