//! `install_sql()` and `uninstall_sql()`.

use std::{future::IntoFuture, sync::Arc};

use ctx0_schema::{
    Action, AttemptAction, AttemptOutcome, Error, RPC_VERSION, Verification, install_sql,
    uninstall_sql,
};
use ctx0_stack::project::{Project, migrations, version};
use tokio::task::JoinSet;

/// Two versions that take a second.
pub(crate) const SLOW: [(&str, &str); 2] = [
    (
        "001_slow",
        "create table ctx0_slow (id int); select pg_sleep(0.5);",
    ),
    (
        "002_slower",
        "alter table ctx0_slow add name text; select pg_sleep(0.5);",
    ),
];

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
                    || (select jsonb_agg(a order by attempt) from ctx0_private.ctx0_schema_attempts a)::text";
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
             create function public.ctx0_schema_status() returns text language sql as 'select null::text';
             create type public.ctx0_schema_object as (id oid);
             create function public.ctx0_helper() returns setof public.ctx0_schema_object language sql as 'select null::oid';
             comment on function public.ctx0_apply_migration(int, text) is 'ctx0: applies';
             comment on function public.ctx0_apply_migration(int) is 'ctx0: applies';
             comment on function public.ctx0_schema_status() is 'ctx0: status';
             comment on function public.ctx0_helper() is 'ctx0: helps';
             comment on type public.ctx0_schema_object is 'ctx0: an object';",
        )
        .await;
    project.install().await;
    assert_eq!(project.catalog().await, expected);
}

