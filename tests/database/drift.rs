//! Whether the schema is still as the last change left it.

use std::process::{Command, Stdio};

use ctx0_schema::Verification;
use ctx0_stack::Stack;

use crate::support::{Project, migrations, version};

const SCHEMA: &str = r#"
create table public.ctx0_test_a (
  id bigint generated always as identity primary key,
  kind varchar(20) not null default 'note' check (kind in ('note', 'fact', 'file')),
  body text collate "C" not null,
  number numeric(10, 2) default 1.5,
  upper text generated always as (upper(body)) stored,
  tags text[] not null default '{}',
  at timestamptz not null default now()
);
create table public.ctx0_test_b (
  a bigint not null references public.ctx0_test_a on delete cascade,
  day date not null,
  unique (a, day)
) partition by range (day);
create table public.ctx0_test_b_2026 partition of public.ctx0_test_b for values from ('2026-01-01') to ('2027-01-01');
create unique index ctx0_test_a_kind_idx on public.ctx0_test_a (lower(kind), (number + 1)) where kind <> 'file' and kind in ('note', 'fact');
create view public.ctx0_test_view with (security_invoker = true) as
  select a.id, a.kind, count(b.day) as days from public.ctx0_test_a a left join public.ctx0_test_b b on b.a = a.id
   where a.kind in ('note', 'fact') group by a.id;
create type public.ctx0_test_mood as enum ('good', 'bad');
create domain public.ctx0_test_short as varchar(9) check (value in ('a', 'b'));
create sequence public.ctx0_test_numbers increment 5;
create function public.ctx0_test_f(a int, b text default 'x') returns text language sql stable set search_path = '' as $f$
  select $1 || $2
$f$;
create trigger ctx0_test_trigger before update on public.ctx0_test_a for each row execute function suppress_redundant_updates_trigger();
alter table public.ctx0_test_a enable row level security;
create policy ctx0_test_policy on public.ctx0_test_a for select to authenticated using (kind in ('note', 'fact'));
revoke all on public.ctx0_test_a from anon;
grant select (id) on public.ctx0_test_a to anon;
"#;

async fn set_up(project: &Project) {
    let manager = project.manager(migrations(&[("001_all", SCHEMA)]));
    manager.apply_all_pending().await.unwrap();
}

