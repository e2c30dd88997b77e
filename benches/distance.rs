//! What distance costs: checks and applies at round trips of 0, 20 and 100 ms, beside other tools.
//!
//! `cargo bench --bench distance` starts the machine's PostgreSQL behind the stand-in and puts a proxy
//! in front of both that delays each direction, the handshake included. It prints a table and writes
//! `benches/distance.json` and `benches/distance.svg`. Each figure is the median of some runs, with the
//! fastest and the slowest. `dbmate` applies the same SQL to the same server over a direct
//! connection where it is found on the PATH, and `psql -1` runs the long file.
//!
//! The optimisation of this crate hardly matters to the figures, so `cargo test --bench distance`
//! measures about the same without an optimised build.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use ctx0_schema::{Config, Migrations, SchemaVersionManager, install_sql};
use ctx0_stack::{Stack, distance::Distance};
use serde_json::{Value, json};
use tokio::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROUND_TRIPS: [u64; 3] = [0, 20, 100];
const ROUNDS: usize = 5;
/// Statements of the long file.
const STATEMENTS: usize = 20_000;

/// What was measured at one distance, each with its times, shortest first.
type Figures = BTreeMap<String, Vec<Duration>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let stack = Stack::postgres().await?;
    stack.sql(install_sql()).await?;
    stack.reload_schema().await?;
    let mut measured = BTreeMap::new();
    for ms in ROUND_TRIPS {
        let figures = at_distance(&stack, Duration::from_millis(ms)).await?;
        for (what, times) in &figures {
            println!("{ms:>4} ms  {what:<48} {}", told(times));
        }
        measured.insert(ms, figures);
    }
    let long = long_file(&stack).await?;
    for (what, times) in &long {
        println!("         {what:<48} {}", told(times));
    }
    let version = stack.sql("show server_version").await?[0][0].clone();
    let json = json!({
        "command": if cfg!(debug_assertions) { "cargo test --bench distance" } else { "cargo bench --bench distance" },
        "processors": std::thread::available_parallelism()?.get(),
        "postgresql": version,
        "round_trips": measured.iter().map(|(ms, figures)| (ms.to_string(), seconds(figures))).collect::<BTreeMap<_, _>>(),
        "long_file": seconds(&long),
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    fs::write(folder.join("distance.json"), format!("{json:#}\n"))?;
    fs::write(folder.join("distance.svg"), picture(&measured))?;
    Ok(())
}

async fn at_distance(stack: &Stack, round_trip: Duration) -> Result<Figures> {
    let upstream = stack.url().trim_start_matches("http://");
    let api = Distance::start(upstream, round_trip).await?;
    let manager = |migrations: &Migrations| -> Result<SchemaVersionManager> {
        let config = Config::new(format!("http://{}", api.address()), stack.service_key())?;
        Ok(SchemaVersionManager::new(&config, migrations.clone())?)
    };
    let mut figures = Figures::new();
    let mut note = |what: &str, began: Instant| {
        figures
            .entry(what.to_owned())
            .or_default()
            .push(began.elapsed());
    };
    let [one, twenty, many] = [1, 20, 200].map(migrations);
    let (one, twenty, many) = (one?, twenty?, many?);
    for _ in 0..ROUNDS {
        forget(stack).await?;
        let began = Instant::now();
        let fresh = manager(&twenty)?;
        fresh.check_for_updates().await?;
        note("check, cold", began);
        let began = Instant::now();
        fresh.check_for_updates().await?;
        note("check, on a kept connection", began);

        let began = Instant::now();
        manager(&one)?.apply_all_pending().await?;
        note("1 migration, fresh database", began);
        forget(stack).await?;
        let began = Instant::now();
        manager(&twenty)?.apply_all_pending().await?;
        note("20 migrations, fresh database", began);
        forget(stack).await?;
        let began = Instant::now();
        manager(&twenty)?.apply_all_pending().batch(false).await?;
        note("20 migrations, one request each", began);
        forget(stack).await?;
        let began = Instant::now();
        manager(&many)?.apply_all_pending().await?;
        note("200 migrations, fresh database", began);
    }
    forget(stack).await?;
    stack
        .sql("insert into public.ctx0_schema_versions (version, migration_name, description, checksum)
              select v, format('%s_a', v), 'A version', repeat('a', 64) from generate_series(1, 5000) v")
        .await?;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        manager(&one)?.history().await?;
        note("check, cold, 5,000 rows in the ledger", began);
    }
    peers(stack, round_trip, &mut figures).await?;
    for times in figures.values_mut() {
        times.sort();
    }
    Ok(figures)
}

/// The same twenty migrations with the tools that are there, over a direct connection.
async fn peers(stack: &Stack, round_trip: Duration, figures: &mut Figures) -> Result<()> {
    let Some(url) = stack.database_url() else {
        return Ok(());
    };
    let is_there = Command::new("dbmate").arg("--version").output().await;
    if is_there.is_err() {
        return Ok(());
    }
    let (login, rest) = url.rsplit_once('@').ok_or("a URL with a login")?;
    let (upstream, database) = rest.split_once('/').ok_or("a URL with a database")?;
    let direct = Distance::start(upstream, round_trip).await?;
    let url = format!("{login}@{}/{database}?sslmode=disable", direct.address());
    let folder = tempfile::tempdir()?;
    for number in 1..=20 {
        let file = folder.path().join(format!("{number:03}_a.sql"));
        fs::write(
            file,
            format!("-- migrate:up\n{}-- migrate:down\n", migration(number)),
        )?;
    }
    for _ in 0..ROUNDS {
        forget(stack).await?;
        stack
            .sql("drop table if exists public.schema_migrations")
            .await?;
        for (what, task) in [
            ("20 migrations, fresh database", "migrate"),
            ("check, cold", "status"),
        ] {
            let mut dbmate = Command::new("dbmate");
            dbmate.args(["--no-dump-schema", "--url", &url, "--migrations-dir"]);
            dbmate.arg(folder.path()).arg(task);
            dbmate.stdout(Stdio::null());
            let began = Instant::now();
            let status = dbmate.status().await?;
            let took = began.elapsed();
            assert!(status.success(), "dbmate {task}");
            figures
                .entry(format!("{what}: dbmate"))
                .or_default()
                .push(took);
        }
    }
    Ok(())
}

/// A file of many small statements, previewed, applied, and run by `psql -1`.
async fn long_file(stack: &Stack) -> Result<Figures> {
    let mut text = "create table public.ctx0_long (id int primary key, a text);\n".to_owned();
    for number in 0..STATEMENTS {
        writeln!(text, "insert into public.ctx0_long values ({number}, 'a');")?;
    }
    let manifest = json!({"currentVersion": 1, "migrations": [
        {"version": 1, "name": "001_long", "description": "", "file": "001_long.sql"}]});
    let migrations = Migrations::embedded(&[
        ("manifest.json", &manifest.to_string()),
        ("001_long.sql", &text),
    ])?;
    let config = Config::new(stack.url(), stack.service_key())?;
    let manager = SchemaVersionManager::new(&config, migrations)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("long.sql");
    fs::write(&file, &text)?;
    let has_psql = Command::new("psql").arg("--version").output().await.is_ok();
    let mut figures = Figures::new();
    let mut note = |what: &str, began: Instant| {
        let what = format!("{STATEMENTS} statements: {what}");
        figures.entry(what).or_default().push(began.elapsed());
    };
    for _ in 0..ROUNDS {
        forget(stack).await?;
        let began = Instant::now();
        let preview = manager.preview().budget(Duration::from_secs(25)).await?;
        note("preview", began);
        assert!(preview.succeeds(), "{preview}");
        let began = Instant::now();
        manager.apply_all_pending().await?;
        note("apply", began);
        let (true, Some(url)) = (has_psql, stack.database_url()) else {
            continue;
        };
        forget(stack).await?;
        let began = Instant::now();
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", url, "-f"]);
        let status = psql.arg(&file).stdout(Stdio::null()).status().await?;
        note("psql -1", began);
        assert!(status.success(), "psql");
    }
    for times in figures.values_mut() {
        times.sort();
    }
    Ok(figures)
}

fn migration(number: usize) -> String {
    format!(
        "create table public.ctx0_{number} (id bigint generated always as identity primary key, a text not null);\n\
         create index ctx0_{number}_a on public.ctx0_{number} (a);\n\
         insert into public.ctx0_{number} (a) values ('a');\n"
    )
}

fn migrations(count: usize) -> Result<Migrations> {
    let entries: Vec<_> = (1..=count)
        .map(|number| {
            let name = format!("{number:03}_a");
            json!({"version": number, "name": name, "description": "", "file": format!("{name}.sql")})
        })
        .collect();
    let manifest = json!({"currentVersion": count, "migrations": entries}).to_string();
    let files: Vec<_> = (1..=count)
        .map(|number| (format!("{number:03}_a.sql"), migration(number)))
        .collect();
    let mut all = vec![("manifest.json", manifest.as_str())];
    all.extend(
        files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    );
    Ok(Migrations::embedded(&all)?)
}

/// Back to the state before the first version.
async fn forget(stack: &Stack) -> Result<()> {
    stack
        .sql(
            "do $$ declare t text; begin
               for t in select relname from pg_class
                         where relnamespace = 'public'::regnamespace and relkind = 'r' and relname ~ '^ctx0_([0-9]+|long)$'
               loop execute format('drop table public.%I', t); end loop;
             end $$;
             delete from public.ctx0_schema_versions;
             delete from ctx0_private.ctx0_schema_attempts;",
        )
        .await?;
    Ok(())
}

fn median(times: &[Duration]) -> Duration {
    times[times.len() / 2]
}

fn told(times: &[Duration]) -> String {
    let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
    let (first, last) = (&times[0], &times[times.len() - 1]);
    format!(
        "{:>8.1} ms  ({:.1} to {:.1})",
        ms(&median(times)),
        ms(first),
        ms(last)
    )
}

fn seconds(figures: &Figures) -> Value {
    let told = figures.iter().map(|(what, times)| {
        let times: Vec<_> = times.iter().map(Duration::as_secs_f64).collect();
        (
            what.clone(),
            json!({ "median": times[times.len() / 2], "times": times }),
        )
    });
    told.collect()
}

/// The medians at the longest distance, as bars.
fn picture(measured: &BTreeMap<u64, Figures>) -> String {
    let Some((ms, figures)) = measured.last_key_value() else {
        return String::new();
    };
    let longest = figures
        .values()
        .map(|times| median(times))
        .max()
        .unwrap_or_default();
    let mut bars = String::new();
    for (row, (what, times)) in figures.iter().enumerate() {
        let time = median(times).as_secs_f64();
        let (y, width) = (40 + 24 * row, 380.0 * time / longest.as_secs_f64());
        let colour = if what.contains(':') {
            "#aaa"
        } else {
            "#3b82f6"
        };
        let _ = write!(
            bars,
            r#"
<text x="290" y="{}" text-anchor="end">{what}</text>
<rect x="300" y="{y}" width="{width:.1}" height="16" fill="{colour}"/>
<text x="{:.1}" y="{}">{time:.2} s</text>"#,
            y + 13,
            306.0 + width,
            y + 13
        );
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {}" font-family="sans-serif" font-size="12" fill="#444">
<text x="10" y="20" font-size="14">Time at a round trip of {ms} ms, handshakes included</text>{bars}
</svg>
"##,
        56 + 24 * figures.len()
    )
}
