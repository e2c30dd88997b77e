use super::*;

/// Three migrations, `001_a` to `003_c`.
fn migrations() -> Migrations {
    let files: Vec<(String, String)> = ["001_a", "002_b", "003_c"]
        .iter()
        .map(|name| (format!("{name}.sql"), format!("select '{name}';")))
        .collect();
    let entries: Vec<String> = (1..)
        .zip(["001_a", "002_b", "003_c"])
        .map(|(version, name)| {
            format!(
                r#"{{"version":{version},"name":"{name}","description":"","file":"{name}.sql"}}"#
            )
        })
        .collect();
    let manifest = format!(
        r#"{{"currentVersion":3,"migrations":[{}]}}"#,
        entries.join(",")
    );
    let mut all = vec![("manifest.json", manifest.as_str())];
    all.extend(
        files
            .iter()
            .map(|(name, sql)| (name.as_str(), sql.as_str())),
    );
    Migrations::embedded(&all).unwrap()
}

#[test]
fn at_an_empty_database_only_the_first_version_can_ask_for_a_backup() {
    assert_eq!(worth_a_backup(false, &[1, 2, 3]), [1]);
    assert_eq!(worth_a_backup(true, &[3, 4]), [3, 4]);
    for has_data in [false, true] {
        assert_eq!(worth_a_backup(has_data, &[0; 0]), [0; 0]);
    }
}

fn row(version: u32, name: &str, checksum: Option<Checksum>) -> AppliedVersion {
    AppliedVersion {
        version: Version::new(version).unwrap(),
        migration_name: name.to_owned(),
        description: None,
        applied_at: None,
        applied_by: None,
        checksum,
        execution_ms: None,
        breaking: None,
        min_app_version: None,
    }
}

/// For an app whose version is not known.
fn plan<'p>(migrations: &'p Migrations, ledger: &'p [AppliedVersion]) -> Plan<'p> {
    super::plan(migrations, ledger, None, |_| migrations.latest_version())
}

/// Rows as this build would have written them, for names with their versions.
fn applied(names: &[(u32, &str)]) -> Vec<AppliedVersion> {
    names
        .iter()
        .map(|(version, name)| {
            row(
                *version,
                name,
                Some(Checksum::of(&format!("select '{name}';"))),
            )
        })
        .collect()
}

fn pending(plan: &Plan<'_>) -> Vec<u32> {
    plan.pending
        .iter()
        .map(|migration| migration.version().get())
        .collect()
}

#[test]
fn an_empty_ledger_means_that_everything_is_pending() {
    let migrations = migrations();
    let plan = plan(&migrations, &[]);
    assert_eq!(
        (plan.current, pending(&plan), plan.problem),
        (Version::ZERO, vec![1, 2, 3], None)
    );
}

#[test]
fn what_is_in_the_ledger_is_not_pending() {
    let migrations = migrations();
    let ledger = applied(&[(1, "001_a"), (2, "002_b")]);
    let plan = plan(&migrations, &ledger);
    assert_eq!(
        (plan.current.get(), pending(&plan), plan.problem),
        (2, vec![3], None)
    );
}

#[test]
fn a_full_ledger_is_up_to_date() {
    let migrations = migrations();
    let ledger = applied(&[(1, "001_a"), (2, "002_b"), (3, "003_c")]);
    let plan = plan(&migrations, &ledger);
    assert_eq!((pending(&plan), plan.problem), (vec![], None));
}

#[test]
fn a_row_made_by_hand_is_known_by_its_name() {
    let migrations = migrations();
    let ledger = [row(1, "001_a", None)];
    let plan = plan(&migrations, &ledger);
    assert_eq!((pending(&plan), plan.problem), (vec![2, 3], None));
}

