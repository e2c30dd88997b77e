//! What a rehearsal costs: against applying the same, and on a database with 1,000 tables.
//!
//! `cargo bench --bench rehearsal` starts the machine's PostgreSQL and prints medians. It fails
//! where a rehearsal costs more than 1.2 times its apply and the looks at the catalog before and
//! after, or where such a look takes 150 ms or more with 1,000 tables. The time is PostgreSQL's,
//! so `cargo test --bench rehearsal` measures the same without an optimised build.

use std::time::{Duration, Instant};

use ctx0_schema::{Config, Migrations, SchemaVersionManager, Version, install_sql};
use ctx0_stack::Stack;

const ROUNDS: usize = 7;

const MANIFEST: &str = r#"{"currentVersion": 2, "migrations": [
    {"version": 1, "name": "001_notes", "description": "Notes", "file": "001_notes.sql"},
    {"version": 2, "name": "002_change", "description": "A change", "file": "002_change.sql", "down": "002_change.down.sql"}]}"#;

const NOTES: &str = "create table public.ctx0_notes (id int primary key, number int, content text);
    insert into public.ctx0_notes select i, i, 'Number ' || i from generate_series(1, 300000) i;";

const CHANGE: &str = "alter table public.ctx0_notes alter column number type bigint;
    create index if not exists ctx0_notes_number_idx on public.ctx0_notes (number);";

const CHANGE_BACK: &str = "drop index if exists public.ctx0_notes_number_idx;
    alter table public.ctx0_notes alter column number type int;";

const THOUSAND_TABLES: &str = "do $$ begin for i in 1..1000 loop
    execute format('create table public.other_%s (id bigint generated always as identity primary key,
      a text not null default %L, b int check (b > 0), c timestamptz default now(), d jsonb not null default %L,
      e text[], f uuid unique, g numeric(10,2), h boolean, i date)', i, 'x', '{}');
    execute format('create index on public.other_%s (c desc)', i);
  end loop; end $$";

/// The second one of a session, as on a connection of PostgREST's pool.
const SNAPSHOT: &str = "do $$ declare v_began timestamptz; begin
    perform count(definition) from ctx0_private.schema_objects(false);
    v_began := clock_timestamp();
    perform count(definition) from ctx0_private.schema_objects(false);
    perform set_config('ctx0.bench', (extract(epoch from clock_timestamp() - v_began) * 1000000)::bigint::text, false);
  end $$;
  select current_setting('ctx0.bench')";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stack = Stack::postgres().await?;
    // So many tables in one transaction are more than its locks suffice for.
    stack
        .admin_sql("alter system set max_locks_per_transaction = 1024")
        .await?;
    stack.kill_database().await?;
    stack.start_database().await?;
    stack.sql(install_sql()).await?;
    stack.reload_schema().await?;
    let files = [
        ("manifest.json", MANIFEST),
        ("001_notes.sql", NOTES),
        ("002_change.sql", CHANGE),
        ("002_change.down.sql", CHANGE_BACK),
    ];
    let config = Config::new(stack.url(), stack.service_key())?;
    let manager = SchemaVersionManager::new(&config, Migrations::embedded(&files)?)?;
    let [first, second] = [1, 2].map(|number| Version::new(number).expect("a version"));
    manager.apply_migration(first).await?;

    let (mut rehearsals, mut applies) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        assert!(manager.preview().await?.succeeds());
        rehearsals.push(began.elapsed());
        let began = Instant::now();
        manager.apply_migration(second).await?;
        applies.push(began.elapsed());
        manager.rollback_to(first).await?;
    }
    let (rehearsal, apply) = (median(rehearsals), median(applies));
    println!("a change of 300,000 rows: applied in {apply:.0?}, rehearsed in {rehearsal:.0?}");

    stack.sql(THOUSAND_TABLES).await?;
    // As autovacuum has done a minute later.
    stack.admin_sql("analyze").await?;
    let mut snapshots = Vec::new();
    for _ in 0..ROUNDS {
        let rows = stack.sql(SNAPSHOT).await?;
        let microseconds = rows.last().and_then(|row| row[0].as_deref()?.parse().ok());
        snapshots.push(Duration::from_micros(microseconds.ok_or("a number")?));
    }
    let snapshot = median(snapshots);
    let mut previews = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        assert!(manager.preview().await?.succeeds());
        previews.push(began.elapsed());
    }
    let preview = median(previews);
    println!(
        "1,000 tables more: a snapshot of the catalog in {snapshot:.0?}, the same change rehearsed in {preview:.0?}"
    );

    let limit = Duration::from_millis(150);
    assert!(snapshot < limit, "a snapshot takes {snapshot:?}");
    for (rehearsal, looks) in [(rehearsal, limit), (preview, 2 * limit)] {
        let most = apply.mul_f64(1.2) + looks;
        assert!(rehearsal < most, "{rehearsal:?} for {apply:?}");
    }
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
