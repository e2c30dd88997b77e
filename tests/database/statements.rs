//! Where a text is cut into statements, compared with PostgreSQL: whatever the server takes, it
//! takes each of our statements as exactly one. And the statements that other tools cut wrongly.

use std::cell::RefCell;

use ctx0_schema::{Error, Migrations};
use ctx0_stack::project::{LONGEST, Project, migrations};
use ctx0_stack::{Parser, StackError};
use fastrand::Rng;
use proptest::{prelude::*, test_runner::TestRunner};
use tokio::{runtime::Handle, task::block_in_place};

/// Generated texts. Each is parsed whole and in its statements.
const CASES: u32 = 2_000;

/// How the server takes a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parsed {
    /// As one statement or none, even if it refers to what is not there.
    One,
    Several,
    /// Not at all.
    Never,
}

async fn parsed(parser: &mut Parser, sql: &str) -> Parsed {
    match refused(parser, sql).await {
        Some(message) if message.contains("multiple commands") => Parsed::Several,
        // The grammar refused it, or it is a statement that makes no sense, such as one with a subquery
        // of two columns. Before another statement, only the grammar is asked.
        Some(_) => match refused(parser, &format!("{sql}\n;select 1")).await {
            Some(message) if message.contains("multiple commands") => Parsed::One,
            _ => Parsed::Never,
        },
        None => Parsed::One,
    }
}