#[tokio::test]
async fn a_superuser_installs_for_the_owner_of_the_schema() {
    let project = Project::on_own_server().await;
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
async fn the_status_shows_the_state_of_the_database() {
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
        (last.version.get(), last.outcome, last.action),
        (
            2,
            AttemptOutcome::Applied,
            AttemptAction::Change(Action::Apply)
        )
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

#[tokio::test]
async fn a_fresh_installation_describes_as_empty() {
    let project = Project::installed().await;
    let described = "select ctx0_private.describe_schema()::text";
    assert_eq!(
        project.value(described).await,
        r#"{"format": 3, "objects": {}}"#
    );
}

/// Stands in for a release that describes the schema in other words: it keeps its own description
/// of what the last change left, and finds it unchanged or not.
const EARLIER_RELEASE: &str = r#"
drop function public.ctx0_verify_schema();
alter table ctx0_private.ctx0_schema_attempts set schema public;
drop schema ctx0_private cascade;
update public.ctx0_schema_attempts set objects = '{"in other words": []}', fingerprint = 'before'
 where objects is not null;
create function public.ctx0_verify_schema() returns jsonb language sql as $$
  select jsonb_build_object('fingerprint', FOUND, 'recorded', jsonb_build_object('fingerprint', 'before')) $$;
comment on function public.ctx0_verify_schema() is 'ctx0: verifies';
"#;

#[tokio::test]
async fn a_newer_release_over_an_older_one_is_no_drift() {
    let project = Project::installed().await;
    let manager = project.bundled();
    manager.apply_all_pending().await.unwrap();
    let attempts = project
        .value("select string_agg(attempt::text, ' ' order by finished_at) from ctx0_private.ctx0_schema_attempts")
        .await;

    project
        .sql(&EARLIER_RELEASE.replace("FOUND", "'before'"))
        .await;
    project.install().await;
    let verification = manager.verify().await.unwrap();
    assert!(
        matches!(verification, Verification::Unchanged { .. }),
        "{verification}"
    );
    let kept = project
        .value("select string_agg(attempt::text, ' ' order by finished_at) from ctx0_private.ctx0_schema_attempts")
        .await;
    assert_eq!(kept, attempts);

    // What had drifted before is not forgiven.
    project
        .sql(&EARLIER_RELEASE.replace("FOUND", "'other'"))
        .await;
    project.install().await;
    let verification = manager.verify().await.unwrap();
    assert!(
        !matches!(verification, Verification::Unchanged { .. }),
        "{verification}"
    );
}

#[tokio::test]
async fn uninstalling_and_installing_again_keeps_every_attempt() {
    let project = Project::installed().await;
    let manager = project.bundled();
    manager.apply_all_pending().await.unwrap();
    let rows = "select jsonb_agg(a order by attempt)::text from SCHEMA.ctx0_schema_attempts a";
    let before = project.value(&rows.replace("SCHEMA", "ctx0_private")).await;
    project.sql(uninstall_sql()).await;
    assert_eq!(
        project.value(&rows.replace("SCHEMA", "public")).await,
        before
    );
    project.install().await;
    assert_eq!(
        project.value(&rows.replace("SCHEMA", "ctx0_private")).await,
        before
    );
    let verification = manager.verify().await.unwrap();
    assert!(
        matches!(verification, Verification::Unchanged { .. }),
        "{verification}"
    );
}

/// The functions that a client calls, as the source of this crate names them, are all that is
/// installed in `public`.
#[tokio::test]
async fn public_has_the_ledger_and_the_functions_that_a_client_calls() {
    let project = Project::installed().await;
    let installed = project
        .sql(
            r"select proname::text from pg_proc where pronamespace = 'public'::regnamespace and proname like 'ctx0\_%'
              union select relname::text from pg_class where relnamespace = 'public'::regnamespace
                 and relname like 'ctx0\_%' and relkind not in ('i', 'S')
              order by 1",
        )
        .await;
    let installed: Vec<_> = installed.into_iter().flatten().flatten().collect();
    assert_eq!(installed, named_in_the_source());
}

/// Every `ctx0_…` that is a string in `src/`, sorted.
fn named_in_the_source() -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                names.extend(
                    text.split('"')
                        .filter(|word| {
                            word.starts_with("ctx0_")
                                && word
                                    .bytes()
                                    .all(|b| b.is_ascii_lowercase() || b"_0".contains(&b))
                        })
                        .map(str::to_owned),
                );
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

/// In any order, by the owner and by a superuser, while versions are applied.
#[tokio::test]
async fn twenty_installations_at_once_all_succeed_while_versions_are_applied() {
    let project = Arc::new(Project::installed_on_own_server().await);
    let expected = project.catalog().await;
    let manager = project.manager(migrations(&SLOW));
    let run = tokio::spawn(manager.apply_all_pending().into_future());
    let mut installing = JoinSet::new();
    for number in 0..20 {
        let project = Arc::clone(&project);
        installing.spawn(async move {
            match number % 2 {
                0 => project.stack.sql(install_sql()).await,
                _ => project.stack.admin_sql(install_sql()).await,
            }
        });
    }
    let installed = installing.join_all().await;
    let failed: Vec<_> = installed.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(run.await.unwrap().unwrap().current_version, version(2));
    project.sql("drop table public.ctx0_slow").await;
    assert_eq!(project.catalog().await, expected);
}

#[tokio::test]
async fn a_script_that_is_not_one_transaction_is_refused_before_it_changes_anything() {
    let project = Project::installed().await;
    let before = project.catalog().await;
    for script in [install_sql(), uninstall_sql()] {
        // As psql does without -1.
        let apart = script.replacen("end\n$$;\n", "end\n$$;\ncommit;\n", 1);
        let refused = project.stack.sql(&apart).await.unwrap_err();
        assert_eq!(refused.sqlstate().as_deref(), Some("25000"), "{refused:?}");
    }
    assert_eq!(project.catalog().await, before);
}

#[tokio::test]
async fn a_script_leaves_the_functions_of_a_newer_release_alone() {
    let project = Project::installed().await;
    project
        .sql(
            "create or replace function ctx0_private.answer(p_fields jsonb) returns ctx0_private.answer
             language sql immutable set search_path = pg_catalog, pg_temp
             as $$ select p_fields || jsonb_build_object('rpc_version', 9999) $$;",
        )
        .await;
    let before = project.catalog().await;
    let refused = project.stack.sql(install_sql()).await.unwrap_err();
    assert_eq!(refused.sqlstate().as_deref(), Some("55000"), "{refused:?}");
    assert_eq!(project.catalog().await, before);
    project.sql(uninstall_sql()).await;
    project.install().await;
    assert_eq!(
        project.bundled().status().await.unwrap().rpc_version,
        RPC_VERSION
    );
}

/// A check finds it before an update is offered.
#[tokio::test]
async fn functions_that_are_missing_older_or_not_executable_need_the_setup() {
    let project = Project::on_own_server().await;
    let manager = project.bundled();
    let needed = async || {
        let setup = manager.setup_needed().await.unwrap();
        setup.map(|setup| setup.code)
    };
    assert_eq!(needed().await, Some("rpcNotInstalled"));
    project.install().await;
    assert_eq!(needed().await, None);
    project
        .sql(
            "create or replace function ctx0_private.answer(p_fields jsonb)
             returns ctx0_private.answer language sql immutable set search_path = pg_catalog, pg_temp
             as $$ select p_fields || jsonb_build_object('rpc_version', 2) $$;",
        )
        .await;
    assert_eq!(needed().await, Some("rpcOutdated"));
    project.install().await;
    assert_eq!(needed().await, None);
    project
        .sql("revoke execute on all functions in schema public from service_role")
        .await;
    project.stack.reload_schema().await.unwrap();
    assert_eq!(needed().await, Some("permissionDenied"));
    project.install().await;
    assert_eq!(needed().await, None);
}
