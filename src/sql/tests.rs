use super::*;

fn statements(text: &str) -> Vec<String> {
    let cut = Statements::cut(text.to_owned()).unwrap();
    let statements: Vec<_> = cut.iter().map(str::to_owned).collect();
    assert_eq!(statements.concat(), text, "no byte is lost");
    statements
}

fn refused(text: &str) -> String {
    match Statements::cut(text.to_owned()) {
        Err(SqlError::NotTransactional { what, .. } | SqlError::OutsideOnly { what, .. }) => what,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_text_is_cut_after_each_statement() {
    assert_eq!(statements("select 1; select 2"), ["select 1;", " select 2"]);
}

#[test]
fn comments_stay_with_the_statement_that_follows_or_with_the_last_one() {
    assert_eq!(
        statements("-- a;\nselect 1; /* b; */ -- c\n"),
        ["-- a;\nselect 1; /* b; */ -- c\n"]
    );
    assert_eq!(
        statements("select 1;\n-- b\nselect 2;"),
        ["select 1;", "\n-- b\nselect 2;"]
    );
}

#[test]
fn semicolons_in_quotes_comments_and_bodies_end_nothing() {
    for text in [
        "select ';'",
        "select e'\\';'",
        "select \"a;b\"",
        "select U&'\\003b;'",
        "select 'it''s; fine'",
        "/* a /* nested; */ ; */ select 1",
        "do $$ begin perform 1; end $$",
        "do $body$ begin perform $$;$$; end $body$",
        "create rule r as on insert to t do also (insert into l values (1); select 1)",
        "create function f() returns int begin atomic select 1; select case when true then 2 end; end",
        "create or replace procedure p() language sql begin atomic insert into t values (1); end",
    ] {
        assert_eq!(statements(&format!("{text}; select 2;")).len(), 2, "{text}");
    }
}

#[test]
fn a_backslash_does_not_escape_in_a_plain_string() {
    assert_eq!(statements(r"select '\'; select 2;").len(), 2);
}

#[test]
fn empty_statements_are_joined_to_their_neighbours() {
    assert_eq!(statements("select 1;; ;select 2;").len(), 2);
    assert_eq!(statements(";;select 1;").len(), 1);
}

#[test]
fn each_statement_knows_its_line() {
    let cut =
        Statements::cut("-- one\n\nselect 'a\nb';\n\n  -- two\n select 2;".to_owned()).unwrap();
    assert_eq!((cut.line_of(1), cut.line_of(2)), (Some(3), Some(7)));
    assert_eq!((cut.line_of(0), cut.line_of(3)), (None, None));
}

#[test]
fn a_text_without_a_statement_is_empty() {
    for text in ["", " \n", "-- nothing\n", "/* nothing */ ;"] {
        assert_eq!(
            Statements::cut(text.to_owned()),
            Err(SqlError::Empty),
            "{text:?}"
        );
    }
}

#[test]
fn what_never_ends_is_refused_with_its_line() {
    for (text, what) in [
        ("\nselect 'a", "string"),
        ("\nselect \"a", "quoted name"),
        ("\n/* a", "comment"),
        ("\ndo $x$ begin", "dollar-quoted string"),
    ] {
        let expected = Err(SqlError::Unterminated { line: 2, what });
        assert_eq!(Statements::cut(text.to_owned()), expected, "{text}");
    }
}

#[test]
fn a_zero_byte_is_refused_with_its_line() {
    let expected = Err(SqlError::ZeroByte { line: 3 });
    assert_eq!(
        Statements::cut("select 1;\nselect '\n\0'".to_owned()),
        expected
    );
}

#[test]
fn what_cannot_run_inside_one_transaction_is_refused() {
    for (text, what) in [
        (
            "create index concurrently i on t (a)",
            "create index concurrently",
        ),
        (
            "CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)",
            "create unique index concurrently",
        ),
        ("drop index concurrently i", "drop index concurrently"),
        ("reindex (concurrently) table t", "reindex concurrently"),
        (
            "alter table t detach partition p concurrently",
            "alter table … detach partition … concurrently",
        ),
        ("vacuum full t", "vacuum"),
        ("begin", "begin"),
        ("Start  Transaction", "start transaction"),
        ("commit", "commit"),
        ("end", "end"),
        ("rollback to a", "rollback"),
        ("savepoint a", "savepoint"),
        ("copy t from stdin", "copy … from stdin"),
        (
            "copy t (a, b) from stdin with (format csv)",
            "copy … from stdin",
        ),
        ("discard all", "discard all"),
        ("deallocate all", "deallocate all"),
        ("deallocate prepare all", "deallocate prepare all"),
        ("create database d", "create database"),
        ("alter system set work_mem = '1MB'", "alter system"),
        (
            "set transaction isolation level serializable",
            "set transaction",
        ),
        ("set local transaction read only", "set transaction"),
        ("set transaction not deferrable", "set transaction"),
        (
            "set transaction_read_only = on",
            "set transaction_read_only",
        ),
        (
            "set transaction_isolation to 'serializable'",
            "set transaction_isolation",
        ),
        (
            "set local \"transaction_deferrable\" = off",
            "set transaction_deferrable",
        ),
        ("cluster", "cluster"),
        ("cluster verbose", "cluster"),
        ("cluster (verbose)", "cluster"),
        ("reindex (verbose) schema public", "reindex schema"),
        ("reindex schema concurrently public", "reindex schema"),
        (
            "alter database d set tablespace s",
            "alter database … set tablespace",
        ),
        (
            "create subscription s connection 'x' publication p",
            "create subscription",
        ),
        (
            "create subscription s connection 'x' publication p with (enabled = false)",
            "create subscription",
        ),
        ("\\i other.sql", "\\i"),
        ("\\connect db", "\\connect"),
    ] {
        assert_eq!(refused(&format!("select 1;\n{text};")), what, "{text}");
    }
}

#[test]
fn words_inside_quotes_comments_and_names_are_not_commands() {
    for text in [
        "-- begin\nselect 1",
        "/* vacuum; */ select 1",
        "do $$ begin perform 1; end $$",
        "select 'create index concurrently'",
        "create table vacuum_log (begin_at int, \"commit\" int)",
        "comment on table t is 'vacuum; commit'",
        "refresh materialized view concurrently m",
        "create index i on t (concurrently_seen)",
        "insert into t values ('\\i')",
        "copy t from '/file'",
        "select e'\\\\'",
    ] {
        assert!(Statements::cut(format!("{text};")).is_ok(), "{text}");
    }
}

#[test]
fn line_endings_and_a_byte_order_mark_do_not_count() {
    assert_eq!(
        normalise("\u{feff}select 1;\r\nselect 2;\r\n"),
        "select 1;\nselect 2;\n"
    );
}

#[test]
fn a_body_ends_only_where_a_statement_could_begin() {
    for body in [
        "select 1 as end;",
        "select p.end from p;",
        "select p . end from p;",
        "select p./* c */end from p;",
        "select case when a then case when b then 1 end else p.case end as case from p;",
        "select \"end\"; select 'end';",
        "select (select 1 as end) as atomic;",
        "select begin atomic from t;",
        "; ;",
        "create function g() returns int begin atomic select 1 as end; end;",
        "create rule r as on insert to t do also (select 1; select 2);",
        "",
    ] {
        for text in [
            format!("create function f() returns int begin atomic {body} end"),
            format!(
                "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN/**/ATOMIC {body} -- end;\n END"
            ),
            format!("create procedure end(begin atomic) language sql\nbegin atomic {body}end"),
        ] {
            assert_eq!(
                statements(&format!("{text};select 2;")),
                [format!("{text};"), "select 2;".to_owned()]
            );
        }
    }
}

#[test]
fn a_body_begins_only_in_a_routine_and_outside_parentheses() {
    for text in [
        "select begin atomic from t",
        "create table begin (atomic int)",
        "create view v as select begin atomic from t",
        "create function f(begin atomic) returns int language sql return 1",
        "create function f() returns table (begin atomic) language sql as ''",
        "create function f() returns int language sql as 'begin atomic'",
    ] {
        assert_eq!(statements(&format!("{text}; select 2;")).len(), 2, "{text}");
    }
}

#[test]
fn a_string_continued_on_another_line_is_read_as_it_began() {
    for (text, count) in [
        ("select E'a'\n'it\\'s; b'; select 2;", 2),
        ("select e'a' -- c'\n-- d'\r\t 'it\\'s; b'; select 2;", 2),
        ("select E'a'\r'\\';'; select 2;", 2),
        // Without a line end between them, and with a block comment, they are two strings.
        ("select E'a' '\\'; select 2;", 2),
        ("select E'a' /*\n*/ '\\'; select 2;", 2),
        ("select 'a'\n'\\'; select 2;", 2),
        ("select namee'\\'; select 2;", 2),
        ("select U&'\\'; select 2;", 2),
    ] {
        assert_eq!(statements(text).len(), count, "{text}");
    }
}

#[test]
fn quotes_of_all_kinds_are_read_as_postgresql_reads_them() {
    for text in [
        "select $ä$;$ä$",
        "select $_1$ $1$ ; $_ $_1$",
        "select $a$ $$ ; $b$ $a$",
        "select a$b$ as c$b$",
        "select $1 as b",
        "select n';'",
        "select b'1' as b, x'f;'",
        "select u&\"a;\"\"b;\" uescape '!'",
        "select U&';''' uescape ';'",
        "/* a /* b */ ; /*/ ; */ */ ; */ select 1",
        "select 1 /*/ ; */",
        "select 2 */* ; */ 3",
        "select 2 +-- ;\n 3",
        "select 1 -- ;\r",
        "select é;é".split(';').next().unwrap(),
    ] {
        assert_eq!(statements(&format!("{text};select 2;")).len(), 2, "{text}");
    }
}

#[test]
fn a_line_ends_at_lf_cr_lf_or_cr() {
    let text = "-- made on an old Mac\rselect 1; -- a\rselect 2;\r\r-- last\rselect 3;\r";
    let cut = Statements::cut(text.to_owned()).unwrap();
    let lines: Vec<_> = (1..=3).map(|number| cut.line_of(number)).collect();
    assert_eq!(lines, [Some(2), Some(3), Some(6)]);
    for (text, ends) in [
        ("", 0),
        ("a", 0),
        ("\r", 1),
        ("\r\n", 1),
        ("\n\r", 2),
        ("a\r\rb\r\n\n", 4),
    ] {
        assert_eq!(line_ends(text.as_bytes()), ends, "{text:?}");
    }
}

#[test]
fn the_last_line_of_a_statement_is_that_of_its_last_word() {
    let text = "-- a\nselect 1;\n-- b\nselect\n '\n';\n\n/* c\n */ select 3\n\n-- d\n";
    let cut = Statements::cut(text.to_owned()).unwrap();
    let lines: Vec<_> = (0..=4).map(|number| cut.last_line_of(number)).collect();
    assert_eq!(lines, [None, Some(2), Some(6), Some(9), None]);
}

#[test]
fn a_byte_order_mark_inside_is_refused_unless_it_is_text() {
    let expected = Err(SqlError::ByteOrderMark { line: 2 });
    for text in [
        "select 1;\n\u{feff}select 2;",
        "select 1;\n\u{feff} select 2;",
        "\nselect a\u{feff};",
    ] {
        assert_eq!(Statements::cut(text.to_owned()), expected, "{text}");
    }
    for text in [
        "select '\u{feff}';",
        "select 1 as \"\u{feff}\";",
        "-- \u{feff}\nselect 1;",
    ] {
        assert_eq!(statements(text).len(), 1, "{text}");
    }
}

#[test]
fn a_change_of_the_role_is_refused() {
    for (text, what) in [
        ("set role anon", "set role"),
        ("SET Role none", "set role"),
        ("set local role x", "set role"),
        ("set \"role\" to 'x'", "set role"),
        ("reset role", "reset role"),
        (
            "set session authorization default",
            "set session authorization",
        ),
        ("reset session authorization", "reset session authorization"),
        (
            "set session_authorization = 'x'",
            "set session authorization",
        ),
    ] {
        let (line, what) = (2, what.to_owned());
        let expected = Err(SqlError::Role { line, what });
        assert_eq!(
            Statements::cut(format!("select 1;\n{text};")),
            expected,
            "{text}"
        );
    }
}

#[test]
fn a_refusal_names_the_line_of_what_is_refused() {
    let psql = |line, command: &str| SqlError::NotTransactional {
        line,
        what: command.to_owned(),
        remedy: "it is a command of psql, so remove it",
    };
    for (text, expected) in [
        ("select 1,\n 2\n\\gexec\nselect 3;", psql(5, "\\gexec")),
        ("select 1 as a \\gset x_\nselect 2;", psql(3, "\\gset")),
        ("\\i other.sql", psql(3, "\\i")),
        ("\\dt+ public.*", psql(3, "\\dt")),
        ("\\! ls", psql(3, "\\!")),
        ("\\.", psql(3, "\\.")),
        ("\\C title", psql(3, "\\C")),
        (
            "insert into t\n values (1,\n\\N);",
            SqlError::Backslash { line: 5 },
        ),
        ("select 1 \\ 2;", SqlError::Backslash { line: 3 }),
        (
            "-- a\nselect 1\n  into t\n from s;",
            SqlError::SelectInto { line: 5 },
        ),
    ] {
        let text = format!("select 1;\n\n{text}");
        assert_eq!(Statements::cut(text.clone()), Err(expected), "{text}");
    }
}

#[test]
fn select_into_is_refused_wherever_it_creates_a_table() {
    for text in [
        "select * into t from s",
        "SELECT 1 INTO TEMP t",
        "select distinct a /* c */ into table t from s",
        "with x as (select 1) select * into t from x",
        "(select 1 into t)",
        "select 1 into t union select 2",
        "select 1 as into into t",
    ] {
        let expected = Err(SqlError::SelectInto { line: 2 });
        assert_eq!(
            Statements::cut(format!("select 1;\n{text};")),
            expected,
            "{text}"
        );
    }
    for text in [
        "insert into t select 1",
        "insert /* c */ into t values (1)",
        "with x as (insert into t values (1) returning a) select * from x",
        "with x as (select 1) insert into t select * from x",
        "with x as (select 1) merge into t using x on true when matched then do nothing",
        "select 1 as into, t.into from t",
        "select 'into', \"into\" from t",
        "do $$ declare a int; begin select 1 into a; end $$",
        "create function f() returns int language plpgsql as 'declare a int; begin select 1 into a; return a; end'",
        "create table t as select 1",
    ] {
        assert!(Statements::cut(format!("{text};")).is_ok(), "{text}");
    }
}

#[test]
fn strings_of_the_old_kind_are_refused_however_they_are_switched_on() {
    for text in [
        "set standard_conforming_strings = off",
        "SET Standard_Conforming_Strings TO OFF",
        "set local standard_conforming_strings = 'off'",
        "set session \"standard_conforming_strings\" to false",
        "set standard_conforming_strings = 0",
        "set standard_conforming_strings = E'No'",
        "select set_config('standard_conforming_strings', 'off', false)",
        "select pg_catalog . set_config ( 'Standard_Conforming_Strings' , $$f$$ , true )",
        "select set_config(new_value => 'off', setting_name => 'standard_conforming_strings', is_local => true)",
        "with x as (select set_config('standard_conforming_strings', 'off', false)) select * from x",
        "alter role postgres set standard_conforming_strings = off",
        "alter user all in database d set standard_conforming_strings to 'off'",
        "alter database postgres set standard_conforming_strings = off",
    ] {
        let expected = Err(SqlError::OldStrings { line: 2 });
        assert_eq!(
            Statements::cut(format!("select 1;\n{text};")),
            expected,
            "{text}"
        );
    }
    for text in [
        "set standard_conforming_strings = on",
        "set standard_conforming_strings to default",
        "reset standard_conforming_strings",
        "select set_config('standard_conforming_strings', 'on', false)",
        "select set_config('a.b', 'off', false)",
        "set a.b = 'off'",
        "show standard_conforming_strings",
        "insert into settings values ('standard_conforming_strings', 'off')",
        "alter role postgres set standard_conforming_strings = on",
        "-- set standard_conforming_strings = off\nselect 1",
    ] {
        assert!(Statements::cut(format!("{text};")).is_ok(), "{text}");
    }
}

#[test]
fn keywords_that_are_names_are_no_commands() {
    for text in [
        "copy (select a from stdin) to '/f'",
        "set transaction read write",
        "set transaction isolation level read committed",
        "set transaction_isolation = 'read committed'",
        "set transaction_read_only = off",
        "set session characteristics as transaction read only",
        "set local search_path = role, session_authorization",
        "cluster t",
        "cluster (verbose) t using i",
        "create subscription s connection 'x' publication p with (connect = false)",
        "create subscription s connection 'x' publication p with (copy_data, create_slot = 'off')",
        "reindex (concurrently false) table a",
        "reindex (concurrently off) table a",
        "reindex (verbose, Concurrently '0') index i",
        "create index i on t (concurrently(a))",
        "drop index \"concurrently\"",
        "alter table t add detach int",
        "comment on column t.commit is 'a'",
    ] {
        assert!(Statements::cut(format!("{text};")).is_ok(), "{text}");
    }
}
