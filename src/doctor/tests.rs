use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::{ledger::LedgerError, manifest::Version};

fn settings(key: KeyKind) -> Settings {
    Settings {
        url: "https://ctx0.example.org/rest/v1".to_owned(),
        is_plain_http_away: false,
        key,
    }
}

fn now() -> Timestamp {
    "2026-11-25T10:00:00Z".parse().unwrap()
}

fn probe() -> Probe {
    Probe {
        took: Duration::from_millis(40),
        date: Some(now()),
        server: Some("postgrest/14.12".to_owned()),
        responded: true,
        rows: Some((2, 2)),
        error: None,
    }
}

fn check(current: u32, problem: Option<LedgerError>) -> UpdateCheck {
    UpdateCheck {
        problem,
        ..UpdateCheck::between(current, 2)
    }
}

fn status(owner: &str) -> DatabaseStatus {
    DatabaseStatus {
        owner: owner.to_owned(),
        ..DatabaseStatus::at(2)
    }
}

fn health(changes: &Value) -> Health {
    let mut health = json!({
        "rpc_version": 3, "read_only": false, "read_only_by_default": false, "database_bytes": 12_300_000,
        "timeouts": {"statement_ms": 8000, "transaction_ms": 0, "functions_ms": 900_000}, "max_rows": null,
        "extensions": [{"name": "vector", "schema": "extensions", "available": true}],
    });
    for (key, value) in changes.as_object().unwrap() {
        health[key] = value.clone();
    }
    serde_json::from_value(health).unwrap()
}

const CLOSED: SqlAccess = SqlAccess {
    with_key: true,
    without_key: false,
    installed: true,
};

/// Facts of a project without fault, but for what the probe found.
fn all_is_well(settings: &Settings, probe: Probe) -> Facts<'_> {
    let mut facts = Facts::new(settings, now(), probe);
    facts.check = Some(Ok(check(2, None)));
    facts.status = Some(Ok(status("postgres")));
    facts.sql_access = Some(CLOSED);
    facts.health = Some(Ok(health(&json!({}))));
    facts.drift = Some(Ok(Verification::Unchanged {
        current_version: Version::new(2).unwrap(),
    }));
    facts
}

/// The state of each check by its first letter, such as `G` for good.
fn states(diagnosis: &Diagnosis) -> String {
    let letters = diagnosis
        .checks
        .iter()
        .map(|check| format!("{:?}", check.state));
    letters.map(|name| name.chars().next().unwrap()).collect()
}

#[test]
fn a_project_on_which_all_is_well() {
    let settings = settings(KeyKind::Secret);
    let facts = all_is_well(&settings, probe());
    let found = diagnosis(&facts);
    assert_eq!(states(&found), "GGGGGGGGGGGGGGG", "{found}");
    assert!(found.works());
    assert_eq!(
        found.to_string(),
        format!(
            "ctx0-schema {}\n\
             ok    address      https://ctx0.example.org/rest/v1\n\
             ok    key          secret key\n\
             ok    connection   responds in 40 ms\n\
             ok    clock        this computer and the server agree\n\
             ok    REST API     postgrest/14.12\n\
             ok    max rows     the ledger fits into one response\n\
             ok    /pg/         open to the service key, closed without a key\n\
             ok    functions    release 3, owned by postgres, on PostgreSQL 17.6\n\
             ok    database     13 MB, writable\n\
             ok    timeouts     a change may take 15 min; other requests of this role 8 s\n\
             ok    extensions   vector in extensions\n\
             ok    ledger       version 2; this build has 2\n\
             ok    running      no change is running\n\
             ok    last change  none yet\n\
             ok    drift        the schema is as the last change left it\n",
            env!("CARGO_PKG_VERSION")
        )
    );
}

#[test]
fn what_rests_on_a_failure_is_not_checked() {
    let settings = settings(KeyKind::Secret);
    let unreachable = Error::Unreachable {
        proxy: None,
        source: "refused".into(),
    };
    let nothing = Probe {
        responded: false,
        date: None,
        server: None,
        error: Some(unreachable),
        ..probe()
    };
    let found = diagnosis(&Facts::new(&settings, now(), nothing));
    assert_eq!(states(&found), "GGFNNNNNNNNNNNN", "{found}");
    assert!(found.to_string().contains("(because: refused)"), "{found}");
    let clock = "-     clock        not checked: something above failed\n";
    assert!(found.to_string().contains(clock), "{found}");
    assert!(!found.works());

    let rejected = Error::KeyRejected {
        reason: "bad\x1b[2Jsignature".to_owned(),
    };
    let found = diagnosis(&Facts::new(
        &settings,
        now(),
        Probe {
            error: Some(rejected),
            ..probe()
        },
    ));
    assert_eq!(states(&found), "GGGGFNNNNNNNNNN", "{found}");
    assert!(!found.to_string().contains('\x1b'), "{found}");

    let mut facts = Facts::new(&settings, now(), probe());
    facts.check = Some(Ok(check(0, None)));
    facts.status = Some(Err(Error::RpcNotInstalled {
        function: "ctx0_schema_status",
    }));
    let found = diagnosis(&facts);
    assert_eq!(states(&found), "GGGGGGGFNNNGNNN", "{found}");
    assert!(!found.works());
}