/// Why the server refused a text as wrong SQL.
async fn refused(parser: &mut Parser, sql: &str) -> Option<String> {
    let error = parser.parse(sql).await.err()?;
    let StackError::Sql(cause) = &error else {
        panic!("{error:?}\n{sql}")
    };
    let said = cause.as_database_error().expect("the database said it");
    let message = said.message().to_owned();
    match error.sqlstate().as_deref() {
        // The others are of the scanner: escapes that are none, and a name that is too long.
        Some("42601" | "42622" | "22021" | "22025" | "22P05" | "22P06") => Some(message),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgresql_takes_is_cut_into_what_it_takes_as_one_statement() {
    let project = Project::empty().await;
    let parser = RefCell::new(project.stack.parser().await.expect("a connection"));
    let parse = |sql: &str| {
        let parser = &mut *parser.borrow_mut();
        block_in_place(|| Handle::current().block_on(parsed(parser, sql)))
    };
    let compared = RefCell::new((0, 0));
    // A subquery of two columns, which PostgreSQL refuses as 42601 after parsing it.
    assert_eq!(parse("select (select 1, 2)"), Parsed::One);
    assert_eq!(parse("select (select 1,)"), Parsed::Never);
    assert_eq!(parse("select 1; select 2"), Parsed::Several);
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..Default::default()
    };
    TestRunner::new(config)
        .run(&any::<u64>(), |seed| {
            let text = generated(&mut Rng::with_seed(seed));
            let whole = parse(&text);
            if whole == Parsed::Never {
                return Ok(());
            }
            let statements = match cut(&text) {
                Ok(statements) => statements,
                Err(why) => {
                    prop_assert!(refused_by_name(&why), "{}\n{}", why, text);
                    return Ok(());
                }
            };
            prop_assert_eq!(statements.concat(), text.as_str());
            prop_assert_eq!(
                statements.len() == 1,
                whole == Parsed::One,
                "{:#?}",
                statements
            );
            for statement in &statements {
                prop_assert_eq!(
                    parse(statement),
                    Parsed::One,
                    "{}\n{:#?}",
                    statement,
                    statements
                );
            }
            let mut compared = compared.borrow_mut();
            compared.0 += 1;
            compared.1 += usize::from(statements.len() > 1);
            Ok(())
        })
        .unwrap();
    let (taken, of_several) = *compared.borrow();
    assert!(
        taken > CASES / 4 && of_several as u32 > CASES / 8,
        "{taken} taken, {of_several} of several"
    );
}

/// Whether a text has no statement, or one that PostgreSQL takes and a migration cannot contain.
fn refused_by_name(why: &str) -> bool {
    why.contains("no statement") || why.contains("cannot run inside a migration")
}

/// The statements, or why there are none.
fn cut(text: &str) -> Result<Vec<String>, String> {
    let manifest = r#"{"currentVersion": 1, "migrations": [
        {"version": 1, "name": "001_a", "description": "", "file": "001_a.sql"}]}"#;
    match Migrations::embedded(&[("manifest.json", manifest), ("001_a.sql", text)]) {
        Ok(migrations) => {
            let migration = migrations.iter().next().expect("one");
            Ok(migration.statements().map(str::to_owned).collect())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// SQL that is often right, with what makes cutting hard, and now and then a token too few or
/// too many.
fn generated(rng: &mut Rng) -> String {
    let mut text = String::new();
    for _ in 0..rng.usize(1..5) {
        text += &blank(rng);
        text += &statement(rng, 0);
        text += &blank(rng);
        text += [";", ";", ";", "; ;", "\n;"][rng.usize(..5)];
    }
    if rng.u8(..4) == 0 {
        text += &blank(rng);
    }
    if rng.u8(..4) == 0 {
        let places: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
        let at = places[rng.usize(..places.len())];
        if rng.bool() {
            text.insert_str(at, one_of(rng, &SNIPPETS));
        } else {
            text.remove(at);
        }
    }
    // As a file is read: a line end of Windows is one of Unix.
    while text.contains("\r\n") {
        text = text.replace("\r\n", "\n");
    }
    text
}

const SNIPPETS: [&str; 20] = [
    ";",
    "'",
    "\"",
    "$$",
    "$a$",
    "--",
    "/*",
    "*/",
    "\n",
    "\r",
    "(",
    ")",
    " end ",
    " case ",
    "é",
    "E'",
    "\\",
    ".",
    " as ",
    " begin atomic ",
];

const NAMES: [&str; 12] = [
    "a", "t", "e", "u", "é", "a$b$c", "atomic", "begin", "\"end;\"", "U&\"x;\"", "n1", "_$x$",
];

const LABELS: [&str; 10] = [
    "end",
    "case",
    "begin",
    "atomic",
    "select",
    "create",
    "into",
    "b",
    "\"e\"\"nd\"",
    "$",
];

fn statement(rng: &mut Rng, depth: u8) -> String {
    let nested = if depth == 0 { 10 } else { 5 };
    match rng.u8(..nested) {
        0 | 1 => format!("select{}{}", blank_between(rng), list(rng)),
        2 => format!("insert into t values ({})", value(rng, 1)),
        3 => format!("update t set a = {} where {}", value(rng, 1), value(rng, 1)),
        4 => String::new(),
        5 => format!("do {}", string(rng)),
        6 => format!("comment on table t is {}", string(rng)),
        7 => {
            let (first, second) = (statement(rng, 1), statement(rng, 1));
            format!("create rule r as on insert to t do also ({first}; {second})")
        }
        8 => format!(
            "create function f() returns int language sql as {}",
            string(rng)
        ),
        _ => {
            let replace = one_of(rng, &["", "or replace "]);
            let kind = one_of(
                rng,
                &["function f(begin atomic) returns int", "procedure p()"],
            );
            let body: String = (0..rng.usize(..4))
                .map(|_| format!("{}{};{}", blank(rng), statement(rng, 1), blank(rng)))
                .collect();
            let space = blank_between(rng);
            format!("create {replace}{kind} begin{space}atomic {body} end")
        }
    }
}

fn list(rng: &mut Rng) -> String {
    let values = (0..rng.usize(1..4)).map(|_| {
        let label = match rng.u8(..3) {
            0 => format!(" as {}", one_of(rng, &LABELS)),
            _ => String::new(),
        };
        value(rng, 0) + &label
    });
    let values = values.collect::<Vec<_>>().join(",");
    match rng.bool() {
        true => format!("{values} from t"),
        false => values,
    }
}

fn value(rng: &mut Rng, depth: u8) -> String {
    match rng.u8(..if depth < 3 { 9 } else { 5 }) {
        0 | 1 => string(rng),
        2 => one_of(
            rng,
            &["1", "$1", "1.5", "null", "2 */* c; */ 3", "4 +-- ;\n 5"],
        )
        .to_owned(),
        3 => one_of(rng, &NAMES).to_owned(),
        4 => format!("t{}.{}{}", blank(rng), blank(rng), one_of(rng, &LABELS)),
        5 => format!(
            "case when {} then {} else {} end",
            value(rng, depth + 1),
            value(rng, depth + 1),
            value(rng, depth + 1)
        ),
        6 => format!("(select {})", list(rng)),
        7 => format!("({})", value(rng, depth + 1)),
        _ => format!(
            "coalesce({}, {})",
            value(rng, depth + 1),
            value(rng, depth + 1)
        ),
    }
}

/// A string of any kind, often with parts on further lines.
fn string(rng: &mut Rng) -> String {
    const PARTS: [&str; 16] = [
        ";", "''", "a", "\\\\", "\"", "--", "/*", "*/", "\n", "\r", "$$", "$a$", "é", "end", " ",
        "\\n",
    ];
    let content = |rng: &mut Rng, more: &[&str]| -> String {
        let parts = [&PARTS[..], more].concat();
        (0..rng.usize(..5)).map(|_| one_of(rng, &parts)).collect()
    };
    let (prefix, more): (_, &[&str]) = match rng.u8(..7) {
        0 => {
            let tag = one_of(rng, &["$$", "$a$", "$é$", "$_1$"]);
            return format!("{tag}{}{tag}", content(rng, &["$1$", "$b$", "'", "\\"]));
        }
        1 | 2 => (one_of(rng, &["E", "e"]), &["\\'", "\\'", "\\;"]),
        3 => (one_of(rng, &["n", "U&", "u&", "x", "b"]), &[]),
        _ => ("", &["\\"]),
    };
    let mut string = format!("{prefix}'{}'", content(rng, more));
    while rng.u8(..3) == 0 {
        let between = blank_between(rng);
        string += &format!("{between}'{}'", content(rng, more));
    }
    string
}

/// Blanks and comments, or nothing.
fn blank(rng: &mut Rng) -> String {
    (0..rng.usize(..3)).map(|_| blank_between(rng)).collect()
}

fn blank_between(rng: &mut Rng) -> &'static str {
    const BLANKS: [&str; 12] = [
        " ",
        " ",
        "\n",
        "\r",
        "\t",
        " \x0c",
        " -- c;\n",
        " -- it's\r",
        "\n-- a\n-- b;\n",
        "/* ; */",
        "/* /* ; */ ' */",
        "/*/ ; */",
    ];
    one_of(rng, &BLANKS)
}

fn one_of<'a>(rng: &mut Rng, choices: &[&'a str]) -> &'a str {
    choices[rng.usize(..choices.len())]
}

