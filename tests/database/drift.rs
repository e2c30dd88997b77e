//! Whether the schema was changed outside the migrations.

mod changes;
mod generated;
pub(crate) use restore::pg_dump_release;

mod restore;
mod settings;

use ctx0_schema::{Verification, WarningKind};
use ctx0_stack::project::{LONGEST, Project, migrations, version};

/// A bit of everything that is described.
const SCHEMA: &str = include_str!("drift/schema.sql");

/// Has this schema applied and described.
async fn record(project: &Project, schema: &str) {
    let manager = project.manager(migrations(&[("001_all", schema)]));
    manager.apply_all_pending().await.unwrap();
}

async fn verify(project: &Project) -> Verification {
    project
        .manager(migrations(&[("001_all", SCHEMA)]))
        .verify()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_schema_that_nobody_touched_is_unchanged() {
    let project = Project::installed().await;
    let manager = project.bundled();
    manager.apply_all_pending().await.unwrap();
    let unchanged = manager.verify().await.unwrap();
    assert_eq!(unchanged.to_string(), "the schema is as version 2 left it");
    // Neither rows, nor somebody else's objects, nor another installation are a change.
    project
        .sql("insert into public.ctx0_entries (content) values ('a'); create table public.other_table (id int);
              analyze public.ctx0_entries; drop table public.other_table;")
        .await;
    project.install().await;
    assert_eq!(manager.verify().await.unwrap(), unchanged);
    // A helper of another release.
    project
        .sql("create or replace function public.ctx0_catalog_writes() returns bigint language sql stable as 'select 0::bigint'")
        .await;
    assert_eq!(manager.verify().await.unwrap(), unchanged);
    manager.rollback_to(version(1)).await.unwrap();
    let back = manager.verify().await.unwrap();
    assert!(
        matches!(back, Verification::Unchanged { current_version, .. } if current_version.get() == 1),
        "{back}"
    );
}

#[tokio::test]
async fn what_was_not_recorded_or_was_recorded_by_another_release_cannot_be_compared() {
    let project = Project::installed().await;
    let found = project.bundled().verify().await.unwrap();
    assert!(matches!(&found, Verification::CannotSay { .. }), "{found}");

    record(&project, SCHEMA).await;
    // The first release recorded the objects alone.
    project
        .sql("update ctx0_private.ctx0_schema_attempts set objects = objects -> 'objects'")
        .await;
    let found = verify(&project).await;
    assert_eq!(
        found.to_string(),
        "cannot tell whether the schema was changed: version 1 was recorded by an earlier release of the installed \
         functions, which describes a schema differently; the next version that is applied can be compared again"
    );
    // Somebody rolled the version back by hand.
    project.sql("delete from public.ctx0_schema_versions").await;
    assert!(matches!(
        verify(&project).await,
        Verification::CannotSay { .. }
    ));
}

#[tokio::test]
async fn verifying_leaves_nothing_behind() {
    let project = Project::installed().await;
    record(&project, SCHEMA).await;
    // What PostgreSQL has to print again: a view, a function, a rule, and an expression.
    project.sql(changes::REWORDED).await;
    let before = project.everything().await;
    let found = verify(&project).await;
    assert!(matches!(found, Verification::Unchanged { .. }), "{found}");
    assert_eq!(project.everything().await, before);
}

#[tokio::test]
async fn no_event_trigger_and_no_function_runs() {
    // Event triggers need a superuser.
    let project = Project::installed_on_own_server().await;
    record(&project, SCHEMA).await;
    project.sql(changes::REWORDED).await;
    project
        .stack
        .admin_sql(
            "create function public.audit() returns event_trigger language plpgsql as
             $$ begin raise exception 'the event trigger ran'; end $$;
             create event trigger audit on ddl_command_start execute function public.audit();",
        )
        .await
        .unwrap();
    let found = verify(&project).await;
    assert!(
        found.to_string().ends_with(
            "could not be asked whether it means the same: the event trigger audit would run"
        ),
        "{found}"
    );
    // What differs for certain is reported all the same.
    project
        .stack
        .admin_sql(
            "alter event trigger audit disable; alter table ctx0_ref add column extra int; \
             alter event trigger audit enable;",
        )
        .await
        .unwrap();
    let found = verify(&project).await;
    let Verification::Drifted { differences, .. } = &found else {
        panic!("{found}")
    };
    assert_eq!(differences.len(), 1, "{found}");
    // A role that may switch it off does so.
    project
        .stack
        .admin_sql(
            "alter event trigger audit disable; alter table ctx0_ref drop column extra; \
             grant set on parameter session_replication_role to postgres; alter event trigger audit enable;",
        )
        .await
        .unwrap();
    let found = verify(&project).await;
    assert!(matches!(found, Verification::Unchanged { .. }), "{found}");
}

#[tokio::test]
async fn a_preview_tells_what_was_changed_by_hand() {
    let project = Project::installed().await;
    let one = ("001_notes", "create table public.ctx0_notes (id int)");
    let two = ("002_tags", "create table public.ctx0_tags (id int)");
    let first = project.manager(migrations(&[one]));
    first.apply_all_pending().await.unwrap();
    let manager = project.manager(migrations(&[one, two]));
    let drifted = async || {
        let preview = manager.preview().budget(LONGEST).await.unwrap();
        let mut warnings = preview.versions[0].warnings.clone();
        warnings.retain(|warning| warning.kind == WarningKind::Drifted);
        warnings.pop().map(|warning| warning.message)
    };
    assert_eq!(drifted().await, None);
    project
        .sql("alter table public.ctx0_notes add column mine text")
        .await;
    assert_eq!(
        drifted().await.unwrap(),
        "accepts what was changed by hand (table ctx0_notes): `verify` reports it only until then"
    );
    manager.apply_all_pending().await.unwrap();
    let found = verify(&project).await;
    assert!(matches!(found, Verification::Unchanged { .. }), "{found}");
}
