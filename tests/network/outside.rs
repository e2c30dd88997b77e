//! Versions that run outside a transaction: exactly once, whatever the network, the server and other clients do.

mod cron;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ctx0_schema::{
    CancelReport, Error, LockMode, Migrations, Preview, Progress, Verification, WaitReason, Way,
    uninstall_sql,
};
use ctx0_stack::{
    fault::{Fault, Page},
    project::{LONGEST, version},
};
use serde_json::{Value, json};

use crate::support::{AppTransaction, Network, Running, faults_of_one_request, numbers};

const TABLE: &str =
    "create table public.notes as select i as id, i % 7 as a from generate_series(1, 1000) i;";
const INDEX: &str = "-- For the list of notes.\ncreate index concurrently notes_a on notes (a) where notes.a > 0;\n";
const NO_INDEX: &str = "drop index concurrently notes_a;";
const UNIQUE: &str = "create unique index concurrently notes_a on notes (a);";

/// What there is of the index and of the run, as one line.
const STATE: &str = r"
select concat_ws(' ',
  'versions', (select string_agg(version::text, ',' order by version) from public.ctx0_schema_versions),
  'running', (select count(*) from ctx0_private.ctx0_schema_outside),
  'indexes', (select coalesce(string_agg(concat(c.relname, case when not i.indisvalid then ' (invalid)' end), ',' order by c.relname), 'none')
                from pg_index i join pg_class c on c.oid = i.indexrelid
               where i.indrelid = to_regclass('public.notes')))";

const BEFORE: &str = "versions 1 running 0 indexes none";
const AFTER: &str = "versions 1,2 running 0 indexes notes_a";

/// Version 1 is a transaction, and version 2 this statement outside one.
fn notes(up: &str, down: &str) -> Migrations {
    notes_with(up, down, &json!(null))
}

fn notes_with(up: &str, down: &str, lock_instead: &Value) -> Migrations {
    let manifest = json!({"currentVersion": 2, "migrations": [
        {"version": 1, "name": "001_notes", "description": "Notes", "file": "001_notes.sql", "down": "001_down.sql"},
        {"version": 2, "name": "002_index", "description": "An index", "file": "002_index.sql", "down": "002_down.sql",
         "transaction": false, "lockInstead": lock_instead},
    ]})
    .to_string();
    Migrations::embedded(&[
        ("manifest.json", &manifest),
        ("001_notes.sql", TABLE),
        ("001_down.sql", "drop table public.notes;"),
        ("002_index.sql", up),
        ("002_down.sql", down),
    ])
    .expect("valid migrations")
}

/// A network in which SQL runs past PostgREST, at version 1.
async fn at_1() -> Arc<Network> {
    let network = Network::start().await;
    let served = network.stack.serve_sql("postgres").await;
    served.expect("postgres-meta starts");
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    manager.apply_migration(version(1)).await.expect("a table");
    Arc::new(network)
}

impl Network {
    async fn state(&self) -> String {
        self.value(STATE).await
    }

    /// Waits until a statement waits for the app's transaction.
    async fn until_blocked(&self) {
        self.until("exists (select from pg_stat_activity where wait_event = 'virtualxid')")
            .await;
    }

    async fn attempts(&self) -> String {
        let attempts = "select string_agg(concat(action, ' ', version, ' ', outcome), ', ' order by finished_at)
                          from ctx0_private.ctx0_schema_attempts where version > 1";
        self.value(attempts).await
    }
}

/// A transaction that an index built concurrently has to wait for.
async fn writer(network: &Arc<Network>) -> AppTransaction {
    AppTransaction::begin(network, "begin; insert into public.notes values (0, 0)").await
}

