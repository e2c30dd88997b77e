//! Taking versions back, by what was stored when they were applied.

use ctx0_schema::{Action, Error, Migrations, SchemaVersionManager, WarningKind};
use ctx0_stack::project::{LONGEST, Project, followed, migrations, version, warnings};
use serde_json::{json, to_value};

const MANIFEST: &str = r#"{"currentVersion": 3, "migrations": [
    {"version": 1, "name": "001_a", "description": "A", "file": "001_a.sql", "down": "001_a.down.sql"},
    {"version": 2, "name": "002_b", "description": "B", "file": "002_b.sql", "down": "002_b.down.sql"},
    {"version": 3, "name": "003_c", "description": "C", "file": "003_c.sql", "down": "003_c.down.sql"}]}"#;

const FILES: [(&str, &str); 7] = [
    ("manifest.json", MANIFEST),
    (
        "001_a.sql",
        "create table public.ctx0_test_a (id int primary key);",
    ),
    ("001_a.down.sql", "drop table public.ctx0_test_a;"),
    (
        "002_b.sql",
        "alter table public.ctx0_test_a add column b text;\nselect 1;",
    ),
    (
        "002_b.down.sql",
        "alter table public.ctx0_test_a drop column b;",
    ),
    ("003_c.sql", "create table public.ctx0_test_c (id int);"),
    (
        "003_c.down.sql",
        "-- first\nselect 1;\n\ndrop table public.ctx0_test_c;",
    ),
];

fn three(project: &Project) -> SchemaVersionManager {
    project.manager(Migrations::embedded(&FILES).unwrap())
}

/// A build that knows the first version only, and that without a down migration.
fn older(project: &Project) -> SchemaVersionManager {
    project.manager(migrations(&[(
        "001_a",
        "create table public.ctx0_test_a (id int primary key);",
    )]))
}

#[tokio::test]
async fn each_version_is_rolled_back_newest_first_and_recorded() {
    let project = Project::installed().await;
    let manager = three(&project);
    let empty = project.catalog().await;
    manager.apply_all_pending().await.unwrap();
    let full = project.catalog().await;

    let (report, reported) = followed(manager.rollback_to(version(1))).await;
    let report = report.unwrap();
    assert_eq!(
        to_value(&report).unwrap(),
        json!({"success": true, "applied": [], "rolledBack": [3, 2]})
    );
    assert_eq!(report.current_version, version(1));
    assert_eq!(project.ledger().await, [1]);
    let reported = to_value(&reported).unwrap();
    assert_eq!(
        reported[0],
        json!({"event": "started", "action": "rollback", "version": 3, "migration_name": "003_c", "position": 1, "total": 2})
    );
    assert_eq!(
        (&reported[1]["event"], &reported[1]["version"]),
        (&json!("rolledBack"), &json!(3))
    );

    let again = manager.rollback_to(version(1)).await.unwrap();
    assert_eq!(
        (again.rolled_back.len(), again.current_version),
        (0, version(1))
    );
    manager
        .rollback_to(ctx0_schema::Version::ZERO)
        .await
        .unwrap();
    assert_eq!(project.catalog().await, empty);
    manager.apply_all_pending().await.unwrap();
    assert_eq!(project.catalog().await, full);

    let history = "select string_agg(concat_ws(' ', action, version, outcome), ', ' order by finished_at) from ctx0_private.ctx0_schema_attempts";
    assert_eq!(
        project.value(history).await,
        "apply 1 applied, apply 2 applied, apply 3 applied, rollback 3 rolled_back, rollback 2 rolled_back, \
         rollback 1 rolled_back, apply 1 applied, apply 2 applied, apply 3 applied"
    );
    let status = manager.status().await.unwrap();
    assert_eq!(status.reversible, [1, 2, 3].map(version));
}

#[tokio::test]
async fn the_bundled_versions_can_be_rolled_back_and_applied_again() {
    let project = Project::installed().await;
    let manager = project.bundled();
    manager.apply_all_pending().await.unwrap();
    let full = project.catalog().await;
    project
        .sql("insert into public.ctx0_entries (content) values ('remember this')")
        .await;

    let preview = manager
        .preview_rollback(version(1))
        .budget(LONGEST)
        .await
        .unwrap();
    assert!(warnings(&preview).is_empty(), "{preview}");
    let says = "does not bring back data that v2 changed or deleted";
    assert!(preview.to_string().contains(says), "{preview}");
    let preview = manager
        .preview_rollback(ctx0_schema::Version::ZERO)
        .budget(LONGEST)
        .await
        .unwrap();
    assert!(preview.succeeds(), "{preview}");
    assert_eq!(preview.versions[0].action, Action::Rollback);
    let lost: Vec<_> = preview
        .warnings()
        .filter(|warning| warning.kind == WarningKind::DataLost)
        .map(|warning| warning.message.as_str())
        .collect();
    let [lost] = lost[..] else {
        panic!("{preview}")
    };
    assert!(
        lost.starts_with("deletes the table ctx0_entries and its data ("),
        "{lost}"
    );
    assert!(preview.backup.is_some());
    assert_eq!(project.ledger().await, [1, 2]);

    let report = manager
        .rollback_to(ctx0_schema::Version::ZERO)
        .agreed_to(preview.token)
        .await
        .unwrap();
    assert_eq!(report.rolled_back, [2, 1].map(version));
    assert_eq!(
        project
            .value("select to_regclass('public.ctx0_entries')::text")
            .await,
        ""
    );
    manager.apply_all_pending().await.unwrap();
    assert_eq!(project.catalog().await, full);
}

