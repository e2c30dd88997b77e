//! The migrations that come with the crate, on PostgreSQL 15 and on the embedded 18.

use ctx0_schema::{Migrations, Verification, install_sql};
use ctx0_stack::Stack;
use ctx0_stack::project::{LONGEST, Project, version, warnings};

fn text(version_number: u32) -> String {
    Migrations::bundled()
        .unwrap()
        .get(version(version_number))
        .unwrap()
        .sql()
        .to_owned()
}

fn down_text(version_number: u32) -> String {
    Migrations::bundled()
        .unwrap()
        .get(version(version_number))
        .unwrap()
        .down_sql()
        .unwrap()
        .to_owned()
}

/// As a person runs it in a SQL editor.
async fn by_hand(project: &Project, sql: &str) {
    project
        .sql(&format!("set search_path = public, extensions;\n{sql}"))
        .await;
}

/// Everything that is true of the bundled migrations on any PostgreSQL.
async fn hold_together(project: &Project) {
    let manager = project.bundled();
    let steps: Vec<_> = Migrations::bundled()
        .unwrap()
        .iter()
        .map(|migration| migration.version())
        .collect();
    for step in &steps {
        manager.apply_migration(*step).await.unwrap();
    }
    let step_by_step = project.catalog().await;

    // A second run of every text changes nothing.
    for step in &steps {
        by_hand(project, &text(step.get())).await;
    }
    assert_eq!(project.catalog().await, step_by_step);
    let ledger: Vec<u32> = steps.iter().map(|step| step.get()).collect();
    assert_eq!(project.ledger().await, ledger);
    assert!(manager.check_for_updates().await.unwrap().is_up_to_date());

    // Down, newest first, and up again gives the same.
    for step in steps.iter().rev() {
        by_hand(project, &down_text(step.get())).await;
    }
    assert_eq!(
        project
            .value("select to_regclass('public.ctx0_entries')::text")
            .await,
        ""
    );
    assert_eq!(project.ledger().await, Vec::<u32>::new());
    manager.apply_all_pending().await.unwrap();
    assert_eq!(project.catalog().await, step_by_step);

    // The same through the functions, seen beforehand.
    let nothing = ctx0_schema::Version::ZERO;
    let preview = manager
        .preview_rollback(nothing)
        .budget(LONGEST)
        .await
        .unwrap();
    assert!(preview.succeeds(), "{preview}");
    assert_eq!(project.catalog().await, step_by_step);
    let back = manager.rollback_to(nothing).agreed_to(preview.token).await;
    assert_eq!(back.unwrap().rolled_back.len(), steps.len());
    let preview = manager.preview().budget(LONGEST).await.unwrap();
    assert!(preview.succeeds(), "{preview}");
    assert!(warnings(&preview).is_empty(), "{preview}");
    manager
        .apply_all_pending()
        .agreed_to(preview.token)
        .await
        .unwrap();
    assert_eq!(project.catalog().await, step_by_step);
    let found = manager.verify().await.unwrap();
    assert!(matches!(found, Verification::Unchanged { .. }), "{found}");
}

#[tokio::test]
async fn they_hold_together_on_the_machines_postgresql() {
    hold_together(&Project::installed().await).await;
}

#[tokio::test]
async fn they_hold_together_on_the_embedded_postgresql() {
    let project = Project::on(Stack::embedded().await.unwrap()).await;
    project.install().await;
    hold_together(&project).await;
}

#[tokio::test]
async fn all_at_once_and_one_by_one_give_the_same_catalog() {
    let one_by_one = Project::installed().await;
    for step in [1, 2] {
        one_by_one
            .bundled()
            .apply_migration(version(step))
            .await
            .unwrap();
    }
    let expected = one_by_one.catalog().await;
    drop(one_by_one);

    let at_once = Project::installed().await;
    at_once.bundled().apply_all_pending().await.unwrap();
    assert_eq!(at_once.catalog().await, expected);
}

#[tokio::test]
async fn by_hand_and_then_installed_gives_the_same_catalog_as_through_the_function() {
    let through_function = Project::installed().await;
    through_function
        .bundled()
        .apply_all_pending()
        .await
        .unwrap();
    let expected = through_function.catalog().await;
    drop(through_function);

    let project = Project::empty().await;
    by_hand(&project, &text(1)).await;
    by_hand(&project, &text(2)).await;
    assert_eq!(project.ledger().await, [1, 2]);
    project.stack.reload_schema().await.unwrap();
    assert!(
        project
            .bundled()
            .check_for_updates()
            .await
            .unwrap()
            .is_up_to_date(),
        "without any function"
    );

    project.install().await;
    assert_eq!(project.catalog().await, expected);
    assert!(
        project
            .bundled()
            .check_for_updates()
            .await
            .unwrap()
            .is_up_to_date()
    );
}

#[tokio::test]
async fn the_first_one_made_by_hand_is_applied_over_with_its_rows_kept() {
    let project = Project::empty().await;
    by_hand(&project, &text(1)).await;
    project
        .sql(
            "insert into public.ctx0_sessions (title) values ('kept');
             insert into public.ctx0_entries (session_id, content) select id, 'kept' from public.ctx0_sessions;",
        )
        .await;
    project.sql(install_sql()).await;
    project.stack.reload_schema().await.unwrap();

    let report = project.bundled().apply_all_pending().await.unwrap();
    assert_eq!(report.applied, [version(1), version(2)]);
    assert_eq!(
        project
            .value("select count(*) from public.ctx0_entries where content = 'kept'")
            .await,
        "1"
    );
}

#[tokio::test]
async fn the_ledger_of_migration_2_has_the_columns_of_the_specification() {
    let project = Project::empty().await;
    by_hand(&project, &text(1)).await;
    by_hand(&project, &text(2)).await;
    let columns = project
        .sql(
            "select a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text, pg_get_expr(d.adbin, d.adrelid)
               from pg_attribute a
               left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
              where a.attrelid = 'public.ctx0_schema_versions'::regclass and a.attnum > 0 order by a.attnum",
        )
        .await;
    let columns: Vec<Vec<&str>> = columns
        .iter()
        .map(|row| {
            row.iter()
                .map(|cell| cell.as_deref().unwrap_or("-"))
                .collect()
        })
        .collect();
    assert_eq!(
        columns,
        [
            [
                "id",
                "integer",
                "true",
                "nextval('ctx0_schema_versions_id_seq'::regclass)"
            ],
            ["version", "integer", "true", "-"],
            ["migration_name", "text", "true", "-"],
            ["description", "text", "false", "-"],
            ["applied_at", "timestamp with time zone", "false", "now()"],
            ["applied_by", "text", "false", "'bot0-daemon'::text"],
        ]
    );
}