#[tokio::test]
async fn an_index_is_made_and_dropped_without_blocking_writes() {
    let network = Network::start().await;
    network.stack.serve_sql("postgres").await.unwrap();
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    // Over an empty ledger several versions go into one request, but not this one.
    let report = manager.apply_all_pending().await.unwrap();
    assert_eq!(numbers(&report.applied), [1, 2]);
    assert_eq!(network.state().await, AFTER);
    let definition = "select pg_get_indexdef('public.notes_a'::regclass)";
    assert_eq!(
        network.value(definition).await,
        "CREATE INDEX notes_a ON public.notes USING btree (a) WHERE (a > 0)"
    );
    let verification = manager.verify().await.unwrap();
    assert!(
        matches!(verification, Verification::Unchanged { .. }),
        "{verification:?}"
    );

    let report = manager.rollback_to(version(1)).await.unwrap();
    assert_eq!(numbers(&report.rolled_back), [2]);
    assert_eq!(network.state().await, BEFORE);
    assert_eq!(
        network.attempts().await,
        "apply 2 applied, rollback 2 rolled_back"
    );
    manager.apply_all_pending().await.unwrap();
    assert_eq!(network.state().await, AFTER);
}

#[tokio::test]
async fn a_statement_that_ended_in_a_deadlock_runs_again() {
    let network = at_1().await;
    let settings = "grant set on parameter deadlock_timeout to postgres; alter role postgres set deadlock_timeout = '5s'";
    network.stack.admin_sql(settings).await.unwrap();
    // PostgreSQL looks for a deadlock on behalf of the statement, which waits for this transaction, and not of this one.
    let app = "set deadlock_timeout = '1h'; begin; insert into public.notes values (0, 0);
        do $$ begin
          while not exists (select from pg_stat_activity where wait_event = 'virtualxid') loop
            perform pg_sleep(0.01), pg_stat_clear_snapshot();
          end loop;
        end $$;
        lock table public.notes in share update exclusive mode";
    let app = AppTransaction::begin(&network, app).await;
    let run = Running::start(network.manager(&notes(INDEX, NO_INDEX)).apply_all_pending());
    let locked = format!(
        "exists (select from pg_locks where pid = {} and mode = 'ShareUpdateExclusiveLock' and granted)",
        app.process
    );
    network.until(&locked).await;
    app.end().await;
    assert_eq!(run.success().await, (vec![2], 2));
    assert_eq!(network.state().await, AFTER);
    assert_eq!(network.attempts().await, "apply 2 applied");
}

#[tokio::test]
async fn a_fault_at_any_request_is_survived() {
    // The ledger, the request that begins, the statement, the request that ends.
    for at in 1..4 {
        for fault in faults_of_one_request() {
            let network = at_1().await;
            let manager = network.manager(&notes(INDEX, NO_INDEX));
            let mut script = vec![Fault::Pass; at];
            script.push(fault.clone());
            network.proxy.script(script);
            let report = manager.apply_all_pending().await;
            report.unwrap_or_else(|error| panic!("{fault} at {at}: {error}"));
            network.proxy.settle().await;
            assert_eq!(
                network.attempts().await,
                "apply 2 applied",
                "{fault} at {at}"
            );
            let state = network.state().await;
            assert!(state.starts_with("versions 1,2 running 0 "), "{state}");
            assert!(state.ends_with("notes_a"), "{fault} at {at}: {state}");
        }
    }
}

#[tokio::test]
async fn a_gateway_that_gives_up_does_not_end_the_statement() {
    let network = at_1().await;
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let app = writer(&network).await;
    network
        .proxy
        .gateway_timeout(Some(Duration::from_millis(500)));
    let mut run = Running::start(manager.apply_all_pending());
    run.until(|progress| {
        matches!(progress, Progress::Waiting { reason: WaitReason::Running, position: Some(position), .. }
            if position.version == version(2) && position.phase.as_deref() == Some("waiting for writers before build"))
    })
    .await;
    let status = manager.status().await.unwrap();
    assert!(status.locked);
    assert_eq!(status.position.unwrap().line, Some(2));
    app.end().await;
    assert_eq!(run.success().await, (vec![2], 2));
    assert_eq!(network.state().await, AFTER);
    let asked = network.proxy.records().into_iter();
    let asked = asked.filter(|record| record.path.ends_with("/pg/query"));
    assert_eq!(asked.count(), 1, "it was not run again");
}

