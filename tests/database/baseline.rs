//! A schema that was made by hand is recognised by its objects and recorded.

use ctx0_schema::{Error, Likeness, Recognition, Verification};
use ctx0_stack::project::{Project, migrations, version};

/// Three versions, each of which makes something else.
const NOTES: [(&str, &str); 3] = [
    (
        "001_notes",
        "create table public.ctx0_notes (id bigint generated always as identity primary key, label text default 'none');\n\
         create view public.ctx0_labels as select label from public.ctx0_notes where label <> '';",
    ),
    (
        "002_tags",
        "alter table public.ctx0_notes add column tags text[] not null default '{}' check (cardinality(tags) < 10);\n\
         create index on public.ctx0_notes using gin (tags);",
    ),
    (
        "003_count",
        "create function public.ctx0_count() returns bigint language sql stable as 'select count(*) from public.ctx0_notes';\n\
         create type public.ctx0_mood as enum ('good', 'bad');",
    ),
];

/// Someone has run these versions in the SQL editor.
async fn by_hand(project: &Project, files: &[(&str, &str)]) {
    for (_, sql) in files {
        project.sql(sql).await;
    }
    // The functions came later.
    project.install().await;
}

fn same(found: &Recognition) -> Vec<u32> {
    found.same().map(|version| version.get()).collect()
}

#[tokio::test]
async fn each_version_is_recognised_by_what_it_makes() {
    for count in 1..=NOTES.len() {
        let project = Project::empty().await;
        by_hand(&project, &NOTES[..count]).await;
        let manager = project.manager(migrations(&NOTES));
        let found = manager.recognise().await.unwrap();
        assert_eq!(same(&found), [u32::try_from(count).unwrap()], "{found}");
        assert!(
            found
                .objects
                .contains(&"table public.ctx0_notes".to_owned())
        );
        assert_eq!(
            manager.status().await.unwrap().unrecorded,
            found.objects,
            "the status says that there is something to record"
        );
    }
}

#[tokio::test]
async fn recognising_changes_nothing_and_locks_no_table() {
    // Event triggers and locks of another session need a real server.
    let project = Project::on_own_server().await;
    by_hand(&project, &NOTES).await;
    project
        .sql("insert into public.ctx0_notes (label) values ('one')")
        .await;
    let before = project.everything().await;
    let manager = project.manager(migrations(&NOTES));
    let found = manager.recognise().await.unwrap();
    assert_eq!(same(&found), [3], "{found}");
    assert_eq!(project.everything().await, before);

    // Someone writes to the table all the while.
    let holds = project
        .stack
        .sql("begin; lock table public.ctx0_notes in exclusive mode; select pg_sleep(60)");
    let looks = async {
        project
            .until("exists (select from pg_locks where mode = 'ExclusiveLock' and locktype = 'relation' and granted)")
            .await;
        manager.recognise().await.unwrap()
    };
    tokio::select! {
        found = looks => assert_eq!(same(&found), [3], "{found}"),
        _ = holds => panic!("it waited for the table"),
    }
}

#[tokio::test]
async fn a_schema_that_no_version_makes_is_shown_with_its_differences() {
    let project = Project::empty().await;
    by_hand(&project, &NOTES[..2]).await;
    project
        .sql("alter table public.ctx0_notes add column mine text; create table public.ctx0_mine (id int)")
        .await;
    let manager = project.manager(migrations(&NOTES));
    let found = manager.recognise().await.unwrap();
    assert_eq!(same(&found), [0; 0]);
    let likeness = found.versions.iter().map(|compared| &compared.likeness);
    let different = |objects| Likeness::Different { objects };
    assert!(
        likeness.eq([&different(2), &different(2), &different(4)]),
        "{found}"
    );
    let text = manager.recognise_as(version(2)).await.unwrap().to_string();
    assert!(
        text.contains("differences from v2 (- as it makes them, + as they are):")
            && text.contains("+column mine text")
            && text.contains("+++ table public.ctx0_mine")
            && !text.contains("-column tags"),
        "{text}"
    );

    let plan = manager.plan_baseline(&found, version(2)).unwrap();
    let refused = manager.repair(plan.clone(), "by hand").await.unwrap_err();
    assert!(
        matches!(refused, Error::NotRecognised { version, .. } if version.get() == 2),
        "{refused}"
    );
    assert!(project.ledger().await.is_empty());
    manager
        .repair(plan, "by hand")
        .accept_differences()
        .await
        .unwrap();
    assert_eq!(project.ledger().await, [1, 2]);
    // What was accepted is what later changes are compared with.
    let verified = manager.verify().await.unwrap();
    assert!(
        matches!(verified, Verification::Unchanged { .. }),
        "{verified}"
    );
}

