//! What a preview tells of notices is what a client hears that PostgreSQL sends them to.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use ctx0_schema::{
    Error, MigrationError, Migrations, Notice, NoticeLevel, Preview, SchemaVersionManager, Version,
};
use ctx0_stack::Stack;
use serde_json::json;

use crate::{
    rest::{Rest, sha256},
    support::{Project, migrations},
};

const BEFORE: &str = r#"
create table public.ctx0_test_a (id bigint generated always as identity primary key, note text, kind text);
insert into public.ctx0_test_a (note) select 'note ' || i from generate_series(1, 7) i;
create index ctx0_test_index on public.ctx0_test_a (note);
create view public.ctx0_test_view as select id from public.ctx0_test_a;
create type public.ctx0_test_mood as enum ('good', 'bad');
create domain public.ctx0_test_positive as int check (value > 0);
create function public.ctx0_test_f(a int) returns int language sql as 'select a';
create function public.ctx0_test_count() returns bigint language plpgsql as $$
begin
  insert into public.ctx0_test_a (note) values ('counted');
  return (select count(*) from public.ctx0_test_a);
end $$;
"#;

/// Blocks, each of which says something.
const BLOCKS: &[&str] = &[
    "do $$ begin raise notice 'plain'; end $$",
    "DO $$BEGIN RAISE NOTICE 'loud'; RAISE WARNING 'louder'; RAISE INFO 'for you'; END$$;",
    "do language plpgsql $body$ begin raise notice $x$it's dollar %$x$, $$quoted$$; end; $body$",
    "do $$ begin raise notice 'after'; end -- the end\n $$ language plpgsql",
    "do 'begin raise notice ''in plain quotes %'', ''it''''s''; end'",
    // Whatever is in it, as `raise` writes it.
    r#"do $$ declare nothing text; yes boolean := true; list int[] := '{1,2}'; r record; begin
        select 1 as one, 'a, b' as two into r;
        raise notice '% % % % %', nothing, yes, list, r, r.two;
        raise notice '100%% of % are %%%', 1.50, '2026-11-25'::date;
        raise notice '%', e'a\\b''c\nd'; raise notice '%', ''; raise notice '%', 'NULL'; raise notice '';
        raise notice e'tab\t % \\ it\'s''', 1; raise notice 'ümlaut % %', 'ß', '{"a": 1}'::jsonb;
        raise notice '%', (select count(*) from ctx0_test_a);
        raise notice '%', array[1, 2]; raise notice '%', coalesce(nothing, /* , */ 'none'); -- ; raise
      end $$"#,
    "do $$ begin raise notice 'two' using detail = 'a detail', hint := 'a ' || 'hint'; end $$",
    "do $$ begin raise warning using message = 'no format %', hint = 'same', detail = 'same'; end $$",
    "do $$ begin raise notice '% is long', repeat('x', 1900); end $$",
    // In every place where a statement may stand.
    "do $$ <<outer>> declare i int; begin
       for i in 1..3 loop
         raise notice 'row %', i;
         continue when i = 2;
         if i = 1 then raise notice 'first'; elsif i = 3 then raise notice 'last'; else raise notice 'no'; end if;
       end loop;
       case when true then raise notice 'case'; else raise notice 'else'; end case;
     end outer $$",
    // What is undone was said.
    "do $$ begin
       begin raise notice 'before'; perform 1 / 0; exception when others then raise notice 'caught % %', sqlstate, sqlerrm; end;
       begin raise notice 'undone'; raise exception 'x'; exception when others then null; end;
       raise notice 'after';
     end $$",
    "do $$ begin raise notice 'returns'; return; raise notice 'not reached'; end $$",
    // A function in an argument is called once.
    "do $$ begin /* in ctx0_test_a */ raise notice 'counts %', ctx0_test_count(); raise notice '%', ctx0_test_count(); end $$",
    "do $$ begin raise debug 'not sent'; raise log 'neither'; raise notice 'sent'; end $$",
    // Speaking disturbs nothing that a block may ask of its last statement.
    "do $$ declare n bigint; begin
       update ctx0_test_a set note = upper(note);
       raise notice 'updated'; get diagnostics n = row_count; raise notice '% % %', n, found, (select min(note) from ctx0_test_a);
       perform 1 where false; raise notice '%', found;
     end $$",
    "do $$ declare raise int := 1; notice int; begin notice := raise; raise notice '% %', raise, notice; end $$",
];