#[tokio::test]
async fn an_index_that_a_killed_server_left_is_removed_and_made_again() {
    let network = at_1().await;
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let _app = writer(&network).await;
    let run = Running::start(manager.apply_all_pending());
    network.until_blocked().await;
    network.crash().await;
    assert!(network.state().await.contains("(invalid)"));
    network.proxy.clear();
    assert_eq!(run.success().await, (vec![2], 2));
    assert_eq!(network.state().await, AFTER);
    assert_eq!(network.attempts().await, "apply 2 applied");
}

#[tokio::test]
async fn a_second_daemon_goes_on_where_the_first_one_was_killed() {
    let network = at_1().await;
    let app = writer(&network).await;
    let first = network.config().applied_by("first");
    let first = crate::support::manager(first, &notes(INDEX, NO_INDEX));
    let first = Running::start(first.apply_all_pending());
    network.until_blocked().await;
    first.task.abort();
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let mut second = Running::start(manager.apply_all_pending());
    second.until_waiting_for(WaitReason::OtherChange).await;
    app.end().await;
    let (applied, current) = second.success().await;
    assert_eq!((applied, current), (vec![], 2));
    assert_eq!(network.state().await, AFTER);
    assert_eq!(
        network.attempts().await,
        "apply 2 applied, apply 2 already_applied"
    );
    let by = "select applied_by from public.ctx0_schema_versions where version = 2";
    assert_eq!(network.value(by).await, "first");
}

#[tokio::test]
async fn while_it_runs_nothing_else_begins_and_it_can_be_stopped() {
    let network = at_1().await;
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let app = writer(&network).await;
    let run = Running::start(manager.apply_all_pending());
    network.until_blocked().await;

    let preview = manager.preview_rollback(version(0)).budget(LONGEST).await;
    assert!(matches!(preview, Err(Error::ChangeRunning)), "{preview:?}");
    let mut other = Running::start(manager.rollback_to(version(0)));
    other.until_waiting_for(WaitReason::OtherChange).await;

    let cancelled = tokio::spawn({
        let manager = manager.clone();
        async move { manager.cancel_by("me").await }
    });
    // What it leaves can only be removed when nobody has the table.
    network
        .until("not exists (select from pg_stat_activity where query ~ '^create' and state = 'active')")
        .await;
    app.end().await;
    let report = cancelled.await.unwrap().unwrap();
    assert!(
        matches!(report, CancelReport::Cancelled { version: Some(stopped), .. } if stopped == version(2)),
        "{report:?}"
    );
    let error = run.failure().await.error;
    assert!(
        matches!(&error, Error::ChangeCancelled { by, .. } if by == "me"),
        "{error:?}"
    );
    other.success().await;
    assert_eq!(network.state().await, "versions running 0 indexes none");
    assert_eq!(network.attempts().await, "apply 2 cancelled");
}

#[tokio::test]
async fn while_it_runs_the_functions_cannot_be_removed() {
    let network = at_1().await;
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let app = writer(&network).await;
    let run = Running::start(manager.apply_all_pending());
    network.until_blocked().await;
    run.task.abort();
    let words = "version 2 is running outside a transaction, so nothing was removed";
    let by_hand = network.stack.sql(uninstall_sql()).await.unwrap_err();
    assert!(format!("{by_hand:?}").contains(words), "{by_hand:?}");
    for uninstall in [manager.uninstall(), manager.uninstall().forget_history()] {
        let error = uninstall.await.unwrap_err();
        assert!(error.to_string().contains(words), "{error:?}");
    }
    app.end().await;
    manager.apply_all_pending().await.unwrap();
    assert_eq!(network.state().await, AFTER);
    manager.uninstall().await.unwrap();
}

#[tokio::test]
async fn rows_that_an_index_refuses_fail_the_version_and_leave_no_index() {
    let network = at_1().await;
    let manager = network.manager(&notes(UNIQUE, NO_INDEX));
    let error = manager.apply_all_pending().await.unwrap_err().error;
    let Error::MigrationFailed(failure) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(failure.sqlstate, "23505");
    assert_eq!(failure.file.as_deref(), Some("002_index.sql"));
    assert_eq!(failure.line, Some(1));
    assert_eq!(network.state().await, BEFORE);

    network
        .sql("delete from public.notes n where exists (select from public.notes o where o.a = n.a and o.id < n.id)")
        .await;
    manager.apply_all_pending().await.unwrap();
    assert_eq!(network.state().await, AFTER);
    assert_eq!(network.attempts().await, "apply 2 failed, apply 2 applied");
}

