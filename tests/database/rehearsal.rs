//! A preview tells what would happen, and leaves nothing behind.

use std::{env, time::Duration};

use ctx0_schema::{
    Action, Backup, Error, LockMode, Migrations, ObjectKind, Preview, PreviewState, Scheduler,
    Unfinished, WarningKind,
};
use ctx0_stack::Options;
use ctx0_stack::project::{LONGEST, Project, migrations, version, warnings};
use fastrand::Rng;
use serde_json::{Value, json};

use crate::rest::Rest;

/// How many generated migrations are tried unless `CTX0_REHEARSALS` says otherwise.
const REHEARSALS: u64 = 200;

#[tokio::test]
async fn a_preview_of_everything_shows_it_and_applying_it_does_the_same() {
    let project = Project::installed().await;
    let manager = project.bundled();
    let before = project.everything().await;
    let preview = manager.preview().budget(LONGEST).await.unwrap();
    assert_eq!(project.everything().await, before);

    assert!(preview.succeeds());
    assert_eq!(
        (preview.current_version.get(), preview.target_version.get()),
        (0, 2)
    );
    let [first, second] = &preview.versions[..] else {
        panic!("{preview}")
    };
    assert_eq!((first.action, first.version.get()), (Action::Apply, 1));
    assert!(first.execution_ms.is_some());
    let mut created: Vec<_> = first
        .changes
        .iter()
        .map(|change| {
            assert_eq!(change.before, None);
            format!("{} {}", change.kind, change.name)
        })
        .collect();
    created.sort();
    assert_eq!(
        created,
        [
            "function public.ctx0_set_updated_at()",
            "table public.ctx0_entries",
            "table public.ctx0_queries",
            "table public.ctx0_sessions",
        ]
    );
    // The installation has made the ledger already.
    assert!(second.changes.is_empty(), "{preview}");
    assert!(warnings(&preview).is_empty(), "{preview}");
    assert_eq!(preview.backup, None);

    let report = manager.apply_all_pending().agreed_to(preview.token);
    assert_eq!(report.await.unwrap().current_version.get(), 2);
    let nothing = manager.preview().budget(LONGEST).await.unwrap();
    assert!(nothing.versions.is_empty());
    assert_eq!(nothing.to_string(), "v2: nothing to do\n");
}

#[tokio::test]
async fn a_preview_shows_rules_publications_and_the_replica_identity() {
    let project = Project::installed().await;
    let first = "create table public.ctx0_test_notes (id int primary key);
                 alter table public.ctx0_test_notes replica identity full;
                 alter publication supabase_realtime add table public.ctx0_test_notes;";
    let second =
        "create rule ctx0_test_keep as on delete to public.ctx0_test_notes do instead nothing;
                  alter publication supabase_realtime drop table public.ctx0_test_notes;
                  alter table public.ctx0_test_notes replica identity default;";
    let both = migrations(&[("001_a", first), ("002_b", second)]);
    let preview = project
        .manager(both)
        .preview()
        .budget(LONGEST)
        .await
        .unwrap();
    let [change] = &preview.versions[1].changes[..] else {
        panic!("{preview}")
    };
    for line in [
        "-option replica identity full",
        "-publication supabase_realtime table",
        "+rule ctx0_test_keep on delete DO INSTEAD NOTHING",
    ] {
        assert!(
            change.diff.lines().any(|shown| shown == line),
            "{line}\n{}",
            change.diff
        );
    }
}