/// Statements that PostgreSQL may skip, and says so.
const SKIPPED: &[&str] = &[
    "create table if not exists ctx0_test_a (other int)",
    "create table if not exists public.ctx0_test_a as select 1 as one",
    "CREATE INDEX IF NOT EXISTS ctx0_test_index ON ctx0_test_a (kind)",
    "create schema if not exists extensions",
    "create sequence if not exists ctx0_test_index",
    "create extension if not exists plpgsql",
    "alter table ctx0_test_a add column if not exists note text not null default 'x'",
    "alter table ctx0_test_a drop column if exists missing",
    "alter table if exists ctx0_test_missing add column if not exists note text",
    "alter type ctx0_test_mood add value if not exists 'good'",
    "drop table if exists ctx0_test_missing",
    "drop view -- if exists\n if exists public.ctx0_test_missing cascade",
    "drop index if /* not */ exists ctx0_test_missing",
    "drop function if exists ctx0_test_f(text)",
    "drop type if exists ctx0_test_missing",
    "drop schema if exists ctx0_test_missing",
    "drop sequence if exists ctx0_test_missing",
];

/// Where PostgreSQL's notice has other words than its error, the error's are told.
const OTHER_WORDS: &[(&str, &str)] = &[
    (
        "drop policy if exists ctx0_test_policy on ctx0_test_a",
        r#"policy "ctx0_test_policy" for table "ctx0_test_a" does not exist, skipping"#,
    ),
    (
        "drop trigger if exists ctx0_test_trigger on ctx0_test_a",
        r#"trigger "ctx0_test_trigger" for table "ctx0_test_a" does not exist, skipping"#,
    ),
    (
        "drop function if exists ctx0_test_f(int, int)",
        "function ctx0_test_f(integer, integer) does not exist, skipping",
    ),
    (
        "drop table if exists ctx0_test_missing, ctx0_test_missing_too",
        r#"table "ctx0_test_missing" does not exist, skipping"#,
    ),
];

/// Statements that do something, and say nothing.
const SILENT: &[&str] = &[
    "create table if not exists ctx0_test_b (id serial primary key)",
    "create index if not exists ctx0_test_other on ctx0_test_a (kind)",
    "alter table ctx0_test_a add column if not exists more text",
    "alter table if exists ctx0_test_a drop column if exists kind",
    "alter table if exists ctx0_test_a alter column note set statistics 500",
    "alter type ctx0_test_mood add value if not exists 'fair'",
    "drop view if exists ctx0_test_view",
    "drop function if exists ctx0_test_f(int)",
    "drop domain if exists ctx0_test_positive",
    "do $$ begin insert into ctx0_test_a (note) values ('raise notice ''x'''); end $$",
    "do $$ begin execute 'select 1 -- raise notice'; end $$",
    "select 'if not exists'",
];

#[tokio::test]
async fn a_preview_tells_the_notices_that_a_client_of_the_database_hears() {
    let project = Project::installed().await;
    project.sql(BEFORE).await;
    for (texts, skipped) in [(BLOCKS, false), (SKIPPED, true)] {
        for text in texts {
            let notices = compare(&project, text).await;
            assert!(!notices.is_empty(), "{text}");
            assert!(
                notices.iter().all(|notice| notice.skipped == skipped),
                "{text}"
            );
        }
    }
    for text in SILENT {
        assert_eq!(compare(&project, text).await, [], "{text}");
    }
    // And all of them in one version, each by its own statement.
    let all: Vec<_> = BLOCKS.iter().chain(SKIPPED).copied().collect();
    let all_at_once = all.join(";\n");
    let before = project.everything().await;
    preview(&project, &all_at_once).await;
    assert!(project.everything().await == before, "something is left");
    let notices = compare(&project, &all_at_once).await;
    let mut speakers: Vec<_> = notices.iter().map(|notice| notice.statement).collect();
    assert!(speakers.is_sorted());
    speakers.dedup();
    assert!(speakers.into_iter().eq(1..=all.len()));
}