#[tokio::test]
async fn a_statement_timeout_of_the_role_that_runs_it_is_named() {
    let network = at_1().await;
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let app = writer(&network).await;
    let limit = |limit: &str| format!("alter role postgres set statement_timeout = {limit}");
    network.stack.admin_sql(&limit("'2s'")).await.unwrap();
    let mut run = Running::start(manager.apply_all_pending());
    run.until_waiting_for(WaitReason::Running).await;
    network
        .until("exists (select from ctx0_private.ctx0_schema_outside where failure is not null)")
        .await;
    app.end().await;
    let error = run.failure().await.error;
    let Error::MigrationFailed(failure) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(failure.sqlstate, "57014");
    assert!(
        failure
            .hint
            .as_ref()
            .is_some_and(|hint| hint.contains("alter role postgres set statement_timeout")),
        "{failure:?}"
    );
    assert_eq!(network.state().await, BEFORE);
    network.stack.admin_sql(&limit("0")).await.unwrap();
    manager.apply_all_pending().await.unwrap();
    assert_eq!(network.state().await, AFTER);
}

#[tokio::test]
async fn what_postgresql_would_refuse_is_refused_before_anything_runs() {
    for (prepared, up, sqlstate) in [
        (
            "select 1",
            "create index concurrently notes_b on notes (b);",
            "42703",
        ),
        (
            "select 1",
            "create index concurrently notes_a on missing (a);",
            "42P01",
        ),
        ("create index notes_a on public.notes (id)", INDEX, "42P07"),
        ("select 1", "drop index concurrently notes_b;", "42704"),
        (
            "alter table public.notes add constraint notes_a unique (id)",
            "drop index concurrently notes_a;",
            "2BP01",
        ),
    ] {
        let network = at_1().await;
        network.sql(prepared).await;
        let before = network.state().await;
        let manager = network.manager(&notes(up, "select 1;"));
        let error = manager.apply_all_pending().await.unwrap_err().error;
        let Error::MigrationFailed(failure) = &error else {
            panic!("{up}: {error:?}");
        };
        assert_eq!(failure.sqlstate, sqlstate, "{up}: {failure:?}");
        assert_eq!(network.state().await, before, "{up}");
        let records = network.proxy.records();
        assert!(
            !records
                .iter()
                .any(|record| record.path.ends_with("/pg/query"))
        );
    }
}

#[tokio::test]
async fn an_invalid_index_of_somebody_else_is_never_touched() {
    let network = at_1().await;
    network.sql("insert into public.notes values (8, 1)").await;
    let failed = network
        .stack
        .sql("create unique index concurrently notes_a on public.notes (a)")
        .await;
    failed.unwrap_err();
    let before = network.state().await;
    assert_eq!(before, "versions 1 running 0 indexes notes_a (invalid)");
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let error = manager.apply_all_pending().await.unwrap_err().error;
    assert!(
        error
            .to_string()
            .contains("drop index concurrently public.notes_a"),
        "{error}"
    );
    assert_eq!(network.state().await, before);
}

#[tokio::test]
async fn an_index_that_is_there_already_is_left_where_the_statement_says_so() {
    let network = at_1().await;
    network
        .sql("create index notes_a on public.notes (a)")
        .await;
    let manager = network.manager(&notes(
        "create index concurrently if not exists notes_a on notes (a);",
        "drop index concurrently if exists notes_a;",
    ));
    manager.apply_all_pending().await.unwrap();
    assert_eq!(network.state().await, AFTER);
    network.sql("drop index public.notes_a").await;
    manager.rollback_to(version(1)).await.unwrap();
    assert_eq!(network.state().await, BEFORE);
}

