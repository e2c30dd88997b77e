//! A ledger that disagrees with the database is repaired.

use std::{future::IntoFuture, time::Duration};

use ctx0_schema::{
    AttemptAction, Error, LedgerError, Migrations, Repair, RepairAction, SchemaVersionManager,
    Verification,
};
use ctx0_stack::project::{GATE, Project, migrations, version};
use tokio::time::timeout;

const NOTES: [(&str, &str); 2] = [
    ("001_notes", "create table public.ctx0_notes (id int);"),
    (
        "002_tags",
        "alter table public.ctx0_notes add column tags text[];",
    ),
];

async fn applied(project: &Project) -> SchemaVersionManager {
    let manager = project.manager(migrations(&NOTES));
    manager.apply_all_pending().await.unwrap();
    manager
}

async fn repair(manager: &SchemaVersionManager, repair: Repair) -> Result<u32, Error> {
    let plan = manager.plan_repair(repair).await?;
    let report = manager.repair(plan, "the row was lost").await?;
    Ok(report.current_version.get())
}

async fn problem(manager: &SchemaVersionManager) -> Option<LedgerError> {
    manager.check_for_updates().await.unwrap().problem
}

#[tokio::test]
async fn a_gap_is_filled_by_marking_the_version_as_applied() {
    let project = Project::installed().await;
    let manager = applied(&project).await;
    project
        .sql("delete from public.ctx0_schema_versions where version = 1")
        .await;
    let gap = problem(&manager).await.unwrap();
    assert!(
        gap.to_string().contains("ctx0-schema repair mark-applied"),
        "{gap}"
    );

    let current = repair(&manager, Repair::MarkApplied(version(1))).await;
    assert_eq!(current.unwrap(), 2);
    assert_eq!(problem(&manager).await, None);
    // The schema is compared with what the last change left, as before.
    let verified = manager.verify().await.unwrap();
    assert!(
        matches!(verified, Verification::Unchanged { .. }),
        "{verified}"
    );
    let last = manager.status().await.unwrap().last_attempt.unwrap();
    assert_eq!(
        last.action,
        AttemptAction::Repair(RepairAction::MarkApplied)
    );
    assert_eq!(last.reason.as_deref(), Some("the row was lost"));
}

#[tokio::test]
async fn a_version_that_is_not_there_is_marked_as_not_applied_and_applied() {
    let project = Project::installed().await;
    let first = project.manager(migrations(&NOTES[..1]));
    first.apply_all_pending().await.unwrap();
    let manager = applied(&project).await;
    let current = repair(&manager, Repair::MarkNotApplied(version(2))).await;
    assert_eq!(current.unwrap(), 1);
    // The schema is compared with what version 1 left.
    let verified = manager.verify().await.unwrap();
    let Verification::Drifted { differences, .. } = &verified else {
        panic!("{verified}")
    };
    assert!(differences[0].diff.contains("+column tags"), "{verified}");

    // Someone restored the table from an older backup.
    project
        .sql("alter table public.ctx0_notes drop column tags")
        .await;
    let verified = manager.verify().await.unwrap();
    assert!(
        matches!(verified, Verification::Unchanged { .. }),
        "{verified}"
    );
    manager.apply_all_pending().await.unwrap();
    assert_eq!(project.ledger().await, [1, 2]);
    assert_eq!(
        project
            .value("select count(*) from pg_attribute where attrelid = 'public.ctx0_notes'::regclass and attname = 'tags'")
            .await,
        "1"
    );
}

#[tokio::test]
async fn the_checksum_of_this_build_is_accepted() {
    let project = Project::installed().await;
    applied(&project).await;
    let commented = [
        (
            "001_notes",
            "-- Notes.\ncreate table public.ctx0_notes (id int);",
        ),
        NOTES[1],
    ];
    let manager = project.manager(migrations(&commented));
    let differs = problem(&manager).await.unwrap();
    assert!(
        differs
            .to_string()
            .contains("ctx0-schema repair accept-checksum 1"),
        "{differs}"
    );
    let current = repair(&manager, Repair::AcceptChecksum(version(1))).await;
    assert_eq!(current.unwrap(), 2);
    assert_eq!(problem(&manager).await, None);
    let error = repair(&manager, Repair::AcceptChecksum(version(1))).await;
    assert!(
        matches!(error, Err(Error::CannotRepair { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_down_sql_that_was_stored_when_a_version_ran_outlives_another_checksum() {
    let project = Project::installed().await;
    let build = |up: &str, down: &str| {
        let manifest = r#"{"currentVersion": 1, "migrations": [{"version": 1, "name": "001_notes", "description": "",
            "file": "001_notes.sql", "down": "001_notes.down.sql"}]}"#;
        let files = [
            ("manifest.json", manifest),
            ("001_notes.sql", up),
            ("001_notes.down.sql", down),
        ];
        Migrations::embedded(&files).unwrap()
    };
    let first = build(NOTES[0].1, "drop table public.ctx0_notes;");
    project.manager(first).apply_all_pending().await.unwrap();
    let second = build("create table public.ctx0_notes (id int) ;", "select 1 / 0;");
    let manager = project.manager(second);
    repair(&manager, Repair::AcceptChecksum(version(1)))
        .await
        .unwrap();
    manager.rollback_to(version(0)).await.unwrap();
    let left = project
        .value("select to_regclass('public.ctx0_notes')")
        .await;
    assert_eq!(left, "");
}

#[tokio::test]
async fn a_repair_is_refused_when_the_ledger_is_no_longer_as_it_was_planned_for() {
    let project = Project::installed().await;
    let manager = applied(&project).await;
    let plan = manager
        .plan_repair(Repair::MarkNotApplied(version(2)))
        .await
        .unwrap();
    project
        .sql("update public.ctx0_schema_versions set checksum = repeat('ab', 32) where version = 2")
        .await;
    let error = manager.repair(plan.clone(), "why not").await.unwrap_err();
    assert!(matches!(error, Error::RepairOutdated { .. }), "{error}");
    assert_eq!(project.ledger().await, [1, 2]);

    let blank = manager.repair(plan.clone(), " ").await.unwrap_err();
    assert!(matches!(blank, Error::BlankReason), "{blank}");

    // Somebody else has made the same repair.
    project
        .sql("delete from public.ctx0_schema_versions where version = 2")
        .await;
    let report = manager.repair(plan, "why not").await.unwrap();
    assert!(report.already_recorded);
}

#[tokio::test]
async fn a_repair_waits_for_a_running_change() {
    let project = Project::installed().await;
    let gated = [NOTES[0], ("002_gated", GATE)];
    let manager = project.manager(migrations(&NOTES[..1]));
    manager.apply_all_pending().await.unwrap();
    let plan = manager
        .plan_repair(Repair::MarkNotApplied(version(1)))
        .await
        .unwrap();
    project.close_gate().await;
    let changing = project.manager(migrations(&gated));
    let changing = tokio::spawn(changing.apply_all_pending().into_future());
    project.until("ctx0_private.running() is not null").await;
    let mut repairing = manager.repair(plan, "too late").into_future();
    let early = timeout(Duration::from_secs(1), &mut repairing).await;
    assert!(early.is_err(), "{early:?}");
    project.open_gate().await;
    changing.await.unwrap().unwrap();
    // The ledger it was planned for is gone.
    let repaired = repairing.await;
    assert!(
        matches!(repaired, Err(Error::RepairOutdated { .. })),
        "{repaired:?}"
    );
    assert_eq!(project.ledger().await, [1, 2]);
}