/// PostgreSQL 18, where the machine's is 15.
#[tokio::test]
async fn the_embedded_postgres_is_heard_as_well() {
    let all: Vec<_> = BLOCKS
        .iter()
        .chain(SKIPPED)
        .chain(SILENT)
        .copied()
        .collect();
    let mut told_by = Vec::new();
    for project in [
        Project::empty().await,
        Project::on(Stack::embedded().await.unwrap()).await,
    ] {
        project.install().await;
        project.sql(BEFORE).await;
        let preview = preview(&project, &all.join(";\n")).await;
        assert!(preview.succeeds(), "{preview}");
        told_by.push(told(&preview.versions[0].notices));
    }
    assert!(told_by[0].lines().count() > BLOCKS.len() + SKIPPED.len());
    assert_eq!(told_by[0], told_by[1]);
}

#[tokio::test]
async fn a_version_that_fails_tells_what_it_said_before() {
    let project = Project::installed().await;
    project.sql(BEFORE).await;
    let text = "do $$ begin raise notice 'first'; end $$;

        -- The second.
        do $$
        begin
          delete from ctx0_test_a;
          raise warning 'there are % rows', (select count(*) from ctx0_test_a)
            using hint = 'Add some.';
          insert into ctx0_test_missing values (1);
        end $$;
        do $$ begin raise notice 'never'; end $$;";
    let manager = project.manager(migrations(&[("001_test", text)]));
    let preview = manager.preview().await.unwrap();
    let notices: Vec<_> = preview.versions[0]
        .notices
        .iter()
        .map(|said| (said.level, said.message.as_str(), said.statement, said.line))
        .collect();
    assert_eq!(
        notices,
        [
            (NoticeLevel::Notice, "first", 1, Some(1)),
            (NoticeLevel::Warning, "there are 0 rows", 2, Some(4)),
        ]
    );
    let shown = preview.to_string();
    let lines = "  notice: first\n  warning: there are 0 rows\n    hint: Add some.\n  fails: 001_test.sql, statement 2, line 4: ";
    assert!(shown.contains(lines), "{shown}");

    // It is the failure of the block itself, to the line.
    let failure = preview.failure().unwrap();
    assert!(first_line(failure).contains("line 6 at SQL statement"));
    fails_like(&manager, failure).await;
}

/// Applying fails as the rehearsal did.
async fn fails_like(manager: &SchemaVersionManager, rehearsed: &MigrationError) {
    let error = manager.apply_all_pending().await.unwrap_err().error;
    let Error::MigrationFailed(applied) = &error else {
        panic!("{error}")
    };
    assert_eq!(rehearsed.to_string(), applied.to_string());
    assert_eq!(first_line(rehearsed), first_line(applied));
}

fn first_line(failure: &MigrationError) -> &str {
    failure.context.as_ref().unwrap().lines().next().unwrap()
}

/// It fails once while it is heard, and there is no time for another run.
#[tokio::test]
async fn a_block_that_fails_late_is_told_with_its_own_error() {
    let project = Project::installed().await;
    project
        .sql("alter function public.ctx0_rehearse_migrations(jsonb, integer) set statement_timeout = '3s'")
        .await;
    project.stack.reload_schema().await.unwrap();
    let late = "do $$ begin raise notice 'slow'; perform pg_sleep(2); perform 1 / 0; end $$;";
    let preview = preview(&project, late).await;
    let failure = preview.failure().unwrap();
    assert_eq!(
        (failure.sqlstate.as_str(), failure.message.as_str()),
        ("22012", "division by zero")
    );
    assert_eq!(told(&preview.versions[0].notices), "NOTICE:  slow\n");
    // One that is only slow is told so.
    let slow = "do $$ begin raise notice 'slow'; perform pg_sleep(60); end $$;";
    let seen = self::preview(&project, slow).await;
    assert_eq!(seen.failure().unwrap().sqlstate, "57014");
}