#[tokio::test]
async fn a_table_is_vacuumed_and_its_indexes_are_made_anew() {
    for up in [
        "vacuum (analyze) notes;",
        "reindex index concurrently notes_pkey;",
        "reindex (concurrently) table public.notes;",
    ] {
        let network = at_1().await;
        network
            .sql("alter table public.notes add primary key (id)")
            .await;
        let is_new = "select concat((select relfilenode <> oid from pg_class where oid = 'public.notes_pkey'::regclass),
                                    pg_stat_get_last_vacuum_time('public.notes'::regclass) is not null)";
        let before = network
            .value("select 'public.notes_pkey'::regclass::oid")
            .await;
        let manager = network.manager(&notes(up, "select 1;"));
        let preview = manager.preview().budget(LONGEST).await.unwrap();
        assert!(
            preview.to_string().contains("not seen: the statement"),
            "{preview}"
        );
        let locks = &preview.versions[0].locks;
        assert_eq!(locks.len(), 1, "{preview}");
        assert_eq!(
            (&*locks[0].relation, locks[0].mode),
            ("public.notes", LockMode::ShareUpdateExclusive)
        );
        let app = writer(&network).await;
        network
            .proxy
            .gateway_timeout(Some(Duration::from_millis(500)));
        let mut run = Running::start(manager.apply_all_pending());
        if up.starts_with("reindex") {
            network.until_blocked().await;
            run.until_waiting_for(WaitReason::Running).await;
        }
        app.end().await;
        run.success().await;
        let after = network
            .value("select 'public.notes_pkey'::regclass::oid")
            .await;
        match up.starts_with("vacuum") {
            true => assert!(network.value(is_new).await.ends_with('t'), "{up}"),
            false => assert_ne!(after, before, "{up}"),
        }
        assert_eq!(
            network.state().await,
            "versions 1,2 running 0 indexes notes_pkey"
        );
        manager.rollback_to(version(1)).await.unwrap();
    }
}

const PARTS: &str = "
create table public.parts (id int, at int) partition by range (at);
create table public.parts_1 partition of public.parts for values from (0) to (10);
create table public.parts_2 partition of public.parts for values from (10) to (20);
insert into public.parts select i, i % 20 from generate_series(1, 1000) i;";
const DETACH: &str = "alter table parts detach partition parts_1 concurrently;";
const ATTACH: &str =
    "alter table public.parts attach partition public.parts_1 for values from (0) to (10);";

/// What the table has, and the rows that it shows.
const PARTITIONS: &str = "
select concat_ws(' ', (select string_agg(concat(inhrelid::regclass, case when inhdetachpending then ' (pending)' end), ',' order by inhrelid::regclass::text)
                         from pg_inherits where inhparent = 'public.parts'::regclass),
                      (select count(*) from public.parts), (select count(*) from ctx0_private.ctx0_schema_outside))";

/// A partition, and a query of the app that detaching it has to wait for.
async fn partitions() -> (Arc<Network>, AppTransaction) {
    let network = at_1().await;
    network.sql(PARTS).await;
    assert_eq!(network.value(PARTITIONS).await, "parts_1,parts_2 1000 0");
    let app = AppTransaction::begin(&network, "begin; select * from public.parts limit 1").await;
    (network, app)
}

#[tokio::test]
async fn a_partition_is_detached_and_attached_again() {
    let (network, app) = partitions().await;
    let manager = network.manager(&notes(DETACH, ATTACH));
    app.end().await;
    let preview = manager.preview().budget(LONGEST).await.unwrap();
    let version_2 = &preview.versions[0];
    assert!(
        version_2.outside.is_some() && preview.succeeds(),
        "{preview}"
    );
    let locks = version_2.locks.iter();
    let locks: Vec<_> = locks.map(|lock| (&*lock.relation, lock.mode)).collect();
    assert_eq!(
        locks,
        [
            ("public.parts", LockMode::ShareUpdateExclusive),
            ("public.parts_1", LockMode::AccessExclusive)
        ]
    );
    assert_eq!(network.value(PARTITIONS).await, "parts_1,parts_2 1000 0");

    // The gateway gives up in the middle.
    let app = AppTransaction::begin(&network, "begin; select * from public.parts limit 1").await;
    network
        .proxy
        .gateway_timeout(Some(Duration::from_millis(500)));
    let mut run = Running::start(manager.apply_all_pending());
    network.until_blocked().await;
    run.until_waiting_for(WaitReason::Running).await;
    app.end().await;
    assert_eq!(run.success().await, (vec![2], 2));
    assert_eq!(network.value(PARTITIONS).await, "parts_2 500 0");
    manager.rollback_to(version(1)).await.unwrap();
    assert_eq!(network.value(PARTITIONS).await, "parts_1,parts_2 1000 0");
}

