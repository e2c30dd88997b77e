//! Exit codes, and JSON on standard output.

use std::collections::BTreeMap;

use ctx0_schema::install_sql;
use ctx0_stack::project::Project;
use serde_json::{Map, Value, json};

use crate::support::Cli;

const NOTES: (&str, &str) = (
    "001_notes",
    "create table public.ctx0_notes (id bigint primary key, label text);\n\
     insert into public.ctx0_notes values (1, 'one');",
);
const DROPS: (&str, &str) = (
    "002_drops",
    "alter table public.ctx0_notes drop column label;",
);
const FAILS: (&str, &str) = ("002_fails", "select 1 / 0;");

#[tokio::test]
async fn wrong_arguments_are_said_in_json_and_in_80_columns() {
    let cli = Cli::with("", "");
    for (arguments, message) in [
        (
            &["rollback", "abc"][..],
            "invalid value 'abc' for '<VERSION>': a version is a whole number, such as 2",
        ),
        (
            &["baseline", "2", "--yes"],
            "the following required arguments were not provided: --reason <TEXT>",
        ),
        (
            &["completions", "nosuch"],
            "invalid value 'nosuch' for '<SHELL>' [possible values: bash, elvish, fish, powershell, zsh]",
        ),
        (&["nosuch"], "unrecognized subcommand 'nosuch'"),
        (&["fleet"], "a command is missing: --help lists them"),
        (
            &["--color", "never"],
            "'ctx0-schema' requires a subcommand but one was not provided [subcommands: status, plan, ",
        ),
    ] {
        let text = cli.expect(2, arguments).await;
        assert_eq!(text.out, "");
        let wide = text.err.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None);

        let with_json: Vec<_> = ["--json"].iter().chain(arguments).copied().collect();
        let ended = cli.expect(2, &with_json).await;
        let error = &ended.json()["error"];
        assert_eq!(error["code"], "usage");
        let said = error["message"].as_str().unwrap();
        assert!(said.starts_with(message), "{said}");
        assert!(!ended.err.is_empty());
    }
    for flag in ["--help", "--version"] {
        let shown = cli.expect(0, &[flag, "--json"]).await;
        assert!(shown.out.starts_with(['K', 'c']), "{}", shown.out);
    }
}

#[tokio::test]
async fn each_state_of_a_database_has_its_exit_code() {
    let project = Project::empty().await;
    let cli = Cli::on(&project);

    let status = cli.expect(5, &["status", "--json"]).await.json();
    assert_eq!(status["setup"]["code"], "rpcNotInstalled");
    let status = cli.expect(5, &["status"]).await;
    let next = "`ctx0-schema install` runs that script";
    assert!(status.out.contains(next), "{}", status.out);
    let printed = cli.expect(0, &["install", "--print"]).await;
    assert_eq!(printed.out, install_sql());
    project.install().await;

    let plan = cli.expect(3, &["plan", "--json"]).await.json();
    assert_eq!(plan["pendingMigrations"].as_array().unwrap().len(), 2);
    cli.expect(3, &["status"]).await;
    cli.expect(0, &["preview"]).await;
    cli.expect(9, &["verify"]).await;

    let refused = cli.expect(7, &["apply"]).await;
    assert!(refused.says("--yes"), "{}", refused.err);
    assert!(project.ledger().await.is_empty());

    let report = cli.expect(0, &["apply", "--yes", "--json"]).await.json();
    assert_eq!(
        report,
        json!({"success": true, "applied": [1, 2], "currentVersion": 2})
    );
    cli.expect(0, &["status"]).await;
    cli.expect(0, &["plan"]).await;
    cli.expect(0, &["verify"]).await;
    let again = cli.expect(0, &["apply", "--yes", "--json"]).await.json();
    assert_eq!(again["applied"], json!([]));

    let history = cli.expect(0, &["history", "--json"]).await.json();
    assert_eq!(
        history["versions"][1]["migration_name"],
        "002_schema_versioning"
    );
    assert!(
        history["versions"][1]["applied_by"]
            .as_str()
            .unwrap()
            .starts_with("ctx0-schema ")
    );

    project
        .sql("alter table public.ctx0_sessions add column by_hand text")
        .await;
    let drifted = cli.expect(4, &["verify"]).await;
    assert!(
        drifted.out.contains("+column by_hand text"),
        "{}",
        drifted.out
    );
    project
        .sql("alter table public.ctx0_sessions drop column by_hand")
        .await;

    project
        .sql("delete from public.ctx0_schema_versions where version = 1")
        .await;
    let gap = cli.expect(6, &["apply", "--yes", "--json"]).await.json();
    assert_eq!(gap["error"]["code"], "gap");
    cli.expect(6, &["status"]).await;
}

