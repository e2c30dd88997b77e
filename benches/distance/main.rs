//! What distance costs: checks and applies at round trips of 0, 20 and 100 ms, beside other tools.
//!
//! `cargo bench --bench distance` starts the machine's PostgreSQL behind the stand-in, or takes the
//! Supabase that `CTX0_TEST_SUPABASE_URL` and its companions name, and puts a proxy in front that
//! delays each direction, the handshake included. Every run is a process of its own, this program
//! for ctx0-schema; the others, where they are found on the PATH, connect to the same server directly
//! and without TLS. Each round runs all of them in turn, in another order.
//!
//! It prints a table and writes `benches/distance.json`, `benches/distance.svg` and the table of the
//! README. `CTX0_BENCH_ROUNDS` sets the rounds. `cargo bench --bench distance -- growth` measures one of
//! `distance`, `text`, `gateway` and `growth`, and keeps the other figures of `distance.json`.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ctx0_schema::{Config, Migrations, SchemaVersionManager, Version, install_sql};
use ctx0_stack::{Stack, distance::Distance, fault::FaultProxy};
use serde_json::json;
use tokio::process::Command;

use self::{
    report::{Figures, Report},
    tools::{Tool, run},
};

mod report;
mod tools;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROUND_TRIPS: [u64; 3] = [0, 20, 100];
/// Statements of the long file.
const STATEMENTS: usize = 20_000;
/// Rows of the long ledger.
const ROWS: usize = 5_000;
/// What can be measured alone.
const PARTS: [&str; 4] = ["distance", "text", "gateway", "growth"];

/// The project, and the folders of migrations.
struct Site {
    stack: Stack,
    folder: tempfile::TempDir,
    rounds: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let mut arguments = env::args()
        .skip_while(|argument| argument != "--as")
        .skip(1);
    if let Some(task) = arguments.next() {
        return act_as(&task).await;
    }
    let stack = Stack::for_tests().await?;
    stack.sql(install_sql()).await?;
    stack.reload_schema().await?;
    let rounds = env::var("CTX0_BENCH_ROUNDS").map_or(Ok(5), |rounds| rounds.parse())?;
    let folder = tempfile::tempdir()?;
    let site = Site {
        stack,
        folder,
        rounds,
    };

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let only: Vec<_> = env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    if let Some(word) = only.iter().find(|word| !PARTS.contains(&word.as_str())) {
        return Err(format!("{word}: not one of {}", PARTS.join(", ")).into());
    }
    let wanted = |part: &str| only.is_empty() || only.iter().any(|word| word == part);
    let mut report = match only.is_empty() {
        true => Report::default(),
        false => Report::read(root)?,
    };
    let tools = tools::found(&site).await?;
    if wanted("distance") {
        report.command = if cfg!(debug_assertions) {
            "cargo test --bench distance"
        } else {
            "cargo bench --bench distance"
        }
        .to_owned();
        report.processors = std::thread::available_parallelism()?.get();
        report.postgresql = site.stack.sql("show server_version").await?[0][0]
            .clone()
            .unwrap_or_default();
        report.tools = tools
            .iter()
            .map(|tool| (tool.name.to_owned(), tool.version.clone()))
            .collect();
        for ms in ROUND_TRIPS {
            let figures = site.at_distance(&tools, Duration::from_millis(ms)).await?;
            print!("{}", figures.lines(&format!("{ms:>4} ms")));
            report.distance.insert(ms, figures);
        }
    }
    if wanted("text") {
        report.long_text = site.long_text().await?;
        print!("{}", report.long_text.lines("       "));
    }
    if wanted("gateway") {
        report.gateway = site.gateway().await?;
        print!("{}", report.gateway.lines("       "));
    }
    if wanted("growth") {
        report.growth = site.growth().await?;
        for line in report.growth.iter().map(report::Growth::line) {
            println!("        {line}");
        }
    }
    site.forget().await?;
    report.write(root)
}

