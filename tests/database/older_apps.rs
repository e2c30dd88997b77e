//! Apps of several releases on one database: which of them go on after one has updated the schema.

use ctx0_schema::{Error, LedgerError, Migrations, SchemaVersionManager};
use ctx0_stack::project::{LONGEST, Project, version};
use serde_json::{Value, json, to_value};

/// Versions that say this about older apps, after two that every app has.
fn migrations(newer: &[Value]) -> Migrations {
    let declared = [&[json!({}), json!({})][..], newer].concat();
    let entries: Vec<_> = (1..)
        .zip(&declared)
        .map(|(version, declared)| {
            let mut entry = json!({
                "version": version, "name": format!("{version:03}_step"), "description": format!("Step {version}"),
                "file": format!("{version:03}_step.sql"),
            });
            let declared = declared.as_object().expect("an object").clone();
            entry.as_object_mut().expect("an object").extend(declared);
            entry
        })
        .collect();
    let manifest = json!({"currentVersion": entries.len(), "migrations": entries}).to_string();
    let files: Vec<_> = (1..=entries.len())
        .map(|version| {
            let table = format!("create table public.ctx0_step_{version} (id bigint primary key);");
            (format!("{version:03}_step.sql"), table)
        })
        .collect();
    let mut all = vec![("manifest.json", manifest.as_str())];
    all.extend(
        files
            .iter()
            .map(|(name, sql)| (name.as_str(), sql.as_str())),
    );
    Migrations::embedded(&all).expect("valid migrations")
}

/// An app that knows the first two versions.
fn older(project: &Project, app: Option<&str>) -> SchemaVersionManager {
    let config = match app {
        Some(app) => project.config().app_version(app),
        None => project.config(),
    };
    SchemaVersionManager::new(&config.build().expect("a configuration"), migrations(&[]))
        .expect("a manager")
}

/// Another app brings the database from what the older one knows to these versions.
async fn updated_to(newer: &[Value]) -> Project {
    let project = Project::installed().await;
    older(&project, None).apply_all_pending().await.unwrap();
    project
        .manager(migrations(newer))
        .apply_all_pending()
        .await
        .unwrap();
    project
}

/// The app goes on: nothing is wrong, nothing is to be applied, and nothing can be.
async fn goes_on(project: &Project, app: Option<&str>) -> Vec<Value> {
    let before = project.ledger().await;
    let manager = older(project, app);
    let check = manager.check_for_updates().await.unwrap();
    assert!(
        check.is_up_to_date() && check.problem.is_none(),
        "{check:?}"
    );
    assert!(
        manager
            .preview()
            .budget(LONGEST)
            .await
            .unwrap()
            .versions
            .is_empty()
    );
    let report = manager.apply_all_pending().await.unwrap();
    assert_eq!(report.applied, []);
    assert_eq!(Some(report.current_version.get()), before.last().copied());
    assert_eq!(
        manager.apply_migration(version(2)).await.unwrap().applied,
        []
    );
    assert!(manager.diagnose().await.works());
    assert_eq!(project.ledger().await, before);
    to_value(&check).unwrap()["newer"]
        .as_array()
        .expect("newer versions")
        .clone()
}