#[tokio::test]
async fn an_older_build_takes_back_what_a_newer_one_applied() {
    let project = Project::installed().await;
    three(&project).apply_all_pending().await.unwrap();
    let older = older(&project);
    assert!(older.check_for_updates().await.unwrap().problem.is_some());
    let preview = older
        .preview_rollback(version(1))
        .budget(LONGEST)
        .await
        .unwrap();
    assert_eq!(preview.versions.len(), 2);
    assert_eq!(preview.versions[0].description, "C");
    let report = older.rollback_to(version(1)).await.unwrap();
    assert_eq!(report.rolled_back, [3, 2].map(version));
    assert!(older.check_for_updates().await.unwrap().is_up_to_date());
}

#[tokio::test]
async fn a_version_without_a_way_back_is_refused_before_anything_is_touched() {
    let project = Project::installed().await;
    let files = [FILES[0], FILES[1], FILES[3], FILES[5], FILES[6]];
    let manifest = MANIFEST
        .replace(r#", "down": "001_a.down.sql""#, "")
        .replace(r#", "down": "002_b.down.sql""#, "");
    let mut files = files;
    files[0] = ("manifest.json", &manifest);
    let manager = project.manager(Migrations::embedded(&files).unwrap());
    manager.apply_all_pending().await.unwrap();
    let before = project.catalog().await;
    for end in [
        manager.rollback_to(version(1)).await.unwrap_err().error,
        manager
            .preview_rollback(version(1))
            .budget(LONGEST)
            .await
            .unwrap_err(),
    ] {
        assert!(
            matches!(end, Error::NotReversible { version, .. } if version.get() == 2),
            "{end}"
        );
    }
    assert_eq!(project.catalog().await, before);
    assert_eq!(project.ledger().await, [1, 2, 3]);
    manager.rollback_to(version(2)).await.unwrap();
    assert_eq!(project.ledger().await, [1, 2]);
    let above = manager.rollback_to(version(3)).await.unwrap_err().error;
    assert!(matches!(above, Error::NotBelow { .. }), "{above}");
}

#[tokio::test]
async fn a_version_that_was_run_by_hand_is_rolled_back_by_this_builds_file() {
    let project = Project::empty().await;
    for migration in &Migrations::bundled().unwrap() {
        let sql = format!("set search_path = public, extensions;\n{}", migration.sql());
        project.sql(&sql).await;
    }
    project.install().await;
    let manager = project.bundled();
    let report = manager
        .rollback_to(ctx0_schema::Version::ZERO)
        .await
        .unwrap();
    assert_eq!(report.rolled_back, [2, 1].map(version));
    assert_eq!(project.ledger().await, [0; 0]);
}

#[tokio::test]
async fn a_failed_rollback_keeps_its_version_and_earlier_rollbacks_stand() {
    let project = Project::installed().await;
    let mut files = FILES;
    files[4] = (
        "002_b.down.sql",
        "select 1;\n\nselect * from public.ctx0_test_nothing;",
    );
    let manager = project.manager(Migrations::embedded(&files).unwrap());
    manager.apply_all_pending().await.unwrap();
    let preview = manager
        .preview_rollback(version(1))
        .budget(LONGEST)
        .await
        .unwrap();
    assert!(!preview.succeeds());

    let error = manager.rollback_to(version(1)).await.unwrap_err();
    assert_eq!(error.rolled_back, [version(3)]);
    let text = error.to_string();
    assert!(
        text.starts_with(
            "version 2 could not be rolled back and is in the database as before: 002_b.down.sql, statement 2, line 3: "
        ),
        "{text}"
    );
    assert_eq!(
        to_value(&error).unwrap(),
        json!({"success": false, "applied": [], "rolledBack": [3], "error": text})
    );
    assert_eq!(project.ledger().await, [1, 2]);
    // Another build has another text under that name, so the line would be wrong.
    let other = three(&project)
        .rollback_to(version(1))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        other.contains(": the stored down migration, statement 2: "),
        "{other}"
    );
}

#[tokio::test]
async fn a_late_copy_of_an_apply_changes_nothing_after_the_rollback() {
    let project = Project::installed().await;
    let manager = three(&project);
    manager.apply_all_pending().await.unwrap();
    let attempt = project
        .value("select attempt::text from ctx0_private.ctx0_schema_attempts where version = 3")
        .await;
    manager.rollback_to(version(2)).await.unwrap();
    let sql = FILES[5].1;
    let answer = crate::rest::Rest::of(&project)
        .call(
            "service_role",
            "ctx0_apply_migration",
            &json!({"p_version": 3, "p_name": "003_c", "p_description": "C", "p_sql": [sql],
                    "p_checksum": crate::rest::sha256(sql), "p_attempt": attempt}),
        )
        .await;
    assert_eq!(
        (&answer.body["outcome"], &answer.body["replayed"]),
        (&json!("applied"), &json!(true))
    );
    assert_eq!(project.ledger().await, [1, 2]);
}