/// A `raise` that fails must fail in the rehearsal too.
#[tokio::test]
async fn what_is_wrong_with_a_raise_is_told_as_it_is() {
    let project = Project::installed().await;
    project.sql(BEFORE).await;
    for (text, sqlstate) in [
        ("raise notice '% and %', 1;", "42601"),
        ("raise notice 'nothing', 1;", "42601"),
        ("raise notice '%', 1 / 0;", "22012"),
        ("raise notice '%', missing;", "42703"),
        ("raise notice 'x' using hint = null;", "22004"),
        ("raise notice 'x' using message = 'twice';", "42601"),
        ("raise notice 'x' using hint = 'a', hint = 'b';", "42601"),
        (
            "raise notice 'x' using message = 'a', flavour = 'b';",
            "42601",
        ),
        ("raise notice 'x' raise notice 'y';", "42601"),
    ] {
        let text = format!("do $$ begin {text} end $$");
        let manager = project.manager(migrations(&[("001_test", &text)]));
        let preview = manager.preview().await.unwrap();
        let failure = preview.failure().unwrap_or_else(|| panic!("{text}"));
        assert_eq!(failure.sqlstate, sqlstate, "{text}");
        fails_like(&manager, failure).await;
    }
}

/// What cannot be heard is run all the same.
#[tokio::test]
async fn a_block_that_cannot_be_heard_is_run_as_it_is() {
    let project = Project::installed().await;
    project.sql(BEFORE).await;
    for text in [
        // PL/pgSQL lets an expression go on as a query.
        "do $$ begin raise notice '%', count(*) from ctx0_test_a; delete from ctx0_test_a; end $$",
        "do $$ begin raise notice 'x' using errcode = '01000'; delete from ctx0_test_a; end $$",
        "do $$ declare ctx0_heard int; begin raise notice 'x'; delete from ctx0_test_a; end $$",
        "do $$ begin raise notice 'a'\n 'b'; delete from ctx0_test_a; end $$",
        "do $$ begin raise notice e'\\x25\\x25'; delete from ctx0_test_a; end $$",
        "do $$ #variable_conflict use_column
         begin raise notice 'x'; delete from ctx0_test_a; end $$",
        "create function ctx0_test_say() returns void language plpgsql as $$ begin raise notice 'x'; delete from ctx0_test_a; end $$;
         select ctx0_test_say()",
    ] {
        let preview = preview(&project, text).await;
        assert!(preview.succeeds(), "{text}\n{preview}");
        assert_eq!(preview.versions[0].notices, [], "{text}");
        assert_eq!(preview.versions[0].rows[0].deleted, 7, "{text}");
    }
}

#[tokio::test]
async fn a_block_that_never_stops_speaking_is_cut_short() {
    let project = Project::installed().await;
    let text = "do $$ begin for i in 1..20000 loop raise notice 'row % of %', i, repeat('x', 3000); end loop; end $$";
    let preview = preview(&project, text).await;
    let notices = &preview.versions[0].notices;
    let first = format!("row 1 of {}", "x".repeat(1999));
    assert_eq!(notices[0].message, first, "the argument is cut");
    assert_eq!(notices.len(), 5, "8 KiB are full");
}

