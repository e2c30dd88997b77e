//! The same where pg_cron runs the statement. A job begins at the next minute, so all of these run at the same time.

use ctx0_stack::{Cron, Options, Stack, project::skip};
use tokio::{task::JoinSet, time::timeout};

use super::*;

/// Long enough for the jobs of any of these tests.
const MINUTES: Duration = Duration::from_secs(6 * 60);

const JOBS: &str = "select count(*) from cron.job";
const RUNS: &str = "select count(*) from cron.job_run_details";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_pg_cron_runs_what_nothing_else_runs() {
    if !Stack::has_cron().expect("a PostgreSQL") {
        let test = "a_job_of_pg_cron_runs_what_nothing_else_runs";
        skip(test, "pg_cron, such as Debian's postgresql-15-cron");
        return;
    }
    let mut scenarios = JoinSet::new();
    for cron in [Cron::Workers, Cron::Connections] {
        scenarios.spawn(a_job_makes_and_drops_an_index_and_is_gone_afterwards(cron));
        scenarios.spawn(what_the_statement_of_a_job_fails_with_is_told(cron));
        scenarios
            .spawn(a_job_that_a_killed_daemon_left_runs_once_and_the_next_daemon_goes_on(cron));
        scenarios
            .spawn(an_index_that_the_job_of_a_killed_server_left_is_removed_and_made_again(cron));
        scenarios.spawn(a_job_can_be_stopped_before_it_begins_and_while_it_runs(
            cron,
        ));
    }
    scenarios.spawn(where_pg_cron_cannot_connect_the_next_way_is_taken());
    scenarios.spawn(where_pg_cron_may_not_be_used_nothing_waits_for_it());
    scenarios.join_all().await;
}

/// A network in which nothing but pg_cron runs SQL, at version 1.
async fn with_cron(cron: Cron) -> Arc<Network> {
    let options = Options {
        cron: Some(cron),
        ..Options::default()
    };
    let network = Network::with(options).await;
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    manager.apply_migration(version(1)).await.expect("a table");
    Arc::new(network)
}

impl Network {
    async fn until_scheduled(&self) {
        self.until("exists (select from cron.job)").await;
    }
}

impl Running {
    /// The versions that it applied, and the one that the database has then.
    async fn success_in_minutes(self) -> (Vec<u32>, u32) {
        let ended = timeout(MINUTES, self.task).await.expect("it ends");
        let report = ended.expect("it does not panic").expect("it succeeds");
        (numbers(&report.applied), report.current_version.get())
    }
}

async fn a_job_makes_and_drops_an_index_and_is_gone_afterwards(cron: Cron) {
    let network = with_cron(cron).await;
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let mut run = Running::start(manager.apply_all_pending());
    run.until(|progress| {
        matches!(progress, Progress::Waiting { reason: WaitReason::Running, position: Some(position), .. }
            if position.phase.as_deref() == Some("waiting for pg_cron"))
    })
    .await;
    assert_eq!(run.success_in_minutes().await, (vec![2], 2));
    assert_eq!(network.state().await, AFTER);
    assert_eq!(network.value(JOBS).await, "0");
    let owner = "select relowner::regrole::text from pg_class where relname = 'notes_a'";
    assert_eq!(network.value(owner).await, "postgres");

    manager.rollback_to(version(1)).await.unwrap();
    assert_eq!(network.state().await, BEFORE);
    assert_eq!(network.value(JOBS).await, "0");
    assert_eq!(network.value(RUNS).await, "2");
}

async fn what_the_statement_of_a_job_fails_with_is_told(cron: Cron) {
    let network = with_cron(cron).await;
    let manager = network.manager(&notes(UNIQUE, NO_INDEX));
    let error = manager.apply_all_pending().await.unwrap_err().error;
    let Error::MigrationFailed(failure) = &error else {
        panic!("{error:?}");
    };
    assert!(
        failure.message.starts_with("could not create unique index"),
        "{failure:?}"
    );
    assert_eq!(failure.line, Some(1));
    assert_eq!(network.state().await, BEFORE);
    assert_eq!(network.value(JOBS).await, "0");
}

async fn a_job_that_a_killed_daemon_left_runs_once_and_the_next_daemon_goes_on(cron: Cron) {
    let network = with_cron(cron).await;
    let first = network.config().applied_by("first");
    let first = crate::support::manager(first, &notes(INDEX, NO_INDEX));
    let first = Running::start(first.apply_all_pending());
    network.until_scheduled().await;
    first.task.abort();
    let app = writer(&network).await;
    network.until_blocked().await;
    // The second one looks while it runs: then it does not begin again a quarter of an hour later.
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let second = Running::start(manager.apply_all_pending());
    network
        .until("exists (select from cron.job where schedule = '0 0 31 2 *')")
        .await;
    app.end().await;
    assert_eq!(second.success_in_minutes().await, (vec![], 2));
    assert_eq!(network.state().await, AFTER);
    assert_eq!(network.value(JOBS).await, "0");
    assert_eq!(network.value(RUNS).await, "1");
}