#[tokio::test]
async fn keywords_that_are_labels_and_columns_end_no_body() {
    let sql = "create table ctx0_test_span (id int primary key, \"end\" date, \"case\" text);\n\
               create function ctx0_test_end(p_id int) returns date language sql stable\nbegin atomic\n\
               select 1 as end;\nselect s.end from ctx0_test_span s where s.id = p_id;\nend;\n\
               create function ctx0_test_kind(p_id int) returns text language sql stable\nbegin atomic\n\
               select coalesce(s.case, case when s.end is null then 'open' else 'done' end) as case\n\
               from ctx0_test_span s where s.id = p_id;\nend;\n\
               insert into ctx0_test_span values (1, '2026-02-01', null);";
    let project = Project::installed().await;
    let manager = project.manager(migrations(&[("001_span", sql)]));
    manager.preview().budget(LONGEST).await.unwrap();
    manager.apply_all_pending().await.unwrap();
    assert_eq!(project.value("select ctx0_test_end(1)").await, "2026-02-01");
    assert_eq!(project.value("select ctx0_test_kind(1)").await, "done");
}

#[tokio::test]
async fn an_escape_string_goes_on_in_the_next_line() {
    let sql = "create table ctx0_test_note (id int primary key, body text);\n\
               insert into ctx0_test_note values (1, E'first part, ' -- and a comment\n  'it\\'s still escaped; not the end');\n\
               insert into ctx0_test_note values (2, 'second');";
    let project = Project::installed().await;
    let manager = project.manager(migrations(&[("001_note", sql)]));
    manager.apply_all_pending().await.unwrap();
    let body = project
        .value("select body from ctx0_test_note where id = 1")
        .await;
    assert_eq!(body, "first part, it's still escaped; not the end");
}

#[tokio::test]
async fn lines_that_end_in_cr_are_statements_and_are_counted() {
    let sql = "-- made on an old Mac\rcreate table ctx0_test_cr (id int, t text); -- note\r\
               insert into ctx0_test_cr values (1, 'one');\r\r-- last\rselect no_such_column from ctx0_test_cr;\r";
    let project = Project::installed().await;
    let manager = project.manager(migrations(&[("001_cr", sql)]));
    let error = manager.apply_all_pending().await.unwrap_err().error;
    let Error::MigrationFailed(failure) = &error else {
        panic!("{error}")
    };
    assert_eq!(failure.sqlstate, "42703");
    assert_eq!((failure.statement, failure.line), (Some(3), Some(6)));
}
