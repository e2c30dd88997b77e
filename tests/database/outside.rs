//! Versions that run outside a transaction: what they may say, and who runs them.

use ctx0_schema::{Error, Migrations, Verification};
use ctx0_stack::{
    Cron, Options, Stack,
    project::{LONGEST, Project, migrations, skip, version},
};
use serde_json::json;

use crate::install_http::{hosted, serving_sql};

const TABLE: &str = r#"
create table public.ctx0_notes (id int primary key, "Name" text, tags text[]);
insert into public.ctx0_notes select i, 'name ' || i, '{a}' from generate_series(1, 100) i;
create materialized view public.ctx0_counts as select count(*) as notes from public.ctx0_notes;
create table public.ctx0_parts (id int) partition by list (id);
create table public.ctx0_part_1 partition of public.ctx0_parts for values in (1);
create index ctx0_parts_idx on public.ctx0_parts (id);
create schema ctx0_other;
create table ctx0_other."T" (id int);
"#;

/// Version 1 is a transaction, and version 2 this statement outside one.
fn outside(up: &str, down: &str) -> Migrations {
    outside_of(TABLE, up, down)
}

fn outside_of(table: &str, up: &str, down: &str) -> Migrations {
    let manifest = json!({"currentVersion": 2, "migrations": [
        {"version": 1, "name": "001_notes", "description": "Notes", "file": "001_notes.sql", "breaking": false},
        {"version": 2, "name": "002_index", "description": "An index", "file": "002_index.sql", "down": "002_down.sql",
         "transaction": false, "breaking": false},
    ]})
    .to_string();
    Migrations::embedded(&[
        ("manifest.json", &manifest),
        ("001_notes.sql", table),
        ("002_index.sql", up),
        ("002_down.sql", down),
    ])
    .expect("valid migrations")
}

/// Version 1 alone.
fn older() -> Migrations {
    let manifest = json!({"currentVersion": 1, "migrations": [
        {"version": 1, "name": "001_notes", "description": "Notes", "file": "001_notes.sql", "breaking": false},
    ]})
    .to_string();
    Migrations::embedded(&[("manifest.json", &manifest), ("001_notes.sql", TABLE)])
        .expect("valid migrations")
}

const INDEX: &str = "create index concurrently ctx0_notes_idx on ctx0_notes (\"Name\");";
const NO_INDEX: &str = "drop index concurrently ctx0_notes_idx;";

#[tokio::test]
async fn an_index_belongs_to_postgres_whoever_runs_the_statement() {
    for way in ["postgres", "supabase_admin", "the Management API"] {
        let role = if way.starts_with("the") {
            "postgres"
        } else {
            way
        };
        let project = serving_sql(role).await;
        project.install().await;
        let migrations = outside(INDEX, NO_INDEX);
        let manager = match way.starts_with("the") {
            true => hosted(&project, "sbp_the_right_one", migrations).await,
            false => project.manager(migrations),
        };
        let report = manager.apply_all_pending().await;
        report.unwrap_or_else(|error| panic!("{way}: {error}"));
        let owner = "select relowner::regrole::text from pg_class where relname = 'ctx0_notes_idx'";
        assert_eq!(project.value(owner).await, "postgres", "{way}");
        let verification = manager.verify().await.unwrap();
        assert!(
            matches!(verification, Verification::Unchanged { .. }),
            "{verification:?}"
        );

        // The database has what rolls it back.
        let manager = match way.starts_with("the") {
            true => hosted(&project, "sbp_the_right_one", older()).await,
            false => project.manager(older()),
        };
        manager.rollback_to(version(1)).await.unwrap();
        assert_eq!(project.value(owner).await, "", "{way}");
    }
}