/// What a process of this program does in place of the benchmark, as a daemon would: then it prints
/// the most memory that it had, in KiB.
async fn act_as(task: &str) -> Result<()> {
    let config = Config::new(env::var("BENCH_URL")?, env::var("BENCH_KEY")?)?;
    let migrations = Migrations::from_dir(env::var("BENCH_FOLDER")?)?;
    let manager = SchemaVersionManager::new(&config, migrations)?;
    match task {
        "check" => drop(manager.check_for_updates().await?),
        "apply" => drop(manager.apply_all_pending().await?),
        "apply-first" => drop(
            manager
                .apply_migration(Version::new(1).ok_or("a version")?)
                .await?,
        ),
        "preview" => drop(manager.preview().budget(Duration::from_secs(25)).await?),
        other => return Err(other.into()),
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("{}", peak.unwrap_or("0").trim().trim_end_matches(" kB"));
    Ok(())
}

impl Site {
    async fn at_distance(&self, tools: &[Tool], round_trip: Duration) -> Result<Figures> {
        let upstream = self.stack.url().trim_start_matches("http://");
        let api = Distance::start(upstream, round_trip).await?;
        let url = format!("http://{}", api.address());
        let direct = match tools::server(&self.stack) {
            Some(server) => Some(Distance::start(&server, round_trip).await?),
            None => None,
        };
        let mut figures = Figures::default();
        for round in 0..self.rounds {
            // First in its turn is another one each time.
            let mut order: Vec<_> = (0..=tools.len()).collect();
            order.rotate_left(round % (tools.len() + 1));
            for count in [20, 1] {
                for place in &order {
                    self.forget().await?;
                    let tool = place.checked_sub(1).map(|place| &tools[place]);
                    let (name, apply, again) = match tool {
                        None => (
                            "ctx0-schema",
                            self.own("apply", &url, count)?,
                            self.own("check", &url, count)?,
                        ),
                        Some(tool) => {
                            let address = direct.as_ref().ok_or("a server")?.address();
                            let command = || tool.command(self, address, count);
                            (tool.name, command()?, command()?)
                        }
                    };
                    figures.note(
                        &migrations_word(count, "an empty database"),
                        name,
                        run(apply).await?.0,
                    );
                    if count == 20 {
                        figures.note("nothing to do", name, run(again).await?.0);
                    }
                }
            }
            for (count, after_first) in [(200, false), (21, true), (201, true)] {
                self.forget().await?;
                if after_first {
                    run(self.own("apply-first", self.stack.url(), count)?).await?;
                }
                let what = match after_first {
                    true => migrations_word(count - 1, "a database in use"),
                    false => migrations_word(count, "an empty database"),
                };
                figures.note(
                    &what,
                    "ctx0-schema",
                    run(self.own("apply", &url, count)?).await?.0,
                );
            }
            let config = Config::new(&url, self.stack.service_key())?;
            let manager =
                SchemaVersionManager::new(&config, Migrations::from_dir(self.own_folder(201)?)?)?;
            manager.check_for_updates().await?;
            let began = Instant::now();
            manager.check_for_updates().await?;
            figures.note(
                "nothing to do, on a kept connection",
                "ctx0-schema",
                began.elapsed(),
            );
        }
        self.forget().await?;
        let long = self.folder_of("ledger", &vec!["select 1;".to_owned(); ROWS])?;
        run(self.own_in("apply", self.stack.url(), &long)).await?;
        for _ in 0..self.rounds {
            let what = format!("nothing to do, {ROWS} rows in the ledger");
            figures.note(
                &what,
                "ctx0-schema",
                run(self.own_in("check", &url, &long)).await?.0,
            );
        }
        Ok(figures)
    }

    /// Files of many small statements and of a single large one, beside `psql -1`.
    async fn long_text(&self) -> Result<Figures> {
        let table = "create table public.ctx0_long (id int, a text);\n";
        let mut many = table.to_owned();
        for number in 0..STATEMENTS {
            writeln!(many, "insert into public.ctx0_long values ({number}, 'a');")?;
        }
        let mut large = format!("{table}insert into public.ctx0_long values (0, 'a')");
        while large.len() < 13_600_000 {
            large.push_str(",\n(1, 'a text of some length, as a table of words may have it')");
        }
        large.push(';');
        let mut figures = Figures::default();
        for (what, text) in [
            (format!("{STATEMENTS} statements"), many),
            ("one statement of 13.6 MB".to_owned(), large),
        ] {
            let folder = self.folder_of(&what, std::slice::from_ref(&text))?;
            for _ in 0..self.rounds {
                self.forget().await?;
                for (task, name) in [
                    ("preview", "ctx0-schema, preview"),
                    ("apply", "ctx0-schema"),
                ] {
                    figures.note(
                        &what,
                        name,
                        run(self.own_in(task, self.stack.url(), &folder)).await?.0,
                    );
                }
                if let (Some(url), true) =
                    (self.stack.database_url(), tools::is_there("psql").await)
                {
                    self.forget().await?;
                    let mut psql = Command::new("psql");
                    psql.args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", url, "-f"]);
                    psql.arg(folder.join("001_a.sql"));
                    figures.note(&what, "psql -1", run(psql).await?.0);
                }
            }
        }
        Ok(figures)
    }

    /// A migration that runs far longer than the gateway waits.
    async fn gateway(&self) -> Result<Figures> {
        let proxy = FaultProxy::start(self.stack.url()).await?;
        proxy.gateway_timeout(Some(Duration::from_secs(5)));
        let folder = self.folder_of("gateway", &["select pg_sleep(60);".to_owned()])?;
        self.forget().await?;
        let (took, _) = run(self.own_in("apply", proxy.url(), &folder)).await?;
        let what = format!(
            "60 s of work behind a gateway that waits 5 s, {} requests",
            proxy.records().len()
        );
        let mut figures = Figures::default();
        figures.note(&what, "ctx0-schema", took);
        Ok(figures)
    }

    /// Time and memory by the number of versions and by the length of a text.
    async fn growth(&self) -> Result<Vec<report::Growth>> {
        let mut growth = Vec::new();
        let versions = [10, 100, 1_000, 10_000].map(|count| {
            let texts = (0..count)
                .map(|number| format!("select {number};"))
                .collect::<Vec<_>>();
            ("versions", count, texts)
        });
        let bytes = [1 << 10, 32 << 10, 1 << 20, (16 << 20) - 32].map(|length: usize| {
            (
                "bytes of text",
                length,
                vec![format!("select length('{}');", "a".repeat(length))],
            )
        });
        for (of, count, texts) in versions.into_iter().chain(bytes) {
            let folder = self.folder_of(&format!("{count} {of}"), &texts)?;
            self.forget().await?;
            let (apply, peak) = run(self.own_in("apply", self.stack.url(), &folder)).await?;
            let (check, _) = run(self.own_in("check", self.stack.url(), &folder)).await?;
            growth.push(report::Growth {
                of: of.to_owned(),
                count,
                apply: apply.as_secs_f64(),
                check: check.as_secs_f64(),
                peak_kib: peak.trim().parse()?,
            });
        }
        Ok(growth)
    }

    fn own(&self, task: &str, url: &str, count: usize) -> Result<Command> {
        Ok(self.own_in(task, url, &self.own_folder(count)?))
    }

    /// This program as ctx0-schema.
    fn own_in(&self, task: &str, url: &str, folder: &Path) -> Command {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command.args(["--as", task]);
        command.env("BENCH_URL", url).env("BENCH_FOLDER", folder);
        command.env("BENCH_KEY", self.stack.service_key());
        command
    }

    fn own_folder(&self, count: usize) -> Result<PathBuf> {
        let texts: Vec<_> = (1..=count).map(migration).collect();
        self.folder_of(&format!("ctx0-schema {count}"), &texts)
    }

    /// A folder with these migrations for ctx0-schema.
    fn folder_of(&self, name: &str, texts: &[String]) -> Result<PathBuf> {
        let folder = self.folder.path().join(name);
        if folder.exists() {
            return Ok(folder);
        }
        fs::create_dir(&folder)?;
        let mut entries = Vec::new();
        for (version, text) in (1..).zip(texts) {
            let name = format!("{version:03}_a");
            let file = format!("{name}.sql");
            fs::write(folder.join(&file), text)?;
            entries
                .push(json!({"version": version, "name": name, "description": "", "file": file}));
        }
        let manifest = json!({"currentVersion": texts.len(), "migrations": entries});
        fs::write(folder.join("manifest.json"), manifest.to_string())?;
        Ok(folder)
    }

    /// Back to the state before the first version of any tool.
    async fn forget(&self) -> Result<()> {
        self.stack
            .sql(
                "set client_min_messages = error;
                 do $$ declare t text; begin
                   for t in select relname from pg_class
                             where relnamespace = 'public'::regnamespace and relkind = 'r' and relname ~ '^ctx0_([0-9]+|long)$'
                   loop execute format('drop table public.%I', t); end loop;
                 end $$;
                 delete from public.ctx0_schema_versions;
                 delete from ctx0_private.ctx0_schema_attempts;
                 drop table if exists public.schema_migrations, public._sqlx_migrations, public.refinery_schema_history;
                 drop schema if exists supabase_migrations cascade;",
            )
            .await?;
        Ok(())
    }
}

fn migrations_word(count: usize, place: &str) -> String {
    format!(
        "{count} migration{} on {place}",
        if count == 1 { "" } else { "s" }
    )
}

fn migration(number: usize) -> String {
    format!(
        "create table public.ctx0_{number} (id bigint generated always as identity primary key, a text not null);\n\
         create index ctx0_{number}_a on public.ctx0_{number} (a);\n\
         insert into public.ctx0_{number} (a) values ('a');\n"
    )
}