#[tokio::test]
async fn a_preview_shows_definitions_before_and_after_locks_rewrites_and_rows() {
    let project = Project::installed().await;
    let first = "create table public.ctx0_test_notes (id int primary key, note text, spare text);
                 alter table public.ctx0_test_notes enable row level security;
                 insert into public.ctx0_test_notes values (1, 'a', 'x'), (2, 'b', 'y');";
    let second = "alter table public.ctx0_test_notes alter column id type bigint;
                  alter table public.ctx0_test_notes drop column spare;
                  alter table public.ctx0_test_notes rename column note to text;
                  alter table public.ctx0_test_notes add constraint ctx0_test_short check (length(text) < 10);
                  delete from public.ctx0_test_notes where id = 2;";
    let manager = project.manager(migrations(&[("001_notes", first), ("002_change", second)]));
    manager.apply_migration(version(1)).await.unwrap();

    let preview = manager.preview().budget(LONGEST).await.unwrap();
    let [seen] = &preview.versions[..] else {
        panic!("{preview}")
    };
    let [change] = &seen.changes[..] else {
        panic!("{preview}")
    };
    assert_eq!(
        change.diff,
        "--- table public.ctx0_test_notes\n\
         +++ table public.ctx0_test_notes\n\
         @@ -1,7 +1,7 @@\n\
         \u{20}option row level security on\n\
         -column id integer not null\n\
         -column note text\n\
         -column spare text\n\
         +column id bigint not null\n\
         +column text text\n\
         \u{20}constraint ctx0_test_notes_pkey PRIMARY KEY (id)\n\
         +constraint ctx0_test_short CHECK ((length(text) < 10))\n\
         \u{20}grant anon all\n\
         \u{20}grant authenticated all\n"
    );
    assert_eq!(seen.locks.len(), 1);
    assert_eq!(
        (seen.locks[0].relation.as_str(), seen.locks[0].mode),
        ("public.ctx0_test_notes", LockMode::AccessExclusive)
    );
    assert_eq!(seen.rewrites.len(), 1);
    assert!(seen.rewrites[0].bytes.is_some_and(|bytes| bytes >= 8192));
    assert_eq!(seen.rows.len(), 1);
    assert_eq!(
        (
            seen.rows[0].inserted,
            seen.rows[0].updated,
            seen.rows[0].deleted
        ),
        (0, 0, 1)
    );
    let kinds: Vec<_> = warnings(&preview)
        .iter()
        .map(|warning| warning.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            WarningKind::DataLost,
            WarningKind::DataLost,
            WarningKind::Rewritten,
            WarningKind::Locked,
            WarningKind::Renamed,
        ],
        "{preview}"
    );
    let advice = preview.backup.as_ref().expect("data is lost");
    assert_eq!(advice.level, Backup::Recommended);
    assert!(advice.instructions.contains("pg_dump"));

    let text = preview.to_string();
    for line in [
        "v1 → v2, tested on this database and undone",
        "  ! deletes the column spare of ctx0_test_notes and the data in it",
        "  locks ctx0_test_notes (AccessExclusiveLock): can't be read or changed meanwhile",
        "  ctx0_test_notes: 1 row deleted",
        "Back up the database first (recommended):",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    assert!(!text.contains('\u{1b}'));
    let coloured = preview.in_colour().to_string();
    assert!(coloured.contains("\u{1b}[31m-column spare text\u{1b}[0m"));
}

#[tokio::test]
async fn a_version_that_would_fail_names_its_place() {
    let project = Project::installed().await;
    let fine = "create table public.ctx0_test_a (id int primary key);";
    let broken =
        "insert into public.ctx0_test_a values (1);\n\ninsert into public.ctx0_test_a values (1);";
    let after = "select 1;";
    let manager = project.manager(migrations(&[
        ("001_fine", fine),
        ("002_broken", broken),
        ("003_after", after),
    ]));
    let before = project.everything().await;
    let preview = manager.preview().budget(LONGEST).await.unwrap();
    assert_eq!(project.everything().await, before);
    let states: Vec<_> = preview.versions.iter().map(|seen| seen.state).collect();
    assert_eq!(
        states,
        [
            PreviewState::Tested,
            PreviewState::Failed,
            PreviewState::NotTested
        ]
    );
    let failure = preview.failure().expect("it fails");
    assert_eq!(
        (
            failure.version.get(),
            failure.file.as_deref(),
            failure.statement,
            failure.line
        ),
        (2, Some("002_broken.sql"), Some(2), Some(3))
    );
    assert_eq!(failure.sqlstate, "23505");
    assert!(
        failure
            .detail
            .as_deref()
            .is_some_and(|detail| detail.contains("(id)=(1)"))
    );
    assert!(failure.context.is_some());
    let text = preview.to_string();
    assert!(
        text.contains("  fails: 002_broken.sql, statement 2, line 3: "),
        "{text}"
    );
}

/// Each version has a transaction of its own when it is applied, so also what is deferred in one
/// must be as it is then.
#[tokio::test]
async fn what_a_version_defers_or_sets_does_not_reach_the_next_one() {
    let project = Project::installed().await;
    let manager = project.manager(migrations(&[
        (
            "001_deferred",
            "create table ctx0_test_a (id int primary key, b int);
             create table ctx0_test_b (id int primary key, a int references ctx0_test_a deferrable initially deferred);
             set search_path = pg_catalog;
             create temp table ctx0_test_temp (a int);",
        ),
        (
            "002_circle",
            "insert into ctx0_test_b values (1, 1);
             insert into ctx0_test_a values (1, 1);
             create temp table ctx0_test_temp (b int);",
        ),
    ]));
    let preview = manager.preview().budget(LONGEST).await.unwrap();
    assert!(preview.succeeds(), "{preview}");
    manager.apply_all_pending().await.unwrap();
}