#[tokio::test]
async fn an_index_is_made_as_the_statement_says() {
    for (up, definition) in [
        (
            "CREATE UNIQUE INDEX CONCURRENTLY \"Ctx0 \"\"I\"\"\" ON Public.CTX0_notes USING btree (lower(\"Name\") DESC) INCLUDE (id) WITH (fillfactor = 70) WHERE id > 0; -- end",
            "CREATE UNIQUE INDEX \"Ctx0 \"\"I\"\"\" ON public.ctx0_notes USING btree (lower(\"Name\") DESC) INCLUDE (id) WITH (fillfactor='70') WHERE (id > 0)",
        ),
        (
            "/* for; search */ create index concurrently if not exists ctx0_i on only ctx0_notes using gin (tags)",
            "CREATE INDEX ctx0_i ON public.ctx0_notes USING gin (tags)",
        ),
        (
            "create unique index concurrently ctx0_i on ctx0_counts (notes);",
            "CREATE UNIQUE INDEX ctx0_i ON public.ctx0_counts USING btree (notes)",
        ),
        (
            "create index concurrently ctx0_i on ctx0_other.\"T\" (id);",
            "CREATE INDEX ctx0_i ON ctx0_other.\"T\" USING btree (id)",
        ),
    ] {
        let project = serving_sql("postgres").await;
        project.install().await;
        let manager = project.manager(outside(up, "select 1;"));
        let report = manager.apply_all_pending().await;
        report.unwrap_or_else(|error| panic!("{up}: {error}"));
        let made = "select pg_get_indexdef(indexrelid) from pg_index
                     where indisvalid and indexrelid::regclass::text ~* 'ctx0.*i\"*$' and not indisprimary
                     order by indexrelid desc limit 1";
        assert_eq!(project.value(made).await, definition, "{up}");
        let preview = manager
            .preview_rollback(version(1))
            .budget(LONGEST)
            .await
            .unwrap();
        assert!(preview.succeeds(), "{preview}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_concurrently_is_refused_before_it_begins() {
    for (up, words) in [
        (
            "create index concurrently ctx0_i on ctx0_parts (id);",
            "ctx0_parts cannot be created concurrently",
        ),
        (
            "drop index concurrently ctx0_parts_idx;",
            "ctx0_parts_idx cannot be dropped concurrently",
        ),
        (
            "drop index concurrently ctx0_part_1_id_idx;",
            "ctx0_part_1_id_idx cannot be dropped concurrently",
        ),
        (
            "drop index concurrently ctx0_notes;",
            "ctx0_notes cannot be dropped concurrently",
        ),
        (
            "create index concurrently ctx0_i on ctx0_notes (id) where ctx0_notes.nothing > 0;",
            "nothing",
        ),
        (
            "create index concurrently ctx0_i on ctx0_notes id);",
            "syntax error",
        ),
        (
            "reindex table concurrently ctx0_parts;",
            "it has partitions",
        ),
        ("vacuum ctx0_nothing;", "does not exist"),
    ] {
        let project = serving_sql("postgres").await;
        project.install().await;
        let manager = project.manager(outside(up, "select 1;"));
        let error = manager.apply_all_pending().await.unwrap_err().error;
        assert!(
            matches!(&error, Error::MigrationFailed(failure) if failure.message.contains(words)),
            "{up}: {error}"
        );
        assert_eq!(project.ledger().await, [1]);
        let running = "select count(*) from ctx0_private.ctx0_schema_outside";
        assert_eq!(project.value(running).await, "0", "{up}");
    }
}

#[tokio::test]
async fn a_partition_is_detached_and_attached_again_whoever_runs_the_statement() {
    const PARTS: &str = "select coalesce(string_agg(inhrelid::regclass::text, ','), 'none') from pg_inherits where inhparent = 'ctx0_parts'::regclass";
    for role in ["postgres", "supabase_admin"] {
        let project = serving_sql(role).await;
        project.install().await;
        let manager = project.manager(outside(
            "alter table ctx0_parts detach partition public.ctx0_part_1 concurrently;",
            "alter table ctx0_parts attach partition ctx0_part_1 for values in (1);",
        ));
        manager.apply_all_pending().await.unwrap();
        assert_eq!(project.value(PARTS).await, "none", "{role}");
        let verification = manager.verify().await.unwrap();
        assert!(
            matches!(verification, Verification::Unchanged { .. }),
            "{verification:?}"
        );
        manager.rollback_to(version(1)).await.unwrap();
        assert_eq!(project.value(PARTS).await, "ctx0_part_1", "{role}");
    }
}

#[tokio::test]
async fn a_hosted_project_tries_pg_cron_before_the_management_api() {
    if !Stack::has_cron().expect("a PostgreSQL") {
        skip(
            "a_hosted_project_tries_pg_cron_before_the_management_api",
            "pg_cron, such as Debian's postgresql-15-cron",
        );
        return;
    }
    for cron in [Cron::Workers, Cron::Connections, Cron::Refused] {
        let options = Options {
            cron: Some(cron),
            ..Options::default()
        };
        let stack = Stack::postgres_with(options).await.expect("a stack starts");
        stack
            .serve_sql("postgres")
            .await
            .expect("postgres-meta starts");
        let project = Project::on(stack).await;
        project.install().await;
        let manager = hosted(&project, "sbp_the_right_one", outside(INDEX, NO_INDEX)).await;
        manager.apply_all_pending().await.unwrap();
        let made =
            "select indisvalid::text from pg_index where indexrelid = 'ctx0_notes_idx'::regclass";
        assert_eq!(project.value(made).await, "true", "{cron:?}");
        let job = "select concat(count(*), ' ', max(status), ' ', max(return_message)) from cron.job_run_details";
        let expected = match cron {
            Cron::Workers | Cron::Connections => "1 succeeded CREATE INDEX",
            Cron::Refused => "1 failed connection failed",
        };
        assert_eq!(project.value(job).await, expected);
        let jobs = "select count(*) from cron.job";
        assert_eq!(project.value(jobs).await, "0", "{cron:?}");
    }
}

#[tokio::test]
async fn a_schema_that_was_made_by_hand_is_recognised_with_its_index() {
    let project = serving_sql("postgres").await;
    project.install().await;
    let table = "create table public.ctx0_notes (id int, \"Name\" text);";
    project.sql(table).await;
    project.sql(&INDEX.replace(" concurrently", "")).await;
    let manager = project.manager(outside_of(table, INDEX, NO_INDEX));
    let found = manager.recognise().await.unwrap();
    let plan = manager.plan_baseline(&found, version(2)).unwrap();
    manager.repair(plan, "made by hand").await.unwrap();
    assert_eq!(project.ledger().await, [1, 2]);
    // The down statement was recorded with what it does.
    manager.rollback_to(version(1)).await.unwrap();
    assert_eq!(project.ledger().await, [1]);
}

#[tokio::test]
async fn a_schema_whose_partition_was_detached_concurrently_is_recognised() {
    for (range, partition) in [
        (
            "id int",
            "create table public.ctx0_part_1 partition of public.ctx0_parts for values in (1)",
        ),
        // The constraint says that already.
        (
            "id int not null",
            "create table public.ctx0_part_1 (id int not null, check (id = 1)); \
             alter table public.ctx0_parts attach partition public.ctx0_part_1 for values in (1)",
        ),
    ] {
        let project = Project::on_own_server().await;
        let table = format!(
            "create table public.ctx0_parts ({range}) partition by list (id); {partition};"
        );
        let detach =
            "alter table public.ctx0_parts detach partition public.ctx0_part_1 concurrently;";
        project.sql(&table).await;
        project.sql(detach).await;
        project.install().await;
        let attach =
            "alter table public.ctx0_parts attach partition public.ctx0_part_1 for values in (1);";
        let manager = project.manager(outside_of(&table, detach, attach));
        let found = manager.recognise().await.unwrap();
        let same: Vec<_> = found.same().map(|version| version.get()).collect();
        assert_eq!(same, [2], "{found}");
    }
}

#[tokio::test]
async fn a_table_of_another_schema_is_named_where_it_was_not_found() {
    let hint = "Not in the search_path (public, extensions), but there is ctx0_other.\"T\".";
    for (transaction, up, expected) in [
        (
            false,
            "create index concurrently ctx0_i on \"T\" (id);",
            Some(hint),
        ),
        (false, "vacuum \"T\";", Some(hint)),
        (false, "vacuum ctx0_nothing;", None),
        (true, "alter table \"T\" add a int;", Some(hint)),
        (true, "alter table ctx0_nothing add a int;", None),
        // It is in the search_path, and not the reason.
        (true, "select ctx0_notes.id;", None),
    ] {
        let project = serving_sql("postgres").await;
        project.install().await;
        let manager = match transaction {
            true => project.manager(migrations(&[("001_notes", TABLE), ("002_more", up)])),
            false => project.manager(outside(up, "select 1;")),
        };
        let error = manager.apply_all_pending().await.unwrap_err().error;
        let Error::MigrationFailed(failure) = &error else {
            panic!("{up}: {error}");
        };
        assert_eq!(failure.hint.as_deref(), expected, "{up}");
    }
}