#[test]
fn a_check_that_could_not_be_made_is_no_failure() {
    let settings = settings(KeyKind::Secret);
    let facts = all_is_well(
        &settings,
        Probe {
            date: None,
            ..probe()
        },
    );
    let found = diagnosis(&facts);
    assert_eq!(states(&found), "GGGNGGGGGGGGGGG", "{found}");
    assert!(found.works());
    let line = "-     clock        not checked: the response has no Date header, perhaps because a proxy removes it\n";
    assert!(found.to_string().contains(line), "{found}");
}

#[test]
fn a_ledger_that_disagrees_has_failed() {
    let settings = settings(KeyKind::Secret);
    let mut facts = Facts::new(&settings, now(), probe());
    let [current, latest] = [3, 2].map(|number| Version::new(number).unwrap());
    facts.check = Some(Ok(check(
        3,
        Some(LedgerError::DatabaseAhead {
            current,
            latest,
            app_needed: None,
        }),
    )));
    assert!(diagnosis(&facts).to_string().contains("update the app"));
}

#[test]
fn clocks_that_disagree_are_told_in_the_right_direction() {
    let settings = settings(KeyKind::Secret);
    for (seconds, found) in [
        (0, "this computer and the server agree"),
        (30, "this computer and the server agree"),
        (-31, "this computer is 31 s ahead of the server"),
        (3600, "this computer is 3600 s behind the server"),
    ] {
        let date = Some(now() + SignedDuration::from_secs(seconds));
        let facts = Facts::new(&settings, now(), Probe { date, ..probe() });
        assert_eq!(clock(&facts).found, found);
    }
}

#[test]
fn a_key_that_expires_soon_is_a_warning() {
    for (days, state) in [(29, CheckState::Warning), (31, CheckState::Good)] {
        let expires = Some(now() + SignedDuration::from_hours(24 * days));
        let settings = settings(KeyKind::Legacy { expires });
        assert_eq!(
            key(&Facts::new(&settings, now(), probe())).state,
            state,
            "{days}"
        );
    }
}

#[test]
fn functions_of_another_owner_are_a_warning() {
    let settings = settings(KeyKind::Secret);
    let mut facts = Facts::new(&settings, now(), probe());
    facts.status = Some(Ok(status("supabase_admin")));
    assert_eq!(functions(&facts).state, CheckState::Warning);
}

#[test]
fn functions_that_are_there_but_not_served_are_told_from_missing_ones() {
    let settings = settings(KeyKind::Secret);
    let mut facts = Facts::new(&settings, now(), probe());
    facts.status = Some(Err(Error::RpcNotInstalled {
        function: "ctx0_schema_status",
    }));
    facts.sql_access = Some(CLOSED);
    assert!(
        functions(&facts).found.contains("notify pgrst"),
        "{}",
        functions(&facts).found
    );
    facts.sql_access = Some(SqlAccess {
        installed: false,
        ..CLOSED
    });
    assert!(functions(&facts).found.contains("is not installed"));
}

#[test]
fn each_thing_that_is_wrong_with_the_server_has_its_remedy() {
    let settings = settings(KeyKind::Secret);
    for (changes, name, state, remedy) in [
        (
            json!({"read_only": true}),
            CheckName::Database,
            CheckState::Failed,
            "full disk",
        ),
        (
            json!({"read_only_by_default": true}),
            CheckName::Database,
            CheckState::Warning,
            "full disk",
        ),
        (
            json!({"timeouts": {"statement_ms": 8000, "transaction_ms": 30_000, "functions_ms": 900_000}}),
            CheckName::Timeouts,
            CheckState::Warning,
            "transaction_timeout = 0",
        ),
        (
            json!({"timeouts": {"statement_ms": 8000, "transaction_ms": 0, "functions_ms": 25_000}}),
            CheckName::Timeouts,
            CheckState::Warning,
            "install --again",
        ),
        (
            json!({"extensions": [{"name": "vector", "schema": null, "available": false}]}),
            CheckName::Extensions,
            CheckState::Warning,
            "a database image",
        ),
    ] {
        let mut facts = Facts::new(&settings, now(), probe());
        facts.health = Some(Ok(health(&changes)));
        let found = diagnosis(&facts);
        let check = found.checks.iter().find(|check| check.name == name);
        let check = check.unwrap();
        assert_eq!(check.state, state, "{found}");
        assert!(check.remedy.as_ref().unwrap().contains(remedy), "{found}");
    }
}

#[test]
fn sql_that_anyone_can_run_and_rows_that_do_not_come_have_failed() {
    let settings = settings(KeyKind::Secret);
    let mut facts = Facts::new(&settings, now(), probe());
    facts.sql_access = Some(SqlAccess {
        without_key: true,
        ..CLOSED
    });
    facts.probe.rows = Some((0, 2));
    let found = diagnosis(&facts).to_string();
    assert!(found.contains("FAIL  /pg/         anyone who"), "{found}");
    assert!(
        found.contains("FAIL  max rows     the REST API returns none of the 2 rows"),
        "{found}"
    );
    facts.probe.rows = Some((1000, 1200));
    let found = diagnosis(&facts).to_string();
    assert!(found.contains("in pages of 1000 rows"), "{found}");
}

#[test]
fn extensions_are_looked_up_that_a_migration_names() {
    let texts = [
        "create extension if not exists \"uuid-ossp\" schema extensions;\n-- create extension pg_no\n",
        "do $$ begin CREATE EXTENSION vector schema public; end $$;\ncreate\n extension pg_trgm;",
        "execute 'create extension ' || name;",
    ];
    assert_eq!(
        extensions(texts.into_iter()),
        ["pg_trgm", "uuid-ossp", "vector"]
    );
}