#[tokio::test]
async fn consent_holds_for_what_was_seen_and_nothing_else() {
    let project = Project::installed().await;
    let files = [("001_a", "select 1;"), ("002_b", "select 2;")];
    let manager = project.manager(migrations(&files));
    let seen = manager.preview().budget(LONGEST).await.unwrap().token;

    let another_text = project.manager(migrations(&[files[0], ("002_b", "select 3;")]));
    let one_more = project.manager(migrations(&[files[0], files[1], ("003_c", "select 3;")]));
    for other in [&another_text, &one_more] {
        let error = other.apply_all_pending().agreed_to(seen.clone()).await;
        assert!(matches!(error.unwrap_err().error, Error::PreviewOutdated));
    }
    assert_eq!(project.ledger().await, [0; 0]);
    manager.apply_migration(version(1)).await.unwrap();
    let error = manager.apply_all_pending().agreed_to(seen).await;
    assert!(matches!(error.unwrap_err().error, Error::PreviewOutdated));
    assert_eq!(project.ledger().await, [1]);

    let seen = manager.preview().budget(LONGEST).await.unwrap().token;
    let sent: ctx0_schema::PreviewToken =
        serde_json::from_value(serde_json::to_value(&seen).unwrap()).unwrap();
    manager.apply_all_pending().agreed_to(sent).await.unwrap();
    assert_eq!(project.ledger().await, [1, 2]);
}

#[tokio::test]
async fn a_required_backup_must_be_acknowledged_and_who_did_is_recorded() {
    let project = Project::installed().await;
    let manifest = r#"{"currentVersion": 2, "migrations": [
        {"version": 1, "name": "001_a", "description": "A", "file": "001_a.sql", "backup": "recommended"},
        {"version": 2, "name": "002_b", "description": "B", "file": "002_b.sql", "backup": "required"}]}"#;
    let files = [
        ("manifest.json", manifest),
        ("001_a.sql", "select 1;"),
        ("002_b.sql", "select 2;"),
    ];
    let manager = project.manager(Migrations::embedded(&files).unwrap());
    // There is no data yet that the second one could lose.
    let advice = manager.check_for_updates().await.unwrap().backup.unwrap();
    assert_eq!(advice.level, Backup::Recommended);
    assert_eq!(
        manager.preview().budget(LONGEST).await.unwrap().backup,
        Some(advice)
    );

    manager.apply_migration(version(1)).await.unwrap();
    let advice = manager.check_for_updates().await.unwrap().backup.unwrap();
    assert_eq!(advice.level, Backup::Required);
    assert_eq!(
        manager.preview().budget(LONGEST).await.unwrap().backup,
        Some(advice)
    );

    let error = manager.apply_all_pending().await.unwrap_err();
    assert!(
        matches!(error.error, Error::BackupRequired { version, .. } if version.get() == 2),
        "{error}"
    );
    assert_eq!(project.ledger().await, [1], "nothing was done");
    manager
        .apply_all_pending()
        .backup_made_by("Ada")
        .await
        .unwrap();
    let who = "select string_agg(coalesce(backup_by, '-'), ' ' order by version) from ctx0_private.ctx0_schema_attempts where outcome = 'applied'";
    assert_eq!(project.value(who).await, "- Ada");
    assert_eq!(
        manager
            .status()
            .await
            .unwrap()
            .last_attempt
            .unwrap()
            .backup_by
            .as_deref(),
        Some("Ada")
    );
}

