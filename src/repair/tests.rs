//! Which repairs are planned, and what they say.

use serde_json::{Value, json};

use super::*;

fn migrations() -> Migrations {
    let manifest = r#"{"currentVersion": 2, "migrations": [
        {"version": 1, "name": "001_a", "description": "A", "file": "001_a.sql"},
        {"version": 2, "name": "002_b", "description": "B", "file": "002_b.sql"}]}"#;
    let files = [
        ("manifest.json", manifest),
        ("001_a.sql", "select 1;"),
        ("002_b.sql", "select 2;"),
    ];
    Migrations::embedded(&files).unwrap()
}

fn version(number: u32) -> Version {
    Version::new(number).unwrap()
}

/// A row of this build's migration, or with another checksum.
fn row(number: u32, name: &str, checksum: &Value) -> AppliedVersion {
    let checksum = match checksum {
        Value::Bool(true) => json!(migrations().get(version(number)).unwrap().checksum()),
        other => other.clone(),
    };
    serde_json::from_value(json!({
        "version": number, "migration_name": name, "description": null, "applied_at": null, "applied_by": null,
        "checksum": checksum,
    }))
    .unwrap()
}

fn a() -> AppliedVersion {
    row(1, "001_a", &json!(true))
}

fn b() -> AppliedVersion {
    row(2, "002_b", &json!(true))
}

#[test]
fn a_repair_is_planned_for_the_ledger_that_needs_it() {
    let (other, by_hand) = (json!("ab".repeat(32)), Value::Null);
    for (ledger, repair, says) in [
        (
            vec![b()],
            Repair::MarkApplied(version(1)),
            "records version 1 as applied, without running it: 001_a (checksum 354b7196c9ba…)",
        ),
        (
            vec![a()],
            Repair::MarkApplied(version(2)),
            "records version 2 as applied, without running it: 002_b (checksum ",
        ),
        (
            vec![a(), b()],
            Repair::MarkNotApplied(version(2)),
            "removes version 2 from the ledger, without rolling it back: 002_b (checksum ",
        ),
        (
            vec![row(1, "001_x", &other)],
            Repair::AcceptChecksum(version(1)),
            "records version 1 as 001_a (checksum 354b7196c9ba…), in place of 001_x (checksum abababababab…)",
        ),
        (
            vec![row(1, "001_a", &by_hand)],
            Repair::AcceptChecksum(version(1)),
            "records version 1 as 001_a (checksum 354b7196c9ba…), in place of 001_a",
        ),
    ] {
        let plan = plan_repair(&migrations(), &ledger, repair).unwrap();
        assert!(plan.to_string().starts_with(says), "{plan}");
        assert_eq!(
            plan.before.is_some(),
            !matches!(repair, Repair::MarkApplied(_))
        );
    }
}

#[test]
fn a_repair_that_the_ledger_does_not_need_is_refused() {
    let other = json!("ab".repeat(32));
    for (ledger, repair, says) in [
        (
            vec![],
            Repair::MarkApplied(version(2)),
            "version 2 cannot follow version 0: mark version 1 first",
        ),
        (
            vec![a()],
            Repair::MarkApplied(version(1)),
            "version 1 is in the ledger already;",
        ),
        (
            vec![row(1, "001_a", &other)],
            Repair::MarkApplied(version(1)),
            "version 1 is in the ledger already, from another text: accept the checksum of this build",
        ),
        (
            vec![a()],
            Repair::MarkApplied(version(3)),
            "this app has no schema version 3",
        ),
        (
            vec![a(), b()],
            Repair::MarkNotApplied(version(1)),
            "only the highest version can be marked as not applied, which is 2",
        ),
        (
            vec![],
            Repair::MarkNotApplied(version(1)),
            "version 1 is not in the ledger",
        ),
        (
            vec![a()],
            Repair::AcceptChecksum(version(1)),
            "the ledger has this checksum of version 1 already",
        ),
        (
            vec![a()],
            Repair::AcceptChecksum(version(2)),
            "version 2 is not in the ledger",
        ),
    ] {
        let error = plan_repair(&migrations(), &ledger, repair).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

fn found(changes: &Value) -> Recognition {
    let mut compared = json!({
        "rpc_version": 3, "current_version": 0, "objects": ["table public.ctx0_a"], "fingerprint": "f", "shown": null,
        "versions": [{"version": 1, "differences": 0}, {"version": 2, "differences": 2}],
    });
    for (key, value) in changes.as_object().unwrap() {
        compared[key] = value.clone();
    }
    Recognition::new(serde_json::from_value(compared).unwrap(), &migrations())
}

#[test]
fn a_schema_is_recognised_by_the_versions_that_make_it() {
    let recognised = found(&json!({}));
    assert_eq!(recognised.same().collect::<Vec<_>>(), [version(1)]);
    assert_eq!(
        recognised.to_string(),
        "1 object of ctx0 is there\nv1 001_a: makes exactly this schema\nv2 002_b: 2 objects differ\n"
    );
    let plan = plan_baseline(&migrations(), &recognised, version(1)).unwrap();
    assert_eq!(plan.is_same, Some(true));
    let plan = plan_baseline(&migrations(), &recognised, version(2)).unwrap();
    assert_eq!(plan.is_same, Some(false));
    assert_eq!(
        plan.to_string(),
        "records versions 1 to 2 as applied, without running them"
    );
}

#[test]
fn what_could_not_be_run_is_not_the_same_as_anything() {
    let recognised = found(&json!({"versions": [{"version": 1, "message": "division by zero"}]}));
    assert_eq!(recognised.same().count(), 0);
    assert_eq!(
        recognised.to_string(),
        "1 object of ctx0 is there\nv1 001_a: not compared: division by zero\n\
         v2 002_b: not compared: version 1 could not be run\n"
    );
}

#[test]
fn there_is_no_baseline_over_a_ledger_or_over_nothing() {
    for (changes, says) in [
        (json!({"current_version": 1}), "for an empty ledger"),
        (json!({"objects": []}), "no objects of ctx0"),
    ] {
        let error = plan_baseline(&migrations(), &found(&changes), version(1)).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}