/// The app stops. Returns the app that it says is needed.
async fn stops(project: &Project, app: Option<&str>) -> Option<String> {
    let before = project.ledger().await;
    let manager = older(project, app);
    let check = manager.check_for_updates().await.unwrap();
    assert!(
        !check.is_up_to_date() && check.newer.is_empty(),
        "{check:?}"
    );
    for error in [
        manager.apply_all_pending().await.unwrap_err().error,
        manager.preview().budget(LONGEST).await.unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::Ledger(LedgerError::DatabaseAhead { .. })),
            "{error}"
        );
        assert_eq!(
            Some(error.to_string()),
            check.problem.as_ref().map(ToString::to_string)
        );
    }
    assert_eq!(project.ledger().await, before);
    match check.problem {
        Some(LedgerError::DatabaseAhead { app_needed, .. }) => {
            app_needed.map(|app| app.to_string())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn compatible_versions_let_every_older_app_go_on() {
    let compatible = json!({"breaking": false});
    let project = updated_to(&[compatible.clone(), compatible]).await;
    for app in [None, Some("1.0.0")] {
        assert_eq!(
            goes_on(&project, app).await,
            [3, 4].map(|version| json!({
                "version": version, "migration_name": format!("{version:03}_step"),
                "description": format!("Step {version}"), "breaking": false,
            }))
        );
    }
}

#[tokio::test]
async fn a_breaking_version_stops_older_apps_and_names_the_one_that_is_needed() {
    let project = updated_to(&[
        json!({"breaking": false}),
        json!({"breaking": true, "minAppVersion": "1.4"}),
    ])
    .await;
    for app in [None, Some("1.3.9"), Some("1.4.0-beta.1")] {
        assert_eq!(
            stops(&project, app).await.as_deref(),
            Some("1.4.0"),
            "{app:?}"
        );
    }
    for app in ["1.4.0", "1.10"] {
        assert_eq!(goes_on(&project, Some(app)).await.len(), 2, "{app}");
    }
    // Rolling it back lets them go on.
    older(&project, Some("1.3.9"))
        .rollback_to(version(3))
        .await
        .unwrap_err();
    project
        .sql("delete from public.ctx0_schema_versions where version = 4")
        .await;
    assert_eq!(goes_on(&project, Some("1.3.9")).await.len(), 1);
}

#[tokio::test]
async fn a_version_that_says_nothing_stops_older_apps() {
    let project = updated_to(&[json!({}), json!({"breaking": false})]).await;
    for app in [None, Some("99.0.0")] {
        assert_eq!(stops(&project, app).await, None);
    }
}

#[tokio::test]
async fn versions_applied_in_one_request_are_declared_like_single_ones() {
    let declared = [
        json!({"breaking": false}),
        json!({"breaking": true, "minAppVersion": "2.0.0"}),
        json!({}),
    ];
    let said = |project: &Project| {
        let manager = project.manager(migrations(&declared));
        async move {
            let rows = manager.history().await.unwrap();
            rows.into_iter()
                .map(|row| (row.breaking, row.min_app_version))
                .collect::<Vec<_>>()
        }
    };
    let mut ledgers = Vec::new();
    for several in [true, false] {
        let project = Project::installed().await;
        project
            .manager(migrations(&declared))
            .apply_all_pending()
            .batch(several)
            .await
            .unwrap();
        ledgers.push(said(&project).await);
    }
    let expected = [
        (None, None),
        (None, None),
        (Some(false), None),
        (Some(true), Some("2.0.0".to_owned())),
        (None, None),
    ];
    assert_eq!(ledgers, [expected.to_vec(), expected.to_vec()]);
}

#[tokio::test]
async fn a_ledger_of_the_specification_says_nothing_about_older_apps() {
    let project = Project::empty().await;
    project
        .sql(
            "create table public.ctx0_schema_versions (id serial primary key, version int not null unique, \
             migration_name text not null, description text, applied_at timestamptz default now(), \
             applied_by text default 'bot0-daemon');
             grant all on public.ctx0_schema_versions to service_role;
             insert into public.ctx0_schema_versions (version, migration_name) values (1, '001_step'), (2, '002_step')",
        )
        .await;
    project.stack.reload_schema().await.unwrap();
    assert!(
        older(&project, None)
            .check_for_updates()
            .await
            .unwrap()
            .is_up_to_date()
    );
    project
        .sql("insert into public.ctx0_schema_versions (version, migration_name) values (3, '003_step')")
        .await;
    let check = older(&project, Some("1.0"))
        .check_for_updates()
        .await
        .unwrap();
    assert!(
        matches!(
            check.problem,
            Some(LedgerError::DatabaseAhead {
                app_needed: None,
                ..
            })
        ),
        "{check:?}"
    );

    // The installation adds the columns, and what was there stays unknown.
    project.install().await;
    assert_eq!(stops(&project, Some("1.0")).await, None);
    let next = migrations(&[
        json!({}),
        json!({"breaking": false, "minAppVersion": "1.1"}),
    ]);
    project.manager(next).apply_all_pending().await.unwrap();
    let row = "select breaking::text || ' ' || min_app_version from public.ctx0_schema_versions where version = 4";
    assert_eq!(project.value(row).await, "false 1.1.0");
    assert_eq!(stops(&project, Some("1.0")).await, None);
}

#[tokio::test]
async fn an_older_app_can_roll_back_to_what_it_knows() {
    let project = Project::installed().await;
    let with_down = Migrations::embedded(&[
        (
            "manifest.json",
            r#"{"currentVersion": 1, "migrations": [{"version": 1, "name": "001_a", "description": "A", "file": "001_a.sql",
                "down": "001_a.down.sql", "breaking": false}]}"#,
        ),
        ("001_a.sql", "create table public.ctx0_a (id int);"),
        ("001_a.down.sql", "drop table public.ctx0_a;"),
    ])
    .unwrap();
    project
        .manager(with_down)
        .apply_all_pending()
        .await
        .unwrap();
    let nothing = Migrations::embedded(&[(
        "manifest.json",
        r#"{"currentVersion": 0, "migrations": []}"#,
    )])
    .unwrap();
    let older = project.manager(nothing);
    assert_eq!(older.check_for_updates().await.unwrap().newer.len(), 1);
    older.rollback_to(version(0)).await.unwrap();
    assert!(older.check_for_updates().await.unwrap().newer.is_empty());
}