async fn verify(project: &Project) -> Verification {
    project
        .manager(migrations(&[("001_all", SCHEMA)]))
        .verify()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_schema_that_nobody_touched_is_unchanged() {
    let project = Project::installed().await;
    let manager = project.bundled();
    manager.apply_all_pending().await.unwrap();
    let unchanged = manager.verify().await.unwrap();
    assert_eq!(unchanged.to_string(), "the schema is as version 2 left it");
    // Neither rows, nor somebody else's objects, nor another installation are a change.
    project
        .sql("insert into public.ctx0_entries (content) values ('a'); create table public.other_table (id int);
              analyze public.ctx0_entries; drop table public.other_table;")
        .await;
    project.install().await;
    assert_eq!(manager.verify().await.unwrap(), unchanged);
    manager.rollback_to(version(1)).await.unwrap();
    let back = manager.verify().await.unwrap();
    assert!(
        matches!(back, Verification::Unchanged { current_version } if current_version.get() == 1),
        "{back}"
    );
}

#[tokio::test]
async fn each_way_to_change_an_object_is_told_with_the_object() {
    let project = Project::installed().await;
    set_up(&project).await;
    for (change, undo, object, line) in [
        (
            "alter table ctx0_test_a add column extra int",
            "alter table ctx0_test_a drop column extra",
            "public.ctx0_test_a",
            "+column extra integer",
        ),
        (
            "alter table ctx0_test_a alter column tags drop not null",
            "alter table ctx0_test_a alter column tags set not null",
            "public.ctx0_test_a",
            "-column tags text[] not null default '{}'::text[]",
        ),
        (
            "alter table ctx0_test_a alter column number set default 2",
            "alter table ctx0_test_a alter column number set default 1.5",
            "public.ctx0_test_a",
            "+column number numeric(10,2) default 2",
        ),
        (
            "create index ctx0_extra on ctx0_test_a (at)",
            "drop index ctx0_extra",
            "public.ctx0_test_a",
            "+index ctx0_extra USING btree (at)",
        ),
        (
            "alter table ctx0_test_a disable row level security",
            "alter table ctx0_test_a enable row level security",
            "public.ctx0_test_a",
            "-option row level security on",
        ),
        (
            "alter table ctx0_test_a disable trigger ctx0_test_trigger",
            "alter table ctx0_test_a enable trigger ctx0_test_trigger",
            "public.ctx0_test_a",
            "+trigger ctx0_test_trigger CREATE TRIGGER ctx0_test_trigger BEFORE UPDATE ON public.ctx0_test_a FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger() (disabled)",
        ),
        (
            "grant update (body) on ctx0_test_a to anon",
            "revoke update (body) on ctx0_test_a from anon",
            "public.ctx0_test_a",
            "+grant anon (body) update",
        ),
        (
            "grant select on ctx0_test_a to anon",
            "revoke select on ctx0_test_a from anon; grant select (id) on ctx0_test_a to anon",
            "public.ctx0_test_a",
            "+grant anon select",
        ),
        (
            "create or replace function ctx0_test_f(a int, b text default 'x') returns text language sql stable set search_path = '' as 'select $2'",
            "create or replace function ctx0_test_f(a int, b text default 'x') returns text language sql stable set search_path = '' as $f$
  select $1 || $2
$f$",
            "public.ctx0_test_f(integer,text)",
            "+AS $function$select $2$function$",
        ),
        (
            "alter sequence ctx0_test_numbers increment 7",
            "alter sequence ctx0_test_numbers increment 5",
            "public.ctx0_test_numbers",
            "+as bigint start 1 increment 7 minvalue 1 maxvalue 9223372036854775807 cache 1",
        ),
        (
            "create table ctx0_test_more (id int); revoke all on ctx0_test_more from anon, authenticated, service_role",
            "drop table ctx0_test_more",
            "public.ctx0_test_more",
            "+column id integer",
        ),
    ] {
        project.sql(change).await;
        let found = verify(&project).await;
        let Verification::Drifted { differences, .. } = &found else {
            panic!("{change}: {found}")
        };
        let [difference] = &differences[..] else {
            panic!("{change}: {found}")
        };
        assert_eq!(difference.name, object, "{change}");
        assert!(difference.diff.lines().any(|shown| shown == line), "{change}: {found}");
        project.sql(undo).await;
        let found = verify(&project).await;
        assert!(matches!(found, Verification::Unchanged { .. }), "{undo}: {found}");
    }
}

#[tokio::test]
async fn what_was_not_recorded_or_was_recorded_elsewhere_cannot_be_judged() {
    let project = Project::installed().await;
    let found = project.bundled().verify().await.unwrap();
    assert!(matches!(&found, Verification::CannotSay { .. }), "{found}");

    set_up(&project).await;
    project
        .sql("update ctx0_private.ctx0_schema_attempts set server_version = 140005")
        .await;
    assert!(matches!(
        verify(&project).await,
        Verification::Unchanged { .. }
    ));
    project
        .sql("alter table ctx0_test_a add column extra int")
        .await;
    let found = verify(&project).await;
    let Verification::CannotSay { reason, .. } = &found else {
        panic!("{found}")
    };
    assert!(
        reason.starts_with("it was recorded by PostgreSQL 14, and this is PostgreSQL "),
        "{reason}"
    );
    project.sql("update ctx0_private.ctx0_schema_attempts set server_version = current_setting('server_version_num')::int - 1").await;
    assert!(
        matches!(verify(&project).await, Verification::Drifted { .. }),
        "a minor version"
    );
    // Somebody took the version back by hand.
    project.sql("delete from public.ctx0_schema_versions").await;
    assert!(matches!(
        verify(&project).await,
        Verification::CannotSay { .. }
    ));
}

#[tokio::test]
async fn a_dump_that_was_restored_is_no_change() {
    let original = Project::on(Stack::postgres().await.unwrap()).await;
    original.install().await;
    set_up(&original).await;
    let restored = Project::on(Stack::postgres().await.unwrap()).await;
    // Whatever these give away when a table is restored would be a change indeed.
    for objects in ["tables", "sequences", "functions"] {
        restored
            .sql(&format!(
                "alter default privileges in schema public revoke all on {objects} from anon, authenticated, service_role"
            ))
            .await;
    }
    let dump = Command::new("pg_dump")
        .args(["--schema=public", "--schema=ctx0_private", "--no-owner"])
        .arg(original.stack.database_url().unwrap())
        .output()
        .expect("pg_dump runs");
    assert!(dump.status.success(), "{dump:?}");
    let mut restore = Command::new("psql")
        .args(["--quiet", "--no-psqlrc"])
        .arg(restored.stack.database_url().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("psql runs");
    std::io::Write::write_all(&mut restore.stdin.take().unwrap(), &dump.stdout).unwrap();
    assert!(restore.wait().unwrap().success());
    restored.stack.reload_schema().await.unwrap();
    assert_eq!(restored.ledger().await, [1]);

    let found = verify(&restored).await;
    assert!(matches!(found, Verification::Unchanged { .. }), "{found}");
    restored
        .sql("alter table ctx0_test_a alter column number set default 2")
        .await;
    assert!(matches!(
        verify(&restored).await,
        Verification::Drifted { .. }
    ));
}