#[tokio::test]
async fn a_partition_that_a_killed_server_left_half_detached_is_detached_to_the_end() {
    for stopped in [false, true] {
        let (network, _app) = partitions().await;
        let manager = network.manager(&notes(DETACH, ATTACH));
        let run = Running::start(manager.apply_all_pending());
        network.until_blocked().await;
        network.crash().await;
        assert_eq!(
            network.value(PARTITIONS).await,
            "parts_1 (pending),parts_2 500 1"
        );
        if stopped {
            let at_once = network.project.manager(notes(DETACH, ATTACH));
            let (report, ()) = tokio::join!(at_once.cancel(), async {
                network
                    .until("exists (select from ctx0_private.ctx0_schema_cancellations)")
                    .await;
                network.proxy.clear();
            });
            assert!(
                matches!(report, Ok(CancelReport::Finished { version: ended, .. }) if ended == version(2)),
                "{report:?}"
            );
        }
        network.proxy.clear();
        run.success().await;
        assert_eq!(network.value(PARTITIONS).await, "parts_2 500 0");
        assert_eq!(network.attempts().await, "apply 2 applied");
    }
}

#[tokio::test]
async fn a_partition_that_cannot_be_detached_is_refused_before_anything_runs() {
    for (prepared, sqlstate) in [
        ("drop table public.parts_1", "42P01"),
        (
            "alter table public.parts detach partition public.parts_1",
            "42P01",
        ),
        (
            "create table public.parts_0 partition of public.parts default",
            "55000",
        ),
    ] {
        let (network, app) = partitions().await;
        app.end().await;
        network.sql(prepared).await;
        let manager = network.manager(&notes(DETACH, ATTACH));
        let error = manager.apply_all_pending().await.unwrap_err().error;
        assert!(
            matches!(&error, Error::MigrationFailed(failure) if failure.sqlstate == sqlstate),
            "{prepared}: {error:?}"
        );
        let records = network.proxy.records();
        assert!(
            !records
                .iter()
                .any(|record| record.path.ends_with("/pg/query"))
        );
        let running = "select count(*) from ctx0_private.ctx0_schema_outside";
        assert_eq!(network.value(running).await, "0");
    }
}

#[tokio::test]
async fn what_a_killed_reindex_left_is_removed() {
    let network = at_1().await;
    network
        .sql("alter table public.notes add primary key (id)")
        .await;
    let manager = network.manager(&notes("reindex table concurrently notes;", "select 1;"));
    let _app = writer(&network).await;
    let run = Running::start(manager.apply_all_pending());
    network.until_blocked().await;
    network.crash().await;
    assert!(network.state().await.contains("notes_pkey_ccnew (invalid)"));
    network.proxy.clear();
    run.success().await;
    assert_eq!(
        network.state().await,
        "versions 1,2 running 0 indexes notes_pkey"
    );
}

