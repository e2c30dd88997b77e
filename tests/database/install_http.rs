//! `install()` and `uninstall()`: the real postgres-meta behind the gateway, the Management API in
//! front of it, and the functions themselves.

use std::{future::IntoFuture, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use ctx0_schema::{
    Config, Error, InstallOutcome, InstallRoute, Migrations, RPC_VERSION, SchemaVersionManager,
    SetupScript, install_sql,
};
use ctx0_stack::project::{Project, migrations, version};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::install::SLOW;

/// As a current and as an older self-hosted Supabase has it.
const ROLES: [&str; 2] = ["postgres", "supabase_admin"];

#[tokio::test]
async fn it_installs_through_postgres_meta_and_everything_belongs_to_postgres() {
    let expected = Project::installed_on_own_server().await.catalog().await;
    for role in ROLES {
        let project = serving_sql(role).await;
        let manager = project.bundled();
        assert!(manager.can_install());
        let report = manager.install().await.unwrap();
        assert_eq!(
            (report.outcome, report.release, report.route),
            (
                InstallOutcome::Installed,
                RPC_VERSION,
                Some(InstallRoute::PostgresMeta)
            )
        );
        // The owners are in it.
        assert_eq!(project.catalog().await, expected, "{role}");
        manager.apply_all_pending().await.unwrap();
        let owner = "select relowner::regrole::text from pg_class where relname = 'ctx0_entries'";
        assert_eq!(project.value(owner).await, "postgres", "{role}");
    }
}

#[tokio::test]
async fn the_new_kind_of_key_installs_as_well() {
    let project = serving_sql("postgres").await;
    let config = Config::new(project.stack.url(), ctx0_stack::SECRET_KEY).unwrap();
    let manager = SchemaVersionManager::new(&config, Migrations::bundled().unwrap()).unwrap();
    let report = manager.install().await.unwrap();
    assert_eq!(report.outcome, InstallOutcome::Installed);
}

#[tokio::test]
async fn installing_again_writes_nothing_unless_it_is_asked_for() {
    let project = serving_sql("postgres").await;
    let manager = project.bundled();
    manager.install().await.unwrap();
    let before = project.everything().await;
    let report = manager.install().await.unwrap();
    assert_eq!(
        (report.outcome, report.route),
        (InstallOutcome::AlreadyInstalled, None)
    );
    assert_eq!(project.everything().await, before);

    let catalog = project.catalog().await;
    let revoke = "revoke execute on function public.ctx0_schema_status() from service_role;
                  drop function public.ctx0_cancel_preview(uuid);";
    project.sql(revoke).await;
    let report = manager.install().again().await.unwrap();
    assert_eq!(report.outcome, InstallOutcome::Restored);
    assert_eq!(project.catalog().await, catalog);
}

/// The one that is installed says that it is of another release.
async fn becomes_release(project: &Project, release: u32) {
    let answer = format!(
        "create or replace function ctx0_private.answer(p_fields jsonb) returns ctx0_private.answer
         language sql immutable set search_path = pg_catalog, pg_temp
         as $$ select p_fields || jsonb_build_object('rpc_version', {release}) $$;"
    );
    project.sql(&answer).await;
}

#[tokio::test]
async fn an_older_release_upgrades_itself_without_another_way_in() {
    let project = Project::installed_on_own_server().await;
    let catalog = project.catalog().await;
    becomes_release(&project, RPC_VERSION - 1).await;
    project
        .sql("create function ctx0_private.of_old() returns int language sql as 'select 1'")
        .await;
    let manager = project.bundled();
    assert!(matches!(
        manager.status().await,
        Err(Error::RpcOutdated { .. })
    ));
    let report = manager.install().await.unwrap();
    assert_eq!(
        (report.outcome, report.release, report.route),
        (
            InstallOutcome::Upgraded,
            RPC_VERSION,
            Some(InstallRoute::Functions)
        )
    );
    assert_eq!(project.catalog().await, catalog);
    manager.apply_all_pending().await.unwrap();
}

#[tokio::test]
async fn a_release_that_cannot_upgrade_itself_is_upgraded_past_postgrest() {
    let project = serving_sql("postgres").await;
    project.install().await;
    becomes_release(&project, RPC_VERSION - 1).await;
    project
        .sql("drop function public.ctx0_upgrade(text, text)")
        .await;
    project.stack.reload_schema().await.unwrap();
    let report = project.bundled().install().await.unwrap();
    assert_eq!(
        (report.outcome, report.route),
        (InstallOutcome::Upgraded, Some(InstallRoute::PostgresMeta))
    );
}

#[tokio::test]
async fn a_newer_release_is_left_alone() {
    let project = serving_sql("postgres").await;
    project.install().await;
    becomes_release(&project, RPC_VERSION + 1).await;
    let before = project.everything().await;
    for install in [
        project.bundled().install(),
        project.bundled().install().again(),
    ] {
        let report = install.await.unwrap();
        assert_eq!(
            (report.outcome, report.release, report.route),
            (InstallOutcome::Newer, RPC_VERSION + 1, None)
        );
    }
    assert_eq!(project.everything().await, before);
}

#[tokio::test]
async fn an_upgrade_that_fails_says_why_and_changes_nothing() {
    let project = Project::installed_on_own_server().await;
    becomes_release(&project, RPC_VERSION - 1).await;
    project
        .sql(
            "create function public.note() returns trigger language plpgsql as 'begin return new; end';
             create trigger spy before insert on public.ctx0_schema_versions for each row execute function public.note();",
        )
        .await;
    let before = project.catalog().await;
    let error = project.bundled().install().await.unwrap_err();
    let (sqlstate, reason) = setup_failed(&error);
    assert_eq!(sqlstate, "55000");
    assert!(reason.contains("drop trigger spy"), "{reason}");
    assert_eq!(project.catalog().await, before);
}

#[tokio::test]
async fn where_no_way_is_open_the_script_and_the_editor_are_named() {
    let project = Project::on_own_server().await;
    for uninstall in [false, true] {
        let manager = project.bundled();
        let error = if uninstall {
            manager.uninstall().await.unwrap_err()
        } else {
            manager.install().await.unwrap_err()
        };
        let Error::RunByHand {
            script,
            reason,
            editor_url,
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert!(
            reason.contains("/pg/query responds with status 404"),
            "{reason}"
        );
        assert_eq!(
            editor_url.as_deref(),
            Some(format!("{}/project/default/sql/new", project.stack.url()).as_str())
        );
        assert_eq!(*script == SetupScript::Install, !uninstall);
        project.sql(script.text()).await;
        project.stack.reload_schema().await.unwrap();
    }
}

#[tokio::test]
async fn a_database_that_refuses_the_script_is_told_with_its_reason() {
    let project = serving_sql("postgres").await;
    let stranger = "create role stranger; grant create, usage on schema public to stranger; set role stranger;
                    create table public.ctx0_schema_versions (id serial primary key, version int not null unique,
                      migration_name text not null, description text, applied_at timestamptz, applied_by text);
                    reset role;";
    project.stack.admin_sql(stranger).await.unwrap();
    let hosted = hosted(
        &project,
        "sbp_the_right_one",
        Migrations::bundled().unwrap(),
    )
    .await;
    for manager in [project.bundled(), hosted] {
        let error = manager.install().await.unwrap_err();
        let (sqlstate, reason) = setup_failed(&error);
        assert_eq!(sqlstate, "55000");
        assert!(reason.contains("belongs to stranger"), "{reason}");
    }
}

#[tokio::test]
async fn a_hosted_project_installs_and_uninstalls_with_a_personal_access_token() {
    let project = serving_sql("postgres").await;
    let error = hosted(&project, "sbp_a_wrong_one", Migrations::bundled().unwrap())
        .await
        .install()
        .await;
    let error = error.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(matches!(error, Error::RunByHand { .. }), "{text}");
    assert!(
        text.contains("the Management API responds with status 401"),
        "{text}"
    );
    assert!(
        text.contains(&format!(
            "supabase.com/dashboard/project/{REFERENCE}/sql/new"
        )),
        "{text}"
    );
    assert!(!text.contains("sbp_a_wrong_one"), "{text}");

    let manager = hosted(
        &project,
        "sbp_the_right_one",
        Migrations::bundled().unwrap(),
    )
    .await;
    let report = manager.install().await.unwrap();
    assert_eq!(
        (report.outcome, report.route),
        (InstallOutcome::Installed, Some(InstallRoute::ManagementApi))
    );
    manager.apply_all_pending().await.unwrap();
    let report = manager.uninstall().await.unwrap();
    assert!(report.was_installed && report.history_kept);
    assert_eq!(project.ledger().await, [1, 2]);
}

#[tokio::test]
async fn a_hosted_project_without_a_token_is_told_which_variable_to_set() {
    let config = Config::builder("http://127.0.0.1:9", "sb_secret_test").project_ref(REFERENCE);
    let config = config.build().unwrap();
    let manager = SchemaVersionManager::new(&config, Migrations::bundled().unwrap()).unwrap();
    assert!(!manager.can_install());
    let error = manager.uninstall().await.unwrap_err().to_string();
    assert!(error.contains("SUPABASE_ACCESS_TOKEN"), "{error}");
}

#[tokio::test]
async fn uninstalling_takes_back_what_was_installed_and_keeps_the_record_unless_asked() {
    let project = serving_sql("supabase_admin").await;
    let functions = "select string_agg(oid::regprocedure::text, ' ' order by oid) from pg_proc
                      where pronamespace = 'public'::regnamespace";
    let before = project.value(functions).await;
    let manager = project.bundled();
    let report = manager.uninstall().await.unwrap();
    assert!(!report.was_installed);

    manager.install().await.unwrap();
    let report = manager.uninstall().await.unwrap();
    assert!(report.was_installed && report.history_kept);
    assert_eq!(project.value(functions).await, before);

    manager.install().await.unwrap();
    manager.apply_all_pending().await.unwrap();
    manager.uninstall().await.unwrap();
    assert_eq!(manager.current_version().await.unwrap(), version(2));
    manager.install().await.unwrap();
    let status = manager.status().await.unwrap();
    assert_eq!(status.ledger.len(), 2);
    assert_eq!(status.reversible, [version(1), version(2)]);

    let report = manager.uninstall().forget_history().await.unwrap();
    assert!(report.was_installed && !report.history_kept);
    assert_eq!(manager.current_version().await.unwrap(), version(0));
    let entries = "select (to_regclass('public.ctx0_entries') is not null)::text";
    assert_eq!(
        project.value(entries).await,
        "true",
        "the tables of ctx0 stay"
    );
}

#[tokio::test]
async fn twenty_daemons_install_at_once_while_versions_are_applied() {
    let project = serving_sql("supabase_admin").await;
    project.install().await;
    let catalog = project.catalog().await;
    let manager = project.manager(migrations(&SLOW));
    let run = tokio::spawn(manager.apply_all_pending().into_future());
    let manager = project.bundled();
    let mut installing = JoinSet::new();
    let project = Arc::new(project);
    for number in 0..20 {
        let (project, install) = (Arc::clone(&project), manager.install().again());
        installing.spawn(async move {
            if number % 4 == 0 {
                project.stack.sql(install_sql()).await.unwrap();
            } else {
                install.await.unwrap();
            }
        });
    }
    installing.join_all().await;
    assert_eq!(run.await.unwrap().unwrap().current_version, version(2));
    project.sql("drop table public.ctx0_slow").await;
    assert_eq!(project.catalog().await, catalog);
}

const REFERENCE: &str = "abcdefghijklmnopqrst";

/// A project whose gateway serves `/pg/`.
pub(crate) async fn serving_sql(role: &str) -> Project {
    let project = Project::on_own_server().await;
    project
        .stack
        .serve_sql(role)
        .await
        .expect("postgres-meta starts");
    project
}

/// A manager of this project as if it were a hosted one: with a Management API of its own, which takes
/// one token and passes SQL on to postgres-meta, as the real one does.
pub(crate) async fn hosted(
    project: &Project,
    token: &str,
    migrations: Migrations,
) -> SchemaVersionManager {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let meta = (
        format!("{}/pg/query", project.stack.url()),
        project.stack.service_key().to_owned(),
    );
    let path = format!("/v1/projects/{REFERENCE}/database/query");
    let router = Router::new().route(&path, post(query)).with_state(meta);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = project
        .config()
        .project_ref(REFERENCE)
        .access_token(token)
        .management_api(address);
    SchemaVersionManager::new(&config.build().unwrap(), migrations).unwrap()
}

async fn query(
    State((meta, key)): State<(String, String)>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    let token = headers
        .get("authorization")
        .and_then(|token| token.to_str().ok());
    if token != Some("Bearer sbp_the_right_one") || headers.contains_key("apikey") {
        return (
            StatusCode::UNAUTHORIZED,
            json!({"message": format!("Unauthorized: {token:?}")}).to_string(),
        );
    }
    let sent = reqwest::Client::new()
        .post(meta)
        .header("apikey", &key)
        .header("content-type", "application/json")
        .body(body);
    let response = sent.send().await.unwrap();
    let (status, body) = (response.status(), response.text().await.unwrap());
    let body: Value = serde_json::from_str(&body).unwrap();
    if status.is_success() {
        return (StatusCode::CREATED, body.to_string());
    }
    let error = body["error"].as_str().unwrap();
    let message = format!("Failed to run sql query: {error}");
    (
        StatusCode::BAD_REQUEST,
        json!({"message": message}).to_string(),
    )
}

/// The SQLSTATE and the reason of a script that failed.
fn setup_failed(error: &Error) -> (&str, &str) {
    match error {
        Error::SetupFailed {
            sqlstate, reason, ..
        } => (sqlstate, reason),
        _ => panic!("{error}"),
    }
}