#[tokio::test]
async fn an_older_build_says_whether_it_can_go_on() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    let folder = cli.migrations(&[NOTES, ("002_labels", "select 2;")]);
    let manifest = cli.path().join("migrations/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let declared = r#""version":2,"breaking":true,"minAppVersion":"1.4","#;
    std::fs::write(
        &manifest,
        text.replace(r#""version":2"#, declared.trim_end_matches(',')),
    )
    .unwrap();
    let plan = cli.expect(3, &["plan", folder]).await;
    assert!(plan.out.contains("from 1.4.0 on"), "{}", plan.out);
    cli.expect(0, &["apply", "--yes", folder]).await;

    cli.migrations(&[NOTES]);
    let stops = cli.expect(6, &["status", folder]).await;
    assert!(stops.out.contains("to 1.4.0 or newer"), "{}", stops.out);
    cli.expect(6, &["apply", "--yes", folder]).await;
    let app = "--app-version=1.4.2";
    let goes_on = cli.expect(0, &["status", folder, app]).await;
    assert!(
        goes_on.out.contains("newer than this build's v1"),
        "{}",
        goes_on.out
    );
    let check = cli.expect(0, &["plan", "--json", folder, app]).await.json();
    assert_eq!(check["newer"][0]["version"], 2);
    let applied = cli
        .expect(0, &["apply", "--yes", "--json", folder, app])
        .await
        .json();
    assert_eq!(
        applied,
        json!({"success": true, "applied": [], "currentVersion": 2})
    );
    cli.expect(2, &["status", "--app-version=latest"]).await;
}

#[tokio::test]
async fn a_loss_of_data_needs_a_flag_of_its_own() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    let folder = cli.migrations(&[NOTES]);
    cli.expect(0, &["apply", "--yes", folder]).await;

    let folder = cli.migrations(&[NOTES, DROPS]);
    let refused = cli.expect(7, &["apply", "--yes", "--json", folder]).await;
    assert_eq!(refused.json()["error"]["code"], "notConfirmed");
    assert!(refused.says("--allow-data-loss"), "{}", refused.err);
    assert_eq!(
        project.value("select label from public.ctx0_notes").await,
        "one"
    );

    cli.expect(0, &["apply", "--yes", "--allow-data-loss", folder])
        .await;
    assert_eq!(project.ledger().await, [1, 2]);
    let refused = cli
        .expect(1, &["rollback", "1", "--yes", "--json", folder])
        .await
        .json();
    assert_eq!(refused["error"]["code"], "notReversible");
}

#[tokio::test]
async fn a_version_that_would_fail_is_not_applied() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    let folder = cli.migrations(&[NOTES, FAILS]);

    let preview = cli.expect(1, &["preview", "--json", folder]).await.json();
    assert_eq!(preview["versions"][1]["state"]["kind"], "failed");
    let refused = cli.expect(1, &["apply", "--yes", "--json", folder]).await;
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "previewFailed");
    assert_eq!(error["failure"], preview["versions"][1]["failure"]);
    assert_eq!(error["failure"]["sqlstate"], "22012");
    assert!(refused.says("division by zero"), "{}", refused.err);
    assert!(project.ledger().await.is_empty());
}

#[tokio::test]
async fn the_shape_of_the_json_stays() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    let mut shapes = Map::new();
    for (name, code, arguments) in [
        ("plan", 3, vec!["plan"]),
        ("preview", 0, vec!["preview"]),
        ("not confirmed", 7, vec!["apply"]),
        ("apply", 0, vec!["apply", "--yes"]),
        ("status", 0, vec!["status"]),
        ("verify", 0, vec!["verify"]),
        ("history", 0, vec!["history"]),
        ("doctor", 0, vec!["doctor"]),
        (
            "repair",
            0,
            vec![
                "repair",
                "mark-not-applied",
                "2",
                "--yes",
                "--reason",
                "test",
            ],
        ),
        ("baseline", 0, vec!["baseline"]),
        ("rollback", 0, vec!["rollback", "0", "--yes"]),
        ("checksum", 0, vec!["checksum"]),
        ("lint", 1, vec!["lint"]),
        ("install", 0, vec!["install"]),
        ("install --print", 0, vec!["install", "--print"]),
        ("uninstall --print", 0, vec!["uninstall", "--print"]),
        ("completions", 0, vec!["completions", "bash"]),
        ("man", 0, vec!["man"]),
        ("new", 0, vec!["new", "tags", "--migrations", "."]),
    ] {
        let arguments: Vec<_> = arguments.into_iter().chain(["--json"]).collect();
        let json = cli.expect(code, &arguments).await.json();
        shapes.insert(name.to_owned(), shape(&json));
    }
    let shapes = serde_json::to_string_pretty(&shapes).unwrap();
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("cli_json", shapes);
    });
}