#[tokio::test]
async fn a_preview_tests_the_statement_inside_a_transaction_and_says_so() {
    let network = at_1().await;
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let shown = |preview: Preview| {
        assert!(preview.succeeds(), "{preview}");
        let version = &preview.versions[0];
        let outside = version.outside.as_ref().expect("it runs outside");
        assert_eq!(outside.way, Some(Way::PostgresMeta));
        assert!(!outside.needs_consent());
        let locks = version.locks.iter();
        let locks: Vec<_> = locks.map(|lock| (&*lock.relation, lock.mode)).collect();
        assert_eq!(locks, [("public.notes", LockMode::ShareUpdateExclusive)]);
        let table = version.outside_table.as_ref().expect("a table");
        assert_eq!(table.relation, "public.notes");
        assert!(
            table.bytes > 0 && table.fastest_secs <= table.slowest_secs,
            "{table:?}"
        );
        preview.to_string()
    };
    let text = shown(manager.preview().budget(LONGEST).await.unwrap());
    assert!(text.contains("runs outside a transaction"), "{text}");
    assert!(text.contains("  works on notes ("), "{text}");
    assert!(
        text.contains("about 1 s, an estimate from its size"),
        "{text}"
    );
    assert_eq!(network.state().await, BEFORE);
    manager.apply_all_pending().await.unwrap();
    shown(
        manager
            .preview_rollback(version(1))
            .budget(LONGEST)
            .await
            .unwrap(),
    );
    assert_eq!(network.state().await, AFTER);

    let manager = network.manager(&notes(
        "create index concurrently notes_b on notes (b);",
        NO_INDEX,
    ));
    network.forget().await;
    network.sql("drop table public.notes").await;
    manager.apply_migration(version(1)).await.unwrap();
    let preview = manager.preview().budget(LONGEST).await.unwrap();
    let failure = preview.failure().expect("there is no such column");
    assert_eq!(failure.sqlstate, "42703");
    assert_eq!(failure.file.as_deref(), Some("002_index.sql"));
}

#[tokio::test]
async fn a_late_copy_of_a_statement_changes_nothing_that_has_a_version() {
    let network = at_1().await;
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let late = |at| {
        let mut script = vec![Fault::Pass; at];
        script.push(Fault::LateDuplicate(Duration::MAX));
        script
    };
    network.proxy.script(late(2));
    manager.apply_all_pending().await.unwrap();
    network.proxy.script(late(2));
    manager.rollback_to(version(1)).await.unwrap();
    manager.apply_all_pending().await.unwrap();
    // Now the copies of the first two: one makes an index, one drops it.
    network.proxy.deliver_now();
    network.proxy.settle().await;
    let valid =
        "select i.indisvalid::text from pg_index i where i.indexrelid = 'public.notes_a'::regclass";
    assert_eq!(network.value(valid).await, "true");
    assert_eq!(network.ledger().await, [1, 2]);
    // What the first copy has made is removed by the next such version.
    assert!(network.state().await.contains("ctx0_create_"));
    manager.rollback_to(version(1)).await.unwrap();
    assert_eq!(network.state().await, BEFORE);
}

#[tokio::test]
async fn where_nothing_runs_sql_the_error_says_what_to_open() {
    let network = Network::start().await;
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    let error = manager.apply_all_pending().await.unwrap_err();
    assert_eq!(numbers(&error.applied), [1]);
    assert!(
        matches!(&error.error, Error::NothingRunsSql { reason, may_lock: true, .. } if reason.contains("/pg/query responds with status 404")),
        "{:?}",
        error.error
    );
    assert_eq!(network.state().await, BEFORE);
}