#[tokio::test]
async fn a_baseline_is_a_ledger_like_any_other() {
    let project = Project::empty().await;
    let bundled = include_str!("../../migrations/001_ctx0_schema.sql");
    by_hand(&project, &[("001_ctx0_schema", bundled)]).await;
    project
        .sql("insert into public.ctx0_entries (content) values ('kept')")
        .await;
    let manager = project.bundled();
    let found = manager.recognise().await.unwrap();
    // Version 2 is the ledger, which the installation makes too.
    assert_eq!(same(&found), [1, 2], "{found}");

    let plan = manager.plan_baseline(&found, version(1)).unwrap();
    let report = manager.repair(plan, "set up by hand").await.unwrap();
    assert_eq!(report.current_version.get(), 1);
    let row = manager.history().await.unwrap().remove(0);
    assert_eq!(
        (row.migration_name.as_str(), row.checksum.is_some()),
        ("001_ctx0_schema", true)
    );
    let last = manager.status().await.unwrap().last_attempt.unwrap();
    assert_eq!(last.reason.as_deref(), Some("set up by hand"));
    assert!(last.applied_by.is_some());

    let verified = manager.verify().await.unwrap();
    assert!(
        matches!(verified, Verification::Unchanged { .. }),
        "{verified}"
    );
    manager.apply_all_pending().await.unwrap();
    assert_eq!(
        project
            .value("select content from public.ctx0_entries")
            .await,
        "kept"
    );
    // Its down SQL is stored with it.
    manager.rollback_to(version(0)).await.unwrap();
    assert!(project.ledger().await.is_empty());
    assert_eq!(
        project
            .value("select count(*) from pg_class where relname = 'ctx0_entries'")
            .await,
        "0"
    );
}

#[tokio::test]
async fn what_changed_since_it_was_looked_at_is_not_recorded() {
    let project = Project::empty().await;
    by_hand(&project, &NOTES[..1]).await;
    let manager = project.manager(migrations(&NOTES));
    let found = manager.recognise().await.unwrap();
    let plan = manager.plan_baseline(&found, version(1)).unwrap();
    project.sql("drop view public.ctx0_labels").await;
    let error = manager.repair(plan, "by hand").await.unwrap_err();
    assert!(matches!(error, Error::RepairOutdated { .. }), "{error}");
    assert!(project.ledger().await.is_empty());

    let found = manager.recognise().await.unwrap();
    let plan = manager.plan_baseline(&found, version(1)).unwrap();
    project
        .sql("insert into public.ctx0_schema_versions (version, migration_name) values (1, '001_notes')")
        .await;
    let error = manager
        .repair(plan, "by hand")
        .accept_differences()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::RepairOutdated { .. }), "{error}");
    assert!(matches!(
        manager.plan_baseline(&manager.recognise().await.unwrap(), version(1)),
        Err(Error::CannotRepair { .. })
    ));
}

#[tokio::test]
async fn a_version_that_cannot_be_run_again_says_why() {
    let project = Project::empty().await;
    by_hand(&project, &NOTES[..1]).await;
    let fails = [NOTES[0], ("002_fails", "select 1 / 0;"), NOTES[2]];
    let before = project.catalog().await;
    let found = project
        .manager(migrations(&fails))
        .recognise()
        .await
        .unwrap();
    assert_eq!(same(&found), [1], "{found}");
    let text = found.to_string();
    assert!(
        text.contains("v2 002_fails: not compared: division by zero (SQLSTATE 22012)")
            && text.contains("v3 003_count: not compared: version 2 could not be run"),
        "{text}"
    );
    assert_eq!(project.catalog().await, before);
}

#[tokio::test]
async fn where_schema_public_belongs_to_another_role_it_is_said() {
    let project = Project::on_own_server().await;
    by_hand(&project, &NOTES[..1]).await;
    project
        .stack
        .admin_sql(
            "alter schema public owner to supabase_admin; grant all on schema public to postgres",
        )
        .await
        .unwrap();
    let manager = project.manager(migrations(&NOTES));
    let found = manager.recognise().await.unwrap();
    assert_eq!(same(&found), [0; 0]);
    assert!(
        found
            .to_string()
            .contains("not compared: must be owner of schema public"),
        "{found}"
    );
    // The user may know better.
    let plan = manager.plan_baseline(&found, version(1)).unwrap();
    manager
        .repair(plan, "by hand")
        .accept_differences()
        .await
        .unwrap();
    assert_eq!(project.ledger().await, [1]);
}
