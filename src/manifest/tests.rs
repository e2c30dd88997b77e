use fastrand::Rng;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;

use super::*;
use crate::sql::{SqlError, Statements, line_ends};

const CASES: u32 = 50_000;

#[test]
fn any_manifest_is_taken_whole_or_refused() {
    let mut taken = 0;
    over(CASES, |rng| {
        let files = folder(rng);
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        let migrations = match Migrations::embedded(&files) {
            Ok(migrations) => migrations,
            Err(error) => {
                prop_assert!(!error.to_string().is_empty());
                return Ok(());
            }
        };
        taken += 1;
        for (migration, number) in migrations.iter().zip(1..) {
            prop_assert_eq!(migration.version().get(), number);
            prop_assert_eq!(migration.statements().collect::<String>(), migration.sql());
            prop_assert_eq!(migration.checksum(), Checksum::of(migration.sql()));
        }
        prop_assert_eq!(
            migrations.latest_version().get() as usize,
            migrations.iter().len()
        );
        Ok(())
    });
    assert!(taken > CASES / 50, "{taken} were valid");
}

#[test]
fn any_text_is_cut_without_losing_a_byte_or_refused() {
    let mut cut = 0;
    over(CASES, |rng| {
        let text = sql(rng);
        let lines = 1..=line_ends(text.as_bytes()) + 1;
        match Statements::cut(text.clone()) {
            Ok(statements) => {
                cut += 1;
                let texts: Vec<_> = statements.iter().collect();
                prop_assert_eq!(texts.concat(), text);
                let starts: Vec<_> = (1..=texts.len()).map(|n| statements.line_of(n)).collect();
                prop_assert!(starts.is_sorted());
                for start in starts {
                    prop_assert!(start.is_some_and(|line| lines.contains(&line)));
                }
                prop_assert_eq!(statements.line_of(texts.len() + 1), None);
            }
            Err(SqlError::Empty) => {}
            Err(
                SqlError::Unterminated { line, .. }
                | SqlError::ZeroByte { line }
                | SqlError::ByteOrderMark { line }
                | SqlError::Backslash { line }
                | SqlError::NotTransactional { line, .. }
                | SqlError::Role { line, .. }
                | SqlError::OutsideOnly { line, .. }
                | SqlError::SecondStatement { line }
                | SqlError::NotOutside { line, .. }
                | SqlError::UnnamedIndex { line }
                | SqlError::SelectInto { line }
                | SqlError::OldStrings { line },
            ) => prop_assert!(lines.contains(&line)),
        }
        Ok(())
    });
    assert!(cut > CASES / 50, "{cut} were valid");
}

/// Runs a property over random numbers, each case out of a seed of its own.
fn over(cases: u32, mut property: impl FnMut(&mut Rng) -> Result<(), TestCaseError>) {
    let property = std::cell::RefCell::new(&mut property);
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..Default::default()
    };
    TestRunner::new(config)
        .run(&any::<u64>(), |seed| {
            property.borrow_mut()(&mut Rng::with_seed(seed))
        })
        .unwrap();
}

/// A manifest that is nearly right, and its files, of which one may be missing.
fn folder(rng: &mut Rng) -> Vec<(&'static str, String)> {
    const NAMES: [&str; 3] = ["001_a", "002_b", "003_c"];
    const FILES: [&str; 3] = ["001_a.sql", "002_b.sql", "003_c.sql"];
    let count = rng.usize(..=NAMES.len());
    let entries: Vec<_> = (0..count)
        .map(|at| {
            let mut entry = json!({
                "version": at + 1, "name": NAMES[at], "description": text(rng), "file": FILES[at],
            });
            if rng.u8(..4) == 0 {
                let (key, value) = oddity(rng);
                entry[key] = value;
            }
            entry
        })
        .collect();
    let current = if rng.u8(..8) == 0 {
        rng.usize(..4)
    } else {
        count
    };
    let mut manifest = json!({"currentVersion": current, "migrations": entries}).to_string();
    if rng.u8(..4) == 0 {
        manifest = damaged(rng, &manifest);
    }
    let there = if rng.u8(..8) == 0 {
        rng.usize(..=count)
    } else {
        count
    };
    let mut files = vec![(MANIFEST, manifest)];
    files.extend(FILES[..there].iter().map(|file| {
        let text = if rng.bool() {
            "select 1;".to_owned()
        } else {
            sql(rng)
        };
        (*file, text)
    }));
    files
}

/// What may be wrong with an entry, or unusual.
fn oddity(rng: &mut Rng) -> (&'static str, serde_json::Value) {
    let all = [
        ("version", json!(rng.i64(-2..5))),
        ("version", json!(rng.i64(..))),
        ("version", json!("1")),
        ("name", json!(text(rng))),
        (
            "file",
            json!(["../001_a.sql", "/etc/passwd", "", ".", "a\\b", "001_a.sql"][rng.usize(..6)]),
        ),
        ("checksum", json!("0".repeat(rng.usize(60..66)))),
        ("checksum", json!(Checksum::of("select 1;"))),
        (
            "down",
            json!(["002_b.sql", "nowhere.sql", ".."][rng.usize(..3)]),
        ),
        (
            "backup",
            json!(["required", "recommended", "maybe"][rng.usize(..3)]),
        ),
        ("breaking", json!(rng.bool())),
        ("breaking", json!(null)),
        ("transaction", json!(rng.bool())),
        (
            "minAppVersion",
            json!(["1.4", "1.04", "", "2.0.0-rc.1"][rng.usize(..4)]),
        ),
        ("later", json!({"any": [1, null]})),
    ];
    all[rng.usize(..all.len())].clone()
}

/// A text with some of its bytes changed or gone, as far as it is still text.
fn damaged(rng: &mut Rng, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..bytes.len());
        match rng.u8(..3) {
            0 => bytes[at] = rng.u8(..),
            1 => bytes.insert(at, rng.u8(..)),
            _ => bytes.truncate(at + 1),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text(rng: &mut Rng) -> String {
    let bytes: Vec<u8> = (0..rng.usize(..12)).map(|_| rng.u8(..)).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Pieces of SQL, in an order that makes sense now and then.
fn sql(rng: &mut Rng) -> String {
    const FRAGMENTS: [&str; 32] = [
        "select 1",
        "select 1;",
        "insert into t values (1);",
        ";",
        ";",
        "\n",
        "\n",
        " ",
        "\r\n",
        "'",
        "'it''s'",
        "\"",
        "$$",
        "$x$",
        "$1",
        "--",
        "/*",
        "*/",
        "(",
        ")",
        "\\",
        "e'\\'",
        "U&'",
        "é",
        "\0",
        "begin",
        "commit",
        "create function f() returns int begin atomic",
        "end",
        "case",
        "create index concurrently i on t (a)",
        "copy t from stdin",
    ];
    let fragments = (0..rng.usize(..12)).map(|_| FRAGMENTS[rng.usize(..FRAGMENTS.len())]);
    let mut sql: String = fragments.collect();
    if rng.u8(..8) == 0 {
        sql += &text(rng);
    }
    sql
}
