//! `install_sql()` and `uninstall_sql()`.

use ctx0_schema::{Action, Error, RPC_VERSION, install_sql, uninstall_sql};

use crate::support::Project;

#[tokio::test]
async fn installing_again_changes_nothing() {
    let project = Project::installed().await;
    let once = project.catalog().await;
    project.install().await;
    assert_eq!(project.catalog().await, once);
}

#[tokio::test]
async fn installing_leaves_the_ledger_and_the_attempts_as_they_are() {
    let project = Project::installed().await;
    project.bundled().apply_all_pending().await.unwrap();
    let rows = "select (select jsonb_agg(v order by id) from public.ctx0_schema_versions v)::text
                    || (select jsonb_agg(a order by attempt) from public.ctx0_schema_attempts a)::text";
    let before = project.value(rows).await;
    project.install().await;
    assert_eq!(project.value(rows).await, before);
}

#[tokio::test]
async fn it_installs_over_a_ledger_that_was_made_from_the_specification() {
    let fresh = Project::installed().await;
    let expected = fresh.catalog().await;
    drop(fresh);

    let project = Project::empty().await;
    project
        .sql(
            "CREATE TABLE IF NOT EXISTS ctx0_schema_versions ( id SERIAL PRIMARY KEY, version INT NOT NULL UNIQUE, \
             migration_name TEXT NOT NULL, description TEXT, applied_at TIMESTAMPTZ DEFAULT NOW(), \
             applied_by TEXT DEFAULT 'bot0-daemon' );
             insert into ctx0_schema_versions (version, migration_name) values (1, '001_ctx0_schema');",
        )
        .await;
    project.install().await;
    assert_eq!(project.catalog().await, expected);
    assert_eq!(project.ledger().await, [1]);
    assert_eq!(
        project
            .bundled()
            .apply_all_pending()
            .await
            .unwrap()
            .current_version
            .get(),
        2
    );
}

#[tokio::test]
async fn it_installs_over_functions_of_an_older_release() {
    let fresh = Project::installed().await;
    let expected = fresh.catalog().await;
    drop(fresh);

    let project = Project::empty().await;
    project
        .sql(
            "create function public.ctx0_apply_migration(p_version int, p_sql text) returns text language sql as 'select null::text';
             create function public.ctx0_apply_migration(p_version int) returns void language sql as '';
             create function public.ctx0_schema_status() returns text language sql as 'select null::text';",
        )
        .await;
    project.install().await;
    assert_eq!(project.catalog().await, expected);
}

#[tokio::test]
async fn a_superuser_installs_for_the_owner_of_the_schema() {
    let project = Project::empty().await;
    project.stack.admin_sql(install_sql()).await.unwrap();
    let owners = project
        .value(
            r"select string_agg(distinct owner, ',') from (
                select proowner::regrole::text from pg_proc where proname like 'ctx0\_%'
                union all
                select relowner::regrole::text from pg_class where relname like 'ctx0\_%') o (owner)",
        )
        .await;
    assert_eq!(owners, "postgres");
    let superuser = project
        .value("select rolsuper::text from pg_roles where rolname = 'postgres'")
        .await;
    assert_eq!(superuser, "false");
    // And the owner can install over it.
    project.install().await;
}

#[tokio::test]
async fn the_status_tells_how_the_database_stands() {
    let project = Project::installed().await;
    let manager = project.bundled();
    let status = manager.status().await.unwrap();
    assert_eq!(
        (
            status.rpc_version,
            status.current_version.get(),
            status.locked
        ),
        (RPC_VERSION, 0, false)
    );
    assert_eq!((status.ledger.len(), status.last_attempt), (0, None));
    assert_eq!(status.owner, "postgres");
    assert!(
        status
            .server_version
            .split('.')
            .next()
            .unwrap()
            .parse::<u32>()
            .unwrap()
            >= 15
    );

    manager.apply_all_pending().await.unwrap();
    let status = manager.status().await.unwrap();
    assert_eq!(status.ledger, manager.history().await.unwrap());
    let last = status.last_attempt.unwrap();
    assert_eq!(
        (last.version.get(), last.outcome.as_str(), last.action),
        (2, "applied", Action::Apply)
    );
}

#[tokio::test]
async fn uninstalling_takes_the_functions_and_keeps_the_record() {
    let project = Project::installed().await;
    let manager = project.bundled();
    manager.apply_all_pending().await.unwrap();
    project.sql(uninstall_sql()).await;
    project.stack.reload_schema().await.unwrap();

    let left = project
        .value(r"select count(*) from pg_proc where proname like 'ctx0\_%'")
        .await;
    assert_eq!(left, "1", "the trigger function of migration 1 stays");
    assert_eq!(manager.current_version().await.unwrap().get(), 2);
    assert!(matches!(
        manager.status().await,
        Err(Error::RpcNotInstalled { .. })
    ));

    project.install().await;
    assert!(manager.check_for_updates().await.unwrap().is_up_to_date());
}