#[tokio::test]
async fn a_way_back_is_heard_where_this_build_knows_it() {
    let project = Project::installed().await;
    let build = |down: &'static str| {
        let manifest = r#"{"currentVersion": 1, "migrations": [
            {"version": 1, "name": "001_a", "description": "A", "file": "001_a.sql", "down": "001_a.down.sql"}]}"#;
        let files = [
            ("manifest.json", manifest),
            ("001_a.sql", "create table ctx0_test_a (id int);"),
            ("001_a.down.sql", down),
        ];
        project.manager(Migrations::embedded(&files).unwrap())
    };
    let applied = build("do $$ begin raise notice 'going'; drop table ctx0_test_a; end $$");
    applied.apply_all_pending().await.unwrap();
    let seen = applied.preview_rollback(Version::ZERO).await.unwrap();
    assert_eq!(told(&seen.versions[0].notices), "NOTICE:  going\n");

    // What runs is what was stored, so what another build would say is not what is said.
    let other = build("do $$ begin raise notice 'another'; drop table ctx0_test_a; end $$");
    let seen = other.preview_rollback(Version::ZERO).await.unwrap();
    assert_eq!(seen.versions[0].notices, []);
    assert_eq!(seen.versions[0].changes.len(), 1, "{seen}");
}

#[tokio::test]
async fn a_hearing_that_was_damaged_on_the_way_does_not_run() {
    let project = Project::installed().await;
    let rest = Rest::of(&project);
    let sql = "do $$ begin raise notice 'x'; end $$";
    for (heard, outcome) in [("select 1", "rehearsed"), ("select 2", "conflict")] {
        let step = json!({
            "action": "apply", "version": 1, "name": "001_a", "description": "A",
            "sql": [sql], "checksum": sha256(sql),
            "hearing": {"1": {"noting": heard}}, "hearing_checksum": sha256("select 1"),
        });
        let answer = rest
            .call(
                "service_role",
                "ctx0_rehearse_migrations",
                &json!({"p_steps": [step]}),
            )
            .await;
        assert_eq!(answer.body["outcome"], outcome, "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_skipped_is_told_in_the_words_of_the_error() {
    let project = Project::installed().await;
    project.sql(BEFORE).await;
    for (text, words) in OTHER_WORDS {
        let preview = preview(&project, text).await;
        let notices = preview.versions[0].notices.iter();
        let told: Vec<_> = notices
            .map(|notice| (notice.skipped, notice.message.as_str()))
            .collect();
        assert_eq!(told, [(true, *words)], "{text}");
    }
}

/// Compares what `psql` hears with what the preview tells, and returns that.
async fn compare(project: &Project, text: &str) -> Vec<Notice> {
    let preview = preview(project, text).await;
    assert!(preview.succeeds(), "{text}\n{preview}");
    let notices = preview.versions[0].notices.clone();
    assert_eq!(told(&notices), heard(project, text), "{text}");
    notices
}

async fn preview(project: &Project, text: &str) -> Preview {
    let manager = project.manager(migrations(&[("001_test", text)]));
    manager.preview().await.unwrap()
}

/// What `psql` writes of the notices of a text that is run and taken back.
fn heard(project: &Project, text: &str) -> String {
    let mut psql = Command::new("psql")
        .args(["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1"])
        .arg(
            project
                .stack
                .database_url()
                .expect("the database's address"),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql runs");
    let script = format!("begin;\nset search_path = public, extensions;\n{text}\n;\nrollback;");
    let mut input = psql.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    let output = psql.wait_with_output().unwrap();
    String::from_utf8(output.stderr).unwrap()
}

/// The same as `psql` writes it.
fn told(notices: &[Notice]) -> String {
    let mut text = String::new();
    for notice in notices {
        let level = match notice.level {
            NoticeLevel::Info => "INFO",
            NoticeLevel::Notice => "NOTICE",
            NoticeLevel::Warning => "WARNING",
            _ => panic!("{notice:?}"),
        };
        text += &format!("{level}:  {}\n", notice.message);
        for (what, more) in [("DETAIL", &notice.detail), ("HINT", &notice.hint)] {
            if let Some(more) = more {
                text += &format!("{what}:  {more}\n");
            }
        }
    }
    text
}
