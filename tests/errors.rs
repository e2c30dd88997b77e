//! The texts of errors that come out of calls: in `tests/snapshots`, beside those of every variant.
//!
//! `INSTA_UPDATE=always cargo test --all-features --test errors` writes the snapshots again, and
//! the diff shows what changed.

use std::{fmt, fmt::Write, time::Duration};

use ctx0_schema::{
    Config, ConfigError, Error, ManifestError, Migrations, RunError, SchemaVersionManager,
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

#[test]
fn a_url_is_refused_by_what_it_is() {
    let urls = [
        "",
        "not a url",
        "ftp://abc.supabase.co",
        "https://me:hush@abc.supabase.co",
        "postgresql://postgres:hush@db.abc.supabase.co/postgres",
        "https://supabase.com/dashboard/project/abcdefghijklmnopqrst",
        "https://api.supabase.com/v1/projects/abcdefghijklmnopqrst",
        "db.abcdefghijklmnopqrst.supabase.co",
        "https://https://abc.supabase.co",
        "http:/127.0.0.1:8000",
    ];
    let texts = urls.map(|url| {
        let error = Config::new(url, "sb_secret_N7UND0").unwrap_err();
        let text = error.to_string();
        assert!(!text.contains("hush"), "{text}");
        format!("{url:?}\n  {text}\n")
    });
    assert_text("url", &texts.concat());
}

#[test]
fn a_refused_key_is_not_repeated() {
    for key in [
        "sb_secret_hush\n",
        "sb_secret_hush hush",
        "sb_publishable_hush",
        "sbp_hush",
        "hush",
        "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.hush",
    ] {
        let error = Config::new("https://abc.supabase.co", key).unwrap_err();
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("hush"), "{text}");
        }
    }
}

#[test]
fn a_list_of_migrations_is_refused_by_file_and_version() {
    let none = Migrations::embedded(&[]).unwrap_err();
    let no_file = Migrations::embedded(&[("manifest.json", MANIFEST)]).unwrap_err();
    assert_text("manifest", &format!("{none}\n{no_file}\n"));
}

#[tokio::test]
async fn a_failed_migration_names_its_place_and_what_postgresql_says() {
    let mut texts = String::new();
    for response in [
        json!({
            "statement": 2, "sqlstate": "42P01", "retryable": false,
            "message": "relation \"nope\" does not exist",
        }),
        json!({
            "statement": 1, "sqlstate": "23505", "retryable": false,
            "message": "could not create unique index \"notes_key\"",
            "detail": "Key (title)=(a) is duplicated.",
            "hint": "Remove one.",
            "context": "SQL statement \"select 1\"",
        }),
        json!({
            "statement": 3, "sqlstate": "23503", "retryable": false,
            "message": "insert or update on table \"notes\" violates a foreign key",
        }),
        json!({
            "statement": 1, "sqlstate": "40P01", "retryable": true,
            "message": "deadlock detected.",
        }),
        json!({
            "statement": 1, "sqlstate": "55P03", "retryable": true,
            "message": "canceling statement due to lock timeout",
            "holders": [
                {"relation": "notes", "mode": "AccessShareLock", "pid": 4711},
                {"relation": "notes", "mode": "AccessShareLock", "pid": 4712, "user": "authenticator"},
                {
                    "relation": "tags", "mode": "RowExclusiveLock", "pid": 4713, "user": "postgres",
                    "application": "psql", "state": "idle in transaction",
                    "since": "2026-01-02T03:04:05Z",
                },
            ],
        }),
    ] {
        let retryable = response["retryable"] == true;
        let error = failed(response).await;
        let text = error.to_string();
        assert_eq!(error.error.to_string(), text);
        assert_eq!(error.error.is_retryable(), retryable, "{error}");
        assert_eq!(
            serde_json::to_value(&error).unwrap(),
            json!({"success": false, "applied": [], "error": text})
        );
        writeln!(texts, "{text}\n").unwrap();
    }
    assert_text("failed_migration", &texts);
}

/// A migration of two statements that the database answers with this failure.
async fn failed(failure: Value) -> RunError {
    let server = MockServer::start().await;
    let response = |value: Value| ResponseTemplate::new(200).set_body_json(value);
    let mut outcome = failure;
    outcome["outcome"] = json!("failed");
    outcome["rpc_version"] = json!(ctx0_schema::RPC_VERSION);
    Mock::given(method("GET"))
        .and(path("/rest/v1/ctx0_schema_versions"))
        .respond_with(response(json!([])))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/rest/v1/rpc/ctx0_apply_migration"))
        .respond_with(response(outcome))
        .mount(&server)
        .await;

    let config = Config::new(server.uri(), "sb_secret_N7UND0").unwrap();
    let migrations = Migrations::embedded(&[
        ("manifest.json", MANIFEST),
        ("001_a.sql", "select 1;\n\nselect * from nope;\n"),
    ])
    .unwrap();
    let manager = SchemaVersionManager::new(&config, migrations).unwrap();
    // A table in use is not waited for.
    manager
        .apply_all_pending()
        .deadline(Duration::ZERO)
        .await
        .unwrap_err()
}

fn assert_text(snapshot: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => "snapshots",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(snapshot, text) });
}

#[test]
fn errors_configurations_and_managers_may_go_to_any_thread() {
    fn any_thread<T: Send + Sync + 'static>() {}
    any_thread::<Error>();
    any_thread::<RunError>();
    any_thread::<ConfigError>();
    any_thread::<ManifestError>();
    any_thread::<Config>();
    any_thread::<Migrations>();
    any_thread::<SchemaVersionManager>();
}

#[test]
fn managers_configurations_and_migrations_can_be_cloned_and_shown() {
    fn clone_and_debug<T: Clone + fmt::Debug>() {}
    clone_and_debug::<SchemaVersionManager>();
    clone_and_debug::<Config>();
    clone_and_debug::<Migrations>();
}

const MANIFEST: &str = r#"{"currentVersion": 1, "migrations": [
    {"version": 1, "name": "001_a", "description": "", "file": "001_a.sql"}]}"#;