#[tokio::test]
async fn tables_that_were_made_by_hand_need_the_backup_of_every_version() {
    let project = Project::installed().await;
    let manifest = r#"{"currentVersion": 2, "migrations": [
        {"version": 1, "name": "001_a", "description": "A", "file": "001_a.sql"},
        {"version": 2, "name": "002_b", "description": "B", "file": "002_b.sql", "backup": "required"}]}"#;
    let files = [
        ("manifest.json", manifest),
        (
            "001_a.sql",
            "create table if not exists public.ctx0_a (id int, note text);",
        ),
        ("002_b.sql", "alter table public.ctx0_a drop column note;"),
    ];
    let manager = project.manager(Migrations::embedded(&files).unwrap());
    project
        .sql("create table public.ctx0_a (id int, note text); insert into public.ctx0_a values (1, 'mine')")
        .await;
    let preview = manager.preview().budget(LONGEST).await.unwrap();
    assert_eq!(preview.backup.unwrap().level, Backup::Required);
    let scheduler = Scheduler::builder(manager.clone()).start();
    let check = scheduler.check_now().await.unwrap();
    assert_eq!(check.backup.as_ref().unwrap().level, Backup::Required);
    let error = manager.apply_all_pending().await.unwrap_err();
    assert!(
        matches!(error.error, Error::BackupRequired { version, .. } if version.get() == 2),
        "{error}"
    );
    assert_eq!(
        project.value("select note from public.ctx0_a").await,
        "mine"
    );

    // Without them, nothing can be lost.
    project.sql("drop table public.ctx0_a").await;
    manager.apply_all_pending().await.unwrap();
    assert_eq!(project.ledger().await, [1, 2]);
}

#[tokio::test]
async fn nothing_is_left_of_any_rehearsal() {
    let project = with_data().await;
    let rest = Rest::of(&project);
    let mut figures = [0; 3];
    let mut before = (project.everything().await, session(&rest).await);
    for seed in seeds() {
        let migrations = generated(&mut Rng::with_seed(seed));
        let preview = project
            .manager(migrations.clone())
            .preview()
            .budget(LONGEST)
            .await;
        let preview =
            preview.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", texts(&migrations)));
        figures[usize::from(preview.succeeds())] += 1;
        let after = (project.everything().await, session(&rest).await);
        let changed = changed(&before.0, &after.0);
        // A sequence that the migration first moves and then gives a new file is only named.
        let mut named: Vec<_> = preview
            .sequences
            .iter()
            .map(|moved| moved.relation.as_str())
            .collect();
        named.sort_unstable();
        let mut moved: Vec<_> = changed
            .iter()
            .filter_map(|line| {
                line.split_once(" <row")
                    .map(|(name, _)| format!("public.{name}"))
            })
            .collect();
        moved.sort_unstable();
        moved.dedup();
        assert!(
            named == moved && changed.len() == 2 * moved.len() && after.1 == before.1,
            "CTX0_REHEARSAL_SEED={seed} left something behind: {changed:?}\n{}\n{preview}",
            texts(&migrations),
        );
        figures[2] += u64::from(!moved.is_empty());
        before = after;
    }
    let [failed, succeeded, moved] = figures;
    println!("{failed} failed, {succeeded} succeeded, {moved} moved a sequence");
    if env::var_os("CTX0_REHEARSAL_SEED").is_none() {
        let tenth = (failed + succeeded) / 10;
        assert!(
            failed >= tenth && succeeded >= tenth && moved <= tenth / 2,
            "{figures:?}"
        );
    }
}

/// What a preview says and what applying does are the same.
#[tokio::test]
async fn what_was_previewed_is_what_happens() {
    for seed in seeds().step_by(20) {
        let project = with_data().await;
        let migrations = generated(&mut Rng::with_seed(seed));
        let manager = project.manager(migrations.clone());
        let preview = manager
            .preview()
            .budget(Duration::from_secs(25))
            .await
            .unwrap();
        let end = manager.apply_all_pending().await;
        assert_eq!(
            end.is_ok(),
            preview.succeeds(),
            "seed {seed}: {end:?}\n{preview}"
        );
        for seen in preview
            .versions
            .iter()
            .filter(|seen| seen.state == PreviewState::Tested)
        {
            assert!(project.ledger().await.contains(&seen.version.get()));
        }
        if let Some(last) = last_definitions(&preview) {
            for (name, parts) in last {
                let there = format!("select (to_regclass('{name}') is not null)::text");
                assert_eq!(
                    project.value(&there).await == "true",
                    parts,
                    "seed {seed}: {name}"
                );
            }
        }
    }
}