/// The keys, and the types of the values. Of a list, the first element. Sorted, because dependencies of the
/// stand-in decide whether a build keeps the order of keys.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(items) => items.iter().take(1).map(shape).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), shape(value)))
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect::<Map<_, _>>()
            .into(),
    }
}

#[tokio::test]
async fn the_key_is_in_no_output_and_on_no_command_line() {
    let project = Project::installed().await;
    let key = project.stack.service_key().to_owned();
    let cli = Cli::with(project.stack.url(), "");
    cli.expect(2, &["status"]).await;

    std::fs::write(cli.path().join("key"), format!("{key}\n")).unwrap();
    let ended = cli
        .expect(3, &["status", "--json", "--key-file", "key"])
        .await;
    assert!(!ended.out.contains(&key) && !ended.err.contains(&key));
    let refused = cli.run(&["status", "--key", "x"]).await;
    assert_eq!(refused.code, 2, "{}", refused.err);

    // A project and its key in a file, as the stand-in prints them.
    let lines = format!(
        "SUPABASE_URL={}\nSUPABASE_SERVICE_ROLE_KEY={key}\n",
        project.stack.url()
    );
    std::fs::write(cli.path().join(".env"), lines).unwrap();
    let ended = cli.run_with(&["plan"], |command| {
        command
            .env_remove("SUPABASE_URL")
            .env_remove("SUPABASE_SERVICE_ROLE_KEY");
    });
    assert_eq!(ended.await.code, 3);
}

#[tokio::test]
async fn a_schema_made_by_hand_is_recognised_and_recorded() {
    let project = Project::empty().await;
    project.sql(NOTES.1).await;
    project.install().await;
    let cli = Cli::on(&project);
    let folder = cli.migrations(&[NOTES, DROPS]);
    let status = cli.expect(3, &["status", folder]).await;
    assert!(
        status.out.contains("`ctx0-schema baseline`"),
        "{}",
        status.out
    );
    let refused = cli.expect(1, &["apply", "--yes", folder]).await;
    assert!(
        refused.says("`ctx0-schema baseline` finds its version"),
        "{}",
        refused.err
    );

    let found = cli.expect(0, &["baseline", "--json", folder]).await.json();
    assert_eq!(found["versions"][0]["likeness"]["kind"], "same");
    assert_eq!(found["versions"][1]["likeness"]["kind"], "different");
    let found = cli.expect(0, &["baseline", folder]).await;
    assert!(
        found.out.contains("ctx0-schema baseline 1"),
        "{}",
        found.out
    );

    let record = ["baseline", "1", "--reason", "by hand", folder];
    cli.expect(7, &record).await;
    cli.expect(2, &["baseline", "1", "--yes", folder]).await;
    let differs = ["baseline", "2", "--yes", "--reason", "by hand", folder];
    let refused = cli.expect(7, &differs).await;
    assert!(refused.says("+column label text"), "{}", refused.err);
    assert!(project.ledger().await.is_empty());
    let recorded = cli
        .expect(0, &[&record[..], &["--yes", "--json"]].concat())
        .await
        .json();
    assert_eq!(
        recorded,
        json!({"action": "baseline", "version": 1, "currentVersion": 1, "alreadyRecorded": false})
    );
    cli.expect(1, &[&record[..], &["--yes"]].concat()).await;
    cli.expect(0, &["verify", folder]).await;
}