#[test]
fn a_database_ahead_is_a_separate_problem() {
    let migrations = migrations();
    let ledger = applied(&[(1, "001_a"), (2, "002_b"), (3, "003_c"), (4, "004_d")]);
    let plan = plan(&migrations, &ledger);
    let (current, latest) = (Version::new(4).unwrap(), Version::new(3).unwrap());
    assert_eq!(
        plan.problem,
        Some(LedgerError::DatabaseAhead {
            current,
            latest,
            app_needed: None
        })
    );
    assert!(plan.pending.is_empty() && plan.newer.is_empty());
}

/// What the ledger says of a version that this build does not know.
type Declared = (Option<bool>, Option<&'static str>);

/// Of an app of version `app` on a database with these versions above its own: `Ok` with how many they
/// are if it can work with them, or the app that is needed.
fn ahead_by(newer: &[Declared], app: Option<&str>) -> Result<usize, Option<String>> {
    let migrations = migrations();
    let mut ledger = applied(&[(1, "001_a"), (2, "002_b"), (3, "003_c")]);
    for (version, (breaking, oldest)) in (4..).zip(newer) {
        ledger.push(AppliedVersion {
            breaking: *breaking,
            min_app_version: oldest.map(str::to_owned),
            ..row(version, "new", None)
        });
    }
    let app = app.map(|app| app.parse().unwrap());
    let plan = super::plan(&migrations, &ledger, app.as_ref(), |_| {
        migrations.latest_version()
    });
    assert!(plan.pending.is_empty());
    match plan.problem {
        None => Ok(plan.newer.len()),
        Some(LedgerError::DatabaseAhead { app_needed, .. }) => {
            assert!(plan.newer.is_empty());
            Err(app_needed.map(|needed| needed.to_string()))
        }
        Some(other) => panic!("{other}"),
    }
}

#[test]
fn an_app_works_on_where_all_newer_versions_say_that_it_can() {
    const COMPATIBLE: Declared = (Some(false), None);
    const BREAKING: Declared = (Some(true), None);
    const UNKNOWN: Declared = (None, None);
    let needs = |version: &str| Err(Some(version.to_owned()));
    for (newer, app, expected) in [
        // Without a version of the app, the word of each version counts.
        (&[COMPATIBLE][..], None, Ok(1)),
        (&[COMPATIBLE, COMPATIBLE], None, Ok(2)),
        (&[COMPATIBLE, BREAKING], None, Err(None)),
        (&[UNKNOWN, COMPATIBLE], None, Err(None)),
        (&[(None, Some("1.4"))], None, needs("1.4.0")),
        (&[(Some(true), Some("1.4"))], None, needs("1.4.0")),
        (&[(Some(false), Some("1.4"))], None, Ok(1)),
        // With it, the oldest app decides.
        (&[COMPATIBLE], Some("1.3"), Ok(1)),
        (&[UNKNOWN], Some("1.3"), Err(None)),
        (&[(None, Some("1.4"))], Some("1.4.0"), Ok(1)),
        (&[(Some(true), Some("1.4"))], Some("1.4.0"), Ok(1)),
        (&[(Some(true), Some("1.4"))], Some("1.3.9"), needs("1.4.0")),
        (
            &[(Some(true), Some("1.4"))],
            Some("1.4.0-rc.1"),
            needs("1.4.0"),
        ),
        (&[(Some(false), Some("1.4"))], Some("1.3.9"), needs("1.4.0")),
        (
            &[(Some(true), Some("1.9")), COMPATIBLE, (None, Some("1.10"))],
            Some("1.3"),
            needs("1.10.0"),
        ),
        (
            &[(Some(true), Some("1.2")), (Some(true), Some("1.5"))],
            Some("1.3"),
            needs("1.5.0"),
        ),
        // What cannot be read is not known, and no app can be named for a version that names none.
        (&[(Some(false), Some("soon"))], Some("1.3"), Err(None)),
        (
            &[(Some(true), Some("1.4")), BREAKING],
            Some("1.3"),
            Err(None),
        ),
    ] {
        assert_eq!(ahead_by(newer, app), expected, "{newer:?} for {app:?}");
    }
}

#[test]
fn a_gap_below_versions_that_an_app_can_work_with_is_still_one() {
    let migrations = migrations();
    let mut ledger = applied(&[(1, "001_a"), (3, "003_c")]);
    ledger.push(AppliedVersion {
        breaking: Some(false),
        ..row(4, "new", None)
    });
    let plan = plan(&migrations, &ledger);
    assert!(matches!(plan.problem, Some(LedgerError::Gap { .. })));
    assert!(plan.newer.is_empty());
}

#[test]
fn a_gap_names_what_is_missing() {
    let migrations = migrations();
    let ledger = applied(&[(3, "003_c")]);
    let plan = plan(&migrations, &ledger);
    let missing = vec![Version::new(1).unwrap(), Version::new(2).unwrap()];
    assert_eq!(
        plan.problem,
        Some(LedgerError::Gap {
            current: Version::new(3).unwrap(),
            missing
        })
    );
    assert!(plan.pending.is_empty());
}

#[test]
fn a_gap_of_millions_is_named_by_its_beginning() {
    let migrations = migrations();
    let Some(LedgerError::Gap { missing, .. }) =
        plan(&migrations, &applied(&[(i32::MAX as u32, "x")])).problem
    else {
        panic!("a gap");
    };
    assert_eq!(missing.len(), 10);
}

#[test]
fn another_name_or_another_text_under_a_known_version_differs() {
    let migrations = migrations();
    let other_text = row(1, "001_a", Some(Checksum::of("select 'other';")));
    for ledger in [
        applied(&[(1, "001_x")]),
        vec![other_text],
        vec![row(1, "001_x", None)],
    ] {
        let plan = plan(&migrations, &ledger);
        assert!(
            matches!(plan.problem, Some(LedgerError::Differs { version, .. }) if version.get() == 1),
            "{plan:?}"
        );
        assert!(plan.pending.is_empty());
    }
}

#[test]
fn a_difference_weighs_more_than_a_database_ahead() {
    let migrations = migrations();
    let ledger = applied(&[(1, "001_x"), (2, "002_b"), (3, "003_c"), (4, "004_d")]);
    assert!(matches!(
        plan(&migrations, &ledger).problem,
        Some(LedgerError::Differs { .. })
    ));
}

#[test]
fn a_request_takes_as_many_versions_as_fit_and_at_least_one() {
    let long = "a".repeat(200 * 1024);
    let sizes = |texts: &[&str]| {
        let manifest: Vec<String> = (1..=texts.len())
            .map(|version| {
                format!(
                    r#"{{"version":{version},"name":"{version:03}_a","description":"","file":"{version:03}_a.sql"}}"#
                )
            })
            .collect();
        let manifest = format!(
            r#"{{"currentVersion":{},"migrations":[{}]}}"#,
            texts.len(),
            manifest.join(",")
        );
        let names: Vec<String> = (1..=texts.len())
            .map(|version| format!("{version:03}_a.sql"))
            .collect();
        let mut files = vec![("manifest.json", manifest.as_str())];
        files.extend(names.iter().map(String::as_str).zip(texts.iter().copied()));
        let migrations = Migrations::embedded(&files).unwrap();
        let steps: Vec<Step> = migrations
            .iter()
            .map(|migration| Step::apply(migration, &migrations))
            .collect();
        [true, false].map(|several| next_batch(&steps, several).len())
    };
    let (short, long) = ("select 1;", format!("select '{long}';"));
    let huge = format!("select '{}';", long.repeat(4).replace('\'', ""));
    assert_eq!(sizes(&[short, short, short]), [3, 1]);
    assert_eq!(sizes(&[&long, &long, &long]), [2, 1]);
    assert_eq!(sizes(&[&huge, short]), [1, 1]);
    assert_eq!(sizes(&[short, &huge]), [1, 1]);
}