/// Each table that the preview speaks of, and whether it is there at the end.
fn last_definitions(preview: &Preview) -> Option<Vec<(String, bool)>> {
    let mut tables = std::collections::BTreeMap::new();
    for change in preview.versions.iter().flat_map(|seen| &seen.changes) {
        if change.kind == ObjectKind::Table {
            if let Some(before) = &change.before {
                tables.insert(before.name.clone(), false);
            }
            if let Some(after) = &change.after {
                tables.insert(after.name.clone(), true);
            }
        }
    }
    (!tables.is_empty()).then(|| tables.into_iter().collect())
}

#[tokio::test]
async fn a_rehearsal_ends_with_the_time_that_it_may_take() {
    let project = with_data().await;
    let before = project.everything().await;
    let slow = "update ctx0_test_a set note = 'changed'; select pg_sleep(60);";
    let manager = project.manager(migrations(&[("001_slow", slow)]));
    let preview = manager
        .preview()
        .budget(Duration::from_millis(400))
        .await
        .unwrap();
    assert_eq!(project.everything().await, before);
    assert!(preview.failure().is_none() && !preview.succeeds());
    assert_eq!(
        preview.versions[0].state,
        PreviewState::NotFinished {
            reason: Unfinished::BudgetUsed
        }
    );
    let said: Vec<_> = preview.warnings().map(|warning| warning.kind).collect();
    assert_eq!(said, [WarningKind::Slow]);
}