#[tokio::test]
async fn with_consent_it_runs_inside_a_transaction_where_the_manifest_allows_that() {
    let network = Network::start().await;
    let manager = |lock_instead| network.manager(&notes_with(INDEX, NO_INDEX, &lock_instead));
    let limits = [json!("never"), json!({"belowMiB": 0})];
    for limit in limits {
        let error = manager(limit).apply_all_pending().may_lock(true).await;
        let error = error.unwrap_err().error;
        assert!(
            matches!(
                error,
                Error::NothingRunsSql {
                    may_lock: false,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!(network.state().await, BEFORE);
    }
    for allowed in [json!(null), json!({"belowMiB": 10})] {
        let manager = manager(allowed);
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&told);
        let run = manager.apply_all_pending().may_lock(true);
        let run = run.on_progress(move |progress| {
            if let Progress::NextWay {
                version,
                way,
                reason,
                ..
            } = progress
            {
                listener.lock().unwrap().push((version, way, reason));
            }
        });
        run.await.unwrap();
        let told = told.lock().unwrap().clone();
        assert!(
            matches!(&told[..], [(next, Way::Transaction, reason)] if *next == version(2) && reason.contains("status 404")),
            "{told:?}"
        );
        assert_eq!(network.state().await, AFTER);
        let back = manager.rollback_to(version(1)).may_lock(true);
        back.await.unwrap();
        assert_eq!(network.state().await, BEFORE);
    }
}

#[tokio::test]
async fn a_table_that_may_be_locked_is_measured_with_its_partitions() {
    let network = Network::start().await;
    let manager =
        |limit: u32| network.manager(&notes_with(DETACH, ATTACH, &json!({"belowMiB": limit})));
    manager(1).apply_migration(version(1)).await.unwrap();
    network.sql(PARTS).await;
    let two_mebibytes = "
        alter table public.parts add filler text;
        insert into public.parts select i, 1, repeat('x', 1024) from generate_series(1, 2048) i";
    network.sql(two_mebibytes).await;

    let error = manager(1).apply_all_pending().may_lock(true).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("too large to be locked"), "{error}");
    let attached = "parts_1,parts_2 3048 0";
    assert_eq!(network.value(PARTITIONS).await, attached);
    let run = manager(10).apply_all_pending().may_lock(true);
    assert_eq!(numbers(&run.await.unwrap().applied), [2]);
    assert_eq!(network.value(PARTITIONS).await, "parts_2 500 0");
}

#[tokio::test]
async fn a_gateway_that_is_down_for_a_while_is_waited_for() {
    let network = at_1().await;
    let manager = network.manager(&notes(INDEX, NO_INDEX));
    network.proxy.script([
        Fault::Pass,
        Fault::Pass,
        Fault::Status(503, Page::Text),
        Fault::Pass,
    ]);
    manager.apply_all_pending().await.unwrap();
    assert_eq!(network.state().await, AFTER);
}

#[tokio::test]
async fn a_preview_says_which_way_is_open_and_what_a_lock_would_cost() {
    let network = Network::start().await;
    let first = network.manager(&notes(INDEX, NO_INDEX));
    first.apply_migration(version(1)).await.unwrap();
    let manager = |up, lock_instead| network.manager(&notes_with(up, NO_INDEX, &lock_instead));
    let outside = |preview: &Preview| {
        preview.versions[0]
            .outside
            .clone()
            .expect("it runs outside")
    };

    let preview = manager(INDEX, json!(null))
        .preview()
        .budget(LONGEST)
        .await
        .unwrap();
    let locks = outside(&preview);
    assert_eq!(locks.way, Some(Way::Transaction));
    assert!(locks.reason.unwrap().contains("status 404"));
    assert_eq!(
        locks.waits.as_deref(),
        Some("writing to notes waits a moment")
    );
    let lock = &preview.versions[0].locks[0];
    assert_eq!(
        (&*lock.relation, lock.mode),
        ("public.notes", LockMode::Share)
    );
    assert!(
        preview
            .to_string()
            .contains("writing to notes waits a moment"),
        "{preview}"
    );

    // Neither where the manifest forbids it, nor where there is no such statement inside a transaction.
    for (up, lock_instead) in [(INDEX, json!("never")), ("vacuum notes;", json!(null))] {
        let preview = manager(up, lock_instead)
            .preview()
            .budget(LONGEST)
            .await
            .unwrap();
        let closed = outside(&preview);
        assert_eq!((closed.way, closed.waits), (None, None), "{up}");
        assert!(closed.reason.unwrap().contains("status 404"));
        assert!(preview.to_string().contains("! can't run"), "{preview}");
    }

    manager(INDEX, json!(null))
        .apply_all_pending()
        .may_lock(true)
        .await
        .unwrap();
    let preview = manager(INDEX, json!(null))
        .preview_rollback(version(1))
        .budget(LONGEST)
        .await
        .unwrap();
    assert_eq!(
        outside(&preview).waits.as_deref(),
        Some("reading and writing notes waits a moment")
    );

    // An interface that is down for the moment may be open when it is needed.
    network.stack.serve_sql("postgres").await.unwrap();
    network
        .proxy
        .script([Fault::Pass, Fault::Pass, Fault::Status(503, Page::Text)]);
    let preview = manager(INDEX, json!(null))
        .preview_rollback(version(1))
        .budget(LONGEST)
        .await
        .unwrap();
    assert_eq!(outside(&preview).way, Some(Way::PostgresMeta));
}