#[tokio::test]
async fn the_ledger_is_repaired_after_consent() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    cli.expect(0, &["apply", "--yes"]).await;
    project
        .sql("delete from public.ctx0_schema_versions where version = 1")
        .await;
    let gap = cli.expect(6, &["plan"]).await;
    assert!(gap.out.contains("repair mark-applied"), "{}", gap.out);
    let repair = ["repair", "mark-applied", "1"];
    cli.expect(7, &repair).await;
    let yes = ["--yes", "--reason", "the row was lost"];
    let repaired = cli
        .expect(0, &[&repair[..], &yes, &["--json"]].concat())
        .await
        .json();
    assert_eq!(repaired["currentVersion"], 2);
    cli.expect(0, &["status"]).await;
    // There is nothing to repair any more.
    let refused = cli
        .expect(1, &[&repair[..], &yes, &["--json"]].concat())
        .await
        .json();
    assert_eq!(refused["error"]["code"], "cannotRepair");
    cli.expect(2, &["repair", "mend", "1"]).await;
}

#[tokio::test]
async fn the_functions_are_installed_and_removed_over_http() {
    let project = Project::empty().await;
    let cli = Cli::on(&project);
    // Without postgres-meta behind the gateway, the script has to be pasted.
    let closed = cli.expect(5, &["install", "--yes", "--json"]).await;
    assert_eq!(closed.json()["error"]["code"], "runByHand");
    assert!(closed.says("install --print"), "{}", closed.err);

    project.stack.serve_sql("postgres").await.unwrap();
    cli.expect(7, &["install"]).await;
    let installed = cli.expect(0, &["install", "--yes", "--json"]).await.json();
    assert_eq!(installed["outcome"], "installed");
    let again = cli.expect(0, &["install", "--json"]).await.json();
    assert_eq!(again["outcome"], "alreadyInstalled");
    cli.expect(0, &["apply", "--yes"]).await;

    cli.expect(7, &["uninstall"]).await;
    let removed = cli
        .expect(0, &["uninstall", "--yes", "--json"])
        .await
        .json();
    assert_eq!(removed["historyKept"], true);
    assert_eq!(project.ledger().await, [1, 2]);
    cli.expect(5, &["status"]).await;
}

#[tokio::test]
async fn the_doctor_finds_what_is_wrong() {
    let project = Project::empty().await;
    let key = project.stack.service_key();
    let cli = Cli::on(&project);
    let state = async |cli: &Cli, code, name: &str| {
        let found = cli.expect(code, &["doctor", "--json"]).await.json();
        let checks = found["checks"].as_array().unwrap().clone();
        let check = checks.into_iter().find(|check| check["name"] == name);
        check.unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(&cli, 1, "functions").await, "failed");
    project.install().await;
    assert_eq!(state(&cli, 0, "functions").await, "good");
    project.stack.serve_sql("postgres").await.unwrap();
    for name in ["sqlAccess", "maxRows", "database", "timeouts"] {
        assert_eq!(state(&cli, 0, name).await, "good", "{name}");
    }
    cli.expect(0, &["apply", "--yes"]).await;
    project
        .sql("alter table public.ctx0_sessions add column by_hand text")
        .await;
    assert_eq!(state(&cli, 0, "drift").await, "warning");
    project
        .sql("delete from public.ctx0_schema_versions where version = 1")
        .await;
    assert_eq!(state(&cli, 1, "ledger").await, "failed");

    let text = cli.run(&["doctor"]).await.out;
    assert!(
        text.contains("ctx0_sessions") && !text.contains(key),
        "{text}"
    );
    let nobody = Cli::with("http://127.0.0.1:9", "sb_secret_test");
    assert_eq!(state(&nobody, 1, "connection").await, "failed");
    let ended = nobody.expect(1, &["history"]).await;
    assert!(
        ended.says("`ctx0-schema doctor` looks for the cause"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn a_pipe_gets_no_colours_unless_it_asks() {
    let project = Project::installed().await;
    let cli = Cli::on(&project);
    let plain = cli.run(&["preview"]).await;
    assert!(
        !plain.out.contains('\x1b') && !plain.err.contains('\x1b'),
        "{}",
        plain.out
    );
    let coloured = cli.run(&["preview", "--color", "always"]).await;
    assert!(coloured.out.contains("\x1b[32m+"), "{}", coloured.out);
}

#[tokio::test]
async fn what_the_server_refuses_is_said_with_its_cause() {
    let cli = Cli::with("http://127.0.0.1:9", "sb_secret_test");
    let ended = cli.expect(1, &["history", "--json"]).await;
    let error = &ended.json()["error"];
    assert_eq!(error["code"], "unreachable");
    assert_eq!(error["retryable"], true);
    assert!(!error["causes"].as_array().unwrap().is_empty());
    assert!(ended.says("because: "), "{}", ended.err);
}