/// What a session keeps beyond its transactions: of the one that the REST layer has.
async fn session(rest: &Rest<'_>) -> Value {
    let answer = rest.call("service_role", "user_session", &json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// A project with one connection, tables with rows, and what hangs on them.
async fn with_data() -> Project {
    let options = Options {
        pool: 1,
        ..Options::default()
    };
    let project = Project::installed_with(options).await;
    project.sql(DATA).await;
    project
        .stack
        .reload_schema()
        .await
        .expect("it is read again");
    project
}

const DATA: &str = r"
create table public.ctx0_test_a (id serial primary key, note text default 'none', number int);
insert into public.ctx0_test_a (note, number) select 'note ' || i, i from generate_series(1, 50) i;
create table public.ctx0_test_b (id bigint generated always as identity primary key,
  a int references public.ctx0_test_a deferrable initially deferred, data jsonb);
insert into public.ctx0_test_b (a, data) select i, '{}' from generate_series(1, 20) i;
create index ctx0_test_a_note_idx on public.ctx0_test_a (note);
create sequence public.ctx0_test_numbers;
create view public.ctx0_test_view as select id, note from public.ctx0_test_a;
create function public.ctx0_test_f(a int) returns int language sql as 'select a';
create function public.ctx0_test_refill() returns void language plpgsql as
  $$ begin perform setval('public.ctx0_test_' || 'b_id_seq', 900), nextval('public.ctx0_test_' || 'cached'); end $$;
create sequence public.ctx0_test_cached cache 10;
create function public.user_session() returns jsonb language plpgsql as $$ begin return jsonb_build_object(
  'settings', (select jsonb_object_agg(name, setting) from pg_settings 
    where name not in ('application_name', 'transaction_isolation', 'role')
      -- Those of an extension are there once it has been loaded, whatever became of it.
      and name !~ '\.'),
  'own', coalesce(current_setting('ctx0.test', true), ''),
  'prepared', (select count(*) from pg_prepared_statements where from_sql),
  'cursors', (select count(*) from pg_cursors where is_holdable),
  'channels', (select count(*) from pg_listening_channels()),
  'temporary', (select count(*) from pg_class where relpersistence = 't'),
  'locks', (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())); end $$;
";

/// What migrations are made of. Some fail, always or after others.
const STATEMENTS: &[&str] = &[
    "alter table ctx0_test_a add column extra text not null default 'x'",
    "alter table ctx0_test_a alter column number type bigint",
    "alter table ctx0_test_a alter column note set not null",
    "alter table ctx0_test_a drop column number",
    "alter table ctx0_test_a rename to ctx0_test_c",
    "alter table ctx0_test_b drop column data",
    "alter table ctx0_test_b add constraint ctx0_test_check check (a > 0)",
    "alter table ctx0_test_b enable row level security",
    "create policy ctx0_test_policy on ctx0_test_b using (true)",
    "create table ctx0_test_new (id serial primary key, at timestamptz default now())",
    "insert into ctx0_test_new default values",
    "insert into ctx0_test_a (note) select 'more' from generate_series(1, 5)",
    "insert into ctx0_test_b (a) values (1), (2)",
    "insert into ctx0_test_b (a) values (999)",
    "insert into ctx0_test_a (id) values (1)",
    "update ctx0_test_a set note = upper(note)",
    "delete from ctx0_test_b where a > 10",
    "delete from ctx0_test_a where id = 1",
    "truncate ctx0_test_b",
    "truncate ctx0_test_a restart identity cascade",
    "drop table ctx0_test_b",
    "drop table ctx0_test_a cascade",
    "drop view ctx0_test_view",
    "create or replace view ctx0_test_view as select id, note, 1 as one from ctx0_test_a",
    "create materialized view ctx0_test_mat as select count(*) from ctx0_test_a",
    "create or replace function ctx0_test_f(a int) returns int language sql as 'select a + 1'",
    "create trigger ctx0_test_trigger before update on ctx0_test_b for each row execute function suppress_redundant_updates_trigger()",
    "create type ctx0_test_mood as enum ('good', 'bad')",
    "create domain ctx0_test_positive as int check (value > 0)",
    "create index on ctx0_test_b (a)",
    "drop index ctx0_test_a_note_idx",
    "cluster ctx0_test_a using ctx0_test_a_pkey",
    "reindex table ctx0_test_a",
    "analyze ctx0_test_a",
    "comment on table ctx0_test_a is 'a'",
    "grant select on ctx0_test_a to anon",
    "revoke all on ctx0_test_a from service_role",
    "alter default privileges in schema public grant select on tables to anon",
    "create schema ctx0_test_schema",
    "create extension if not exists pg_trgm schema extensions",
    "select nextval('ctx0_test_numbers')",
    "select setval('ctx0_test_numbers', 1000)",
    "alter sequence ctx0_test_numbers increment 10 restart 500",
    "drop sequence ctx0_test_numbers",
    "do $$ begin perform setval('public.ctx0_test_' || 'numbers', 77); end $$",
    "do $$ declare s regclass; begin for s in select seqrelid from pg_sequence loop perform setval(s, 3); end loop; end $$",
    "do $$ begin execute 'insert into public.ctx0_test' || '_a (note) values (1)'; end $$",
    "select ctx0_test_refill()",
    "set statement_timeout = '1min'",
    "set search_path = extensions",
    "select set_config('ctx0.test', 'left', false)",
    "select pg_advisory_lock(42)",
    "prepare ctx0_test_statement as select 1",
    "listen ctx0_test_channel",
    "notify ctx0_test_channel",
    "create temp table ctx0_test_temp (a int)",
    "declare ctx0_test_cursor cursor with hold for select 1",
    "do $$ begin insert into ctx0_test_a (note) values ('in a block'); raise exception 'no'; exception when others then null; end $$",
    "do $$ begin insert into ctx0_test_a (note) values ('spoken'); raise notice '% rows', (select count(*) from ctx0_test_a); end $$",
    "do $$ begin delete from ctx0_test_b; raise warning 'no rows'; raise exception 'no'; end $$",
    "create table if not exists ctx0_test_b (c text)",
    "alter table ctx0_test_a add column if not exists note text",
    "do $$ begin perform lo_from_bytea(0, 'large'); end $$",
    "select 1 / 0",
    "select * from ctx0_test_missing",
    "do $$ begin raise exception using errcode = '40001', message = 'again'; end $$",
    "do $$ begin raise sqlstate 'CTX00'; end $$",
    "set constraints all deferred",
];

/// One to three versions out of these statements.
fn generated(rng: &mut Rng) -> Migrations {
    let files: Vec<_> = (1..=rng.u32(1..=3))
        .map(|number| {
            let statements: Vec<_> = (0..rng.usize(1..=4))
                .map(|_| *rng.choice(STATEMENTS).expect("a statement"))
                .collect();
            (format!("{number:03}_test"), statements.join(";\n"))
        })
        .collect();
    migrations(&files)
}

fn texts(migrations: &Migrations) -> String {
    migrations
        .iter()
        .map(|migration| format!("-- {}\n{}\n", migration.name(), migration.sql()))
        .collect()
}

fn changed<'l>(before: &'l [String], after: &'l [String]) -> Vec<&'l String> {
    let gone = before.iter().filter(|line| !after.contains(line));
    gone.chain(after.iter().filter(|line| !before.contains(line)))
        .collect()
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name| {
        let text = env::var(name).ok()?;
        Some(
            text.parse()
                .unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
        )
    };
    match number("CTX0_REHEARSAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CTX0_REHEARSALS").unwrap_or(REHEARSALS),
    }
}