async fn an_index_that_the_job_of_a_killed_server_left_is_removed_and_made_again(cron: Cron) {
    let network = with_cron(cron).await;
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let _app = writer(&network).await;
    let run = Running::start(manager.apply_all_pending());
    network.until_blocked().await;
    network.crash().await;
    assert!(network.state().await.contains("(invalid)"));
    network.proxy.clear();
    assert_eq!(run.success_in_minutes().await, (vec![2], 2));
    assert_eq!(network.state().await, AFTER);
    assert_eq!(network.attempts().await, "apply 2 applied");
    assert_eq!(network.value(JOBS).await, "0");
}

async fn a_job_can_be_stopped_before_it_begins_and_while_it_runs(cron: Cron) {
    let network = with_cron(cron).await;
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let run = Running::start(manager.apply_all_pending());
    network.until_scheduled().await;
    let due = "select job_due::text from ctx0_private.ctx0_schema_outside";
    let due = network.value(due).await;
    let report = manager.cancel_by("me").await.unwrap();
    assert!(
        matches!(report, CancelReport::Cancelled { version: Some(stopped), .. } if stopped == version(2)),
        "{report:?}"
    );
    let error = run.failure().await.error;
    assert!(matches!(error, Error::ChangeCancelled { .. }), "{error:?}");
    assert_eq!(network.value(JOBS).await, "0");
    network
        .until(&format!(
            "clock_timestamp() > '{due}'::timestamptz + interval '3 s'"
        ))
        .await;
    assert_eq!(network.value(RUNS).await, "0");
    assert_eq!(network.state().await, BEFORE);

    let app = writer(&network).await;
    let run = Running::start(manager.apply_all_pending());
    network.until_blocked().await;
    let cancelled = tokio::spawn({
        let manager = manager.clone();
        async move { manager.cancel_by("me").await }
    });
    network
        .until("not exists (select from pg_stat_activity where query ~ '^create' and state = 'active')")
        .await;
    app.end().await;
    let report = cancelled.await.unwrap().unwrap();
    assert!(
        matches!(report, CancelReport::Cancelled { .. }),
        "{report:?}"
    );
    let error = timeout(MINUTES, run.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    let error = error.error;
    assert!(matches!(error, Error::ChangeCancelled { .. }), "{error:?}");
    assert_eq!(network.state().await, BEFORE);
    assert_eq!(network.value(JOBS).await, "0");
    assert_eq!(
        network.attempts().await,
        "apply 2 cancelled, apply 2 cancelled"
    );
}

async fn where_pg_cron_cannot_connect_the_next_way_is_taken() {
    let network = with_cron(Cron::Refused).await;
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let error = manager.apply_all_pending().await.unwrap_err().error;
    let Error::NothingRunsSql { reason, .. } = &error else {
        panic!("{error:?}");
    };
    for words in [
        "/pg/query responds with status 404",
        "pg_cron: connection failed",
    ] {
        assert!(reason.contains(words), "{reason}");
    }
    assert_eq!(network.state().await, BEFORE);
    assert_eq!(network.value(JOBS).await, "0");

    let ways = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&ways);
    let run = manager.apply_all_pending().may_lock(true);
    let run = run.on_progress(move |progress| {
        if let Progress::NextWay { way, reason, .. } = progress {
            told.lock().unwrap().push((way, reason));
        }
    });
    timeout(MINUTES, run.into_future()).await.unwrap().unwrap();
    let ways = ways.lock().unwrap().clone();
    assert!(
        matches!(&ways[..], [(Way::PgCron, first), (Way::Transaction, second)]
            if first.contains("status 404") && !first.contains("pg_cron")
            && second.contains("status 404") && second.contains("pg_cron: connection failed")),
        "{ways:?}"
    );
    assert_eq!(network.state().await, AFTER);
    assert_eq!(network.value(JOBS).await, "0");
}

async fn where_pg_cron_may_not_be_used_nothing_waits_for_it() {
    let network = with_cron(Cron::Workers).await;
    let revoke = "revoke execute on function cron.schedule(text, text, text) from public, postgres";
    network.stack.admin_sql(revoke).await.unwrap();
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let error = manager.apply_all_pending().await.unwrap_err().error;
    assert!(
        matches!(&error, Error::NothingRunsSql { reason, .. } if reason.contains("postgres may not use the extension pg_cron")),
        "{error:?}"
    );
    assert_eq!(network.state().await, BEFORE);
}
