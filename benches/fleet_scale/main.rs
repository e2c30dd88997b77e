//! What a fleet costs: time, processor time, memory and requests, with few and many projects at a time.
//!
//! `cargo bench --all-features --bench fleet_scale` runs [`Fleet`](ctx0_schema::Fleet) over
//! - 200 databases of one PostgreSQL behind the stand-in, with all of the installed functions, and
//! - 10,000 projects behind a responder that speaks TLS and repeats what the first of those databases
//!   responded.
//!
//! Each run is a process of its own, so that its memory and processor time are those of the fleet and
//! not of the servers. It prints a table, writes `benches/fleet_scale.json` and `fleet_scale.svg`, and puts
//! both into the guide (`src/guide/fleet.md`). `CTX0_FLEET_DATABASES` and `CTX0_FLEET_PROJECTS` set other
//! numbers. It reads `/proc`, so it is for Linux.

mod page;
mod responder;
mod run;

use std::{collections::HashMap, env, error::Error, fs, path::Path, process::Stdio};

use ctx0_schema::{Migrations, install_sql};
use ctx0_stack::{SECRET_KEY, many::Many};
use serde_json::{Value, json};
use tokio::process::Command;

use self::{responder::Responder, run::Task};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many projects at a time. Two processors have enough to do with fewer databases.
const AT_A_TIME_DATABASES: [usize; 3] = [1, 16, 64];
const AT_A_TIME_MOCKED: [usize; 3] = [1, 16, 256];

/// The variables with other numbers of projects.
const DATABASES: &str = "CTX0_FLEET_DATABASES";
const PROJECTS: &str = "CTX0_FLEET_PROJECTS";

const OPERATIONS: [&str; 2] = ["status", "apply"];

/// Two small migrations, as in `benches/distance.rs`.
const VERSIONS: usize = 2;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    if let Some(task) = Task::of_this_process()? {
        return task.run().await;
    }
    let load = load()?;
    let (databases, projects) = (number(DATABASES, 200)?, number(PROJECTS, 10_000)?);
    let folder = tempfile::tempdir()?;
    let mut runs = Vec::new();

    eprintln!("making {databases} databases");
    let many = Many::start(databases, install_sql()).await?;
    let version = many.sql(0, "show server_version").await?;
    let file = folder.path().join("databases.toml");
    fs::write(&file, fleet_file(&many.urls()))?;
    let mut responses = HashMap::new();
    for at_a_time in AT_A_TIME_DATABASES {
        for operation in OPERATIONS {
            let task = Task::new(&file, operation, at_a_time);
            many.take_exchanges();
            let mut measured = measure(&task, databases).await?;
            let exchanges = many.take_exchanges();
            measured["requests"] = exchanges.len().into();
            told("PostgreSQL", measured, &mut runs);
            for exchange in exchanges {
                responses.entry(exchange.path).or_insert(exchange.response);
            }
        }
        for database in 0..databases {
            is_applied_once(&many, database).await?;
            forget(&many, database).await?;
        }
    }
    drop(many);

    let responder = Responder::start(responses, folder.path()).await?;
    let file = folder.path().join("mocked.toml");
    let urls: Vec<_> = (0..projects)
        .map(|project| format!("{}/project_{project}", responder.url()))
        .collect();
    fs::write(&file, fleet_file(&urls))?;
    for at_a_time in AT_A_TIME_MOCKED {
        for operation in OPERATIONS {
            let task = Task::new(&file, operation, at_a_time).trusting(responder.ca_file());
            responder.take_requests();
            let mut measured = measure(&task, projects).await?;
            measured["requests"] = responder.take_requests().into();
            told("mocked", measured, &mut runs);
        }
    }

    let json = json!({
        "command": command(),
        "machine": machine()?,
        "loadBefore": load,
        "postgresql": version[0][0],
        "crate": env!("CARGO_PKG_VERSION"),
        "runs": runs,
    });
    println!("{}", page::table(&json));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::write(root.join("benches/fleet_scale.json"), format!("{json:#}\n"))?;
    fs::write(root.join("benches/fleet_scale.svg"), page::picture(&json))?;
    let guide = root.join("src/guide/fleet.md");
    let text = fs::read_to_string(&guide)?;
    fs::write(
        &guide,
        page::with_measurements(&text, &json).ok_or("the guide has no place for them")?,
    )?;
    Ok(())
}

/// What was entered.
fn command() -> String {
    let verb = if cfg!(debug_assertions) {
        "test"
    } else {
        "bench"
    };
    let set = |name: &str| Some(format!("{name}={} ", env::var(name).ok()?));
    let variables: String = [DATABASES, PROJECTS].into_iter().filter_map(set).collect();
    format!("{variables}cargo {verb} --all-features --bench fleet_scale")
}

/// Runs the task in a process of its own.
async fn measure(task: &Task, projects: usize) -> Result<Value> {
    let output = Command::new(env::current_exe()?)
        .envs(task.environment())
        .env(run::KEY, SECRET_KEY)
        .stderr(Stdio::inherit())
        .output()
        .await?;
    if !output.status.success() {
        return Err(format!("the run failed: {}", output.status).into());
    }
    let measured: Value = serde_json::from_slice(&output.stdout)?;
    let all = format!("{projects} {}", task.ends_as());
    if measured["summary"] != all {
        return Err(format!("not {all}: {}", measured["summary"]).into());
    }
    Ok(measured)
}

fn told(wire: &str, mut measured: Value, runs: &mut Vec<Value>) {
    measured["wire"] = wire.into();
    eprintln!("{measured}");
    runs.push(measured);
}

fn fleet_file(urls: &[String]) -> String {
    let projects = urls.iter().enumerate().map(|(number, url)| {
        format!(
            "[[projects]]\nname = 'project {number}'\nurl = '{url}'\nkey_env = '{}'\n",
            run::KEY
        )
    });
    projects.collect()
}

/// What is applied.
fn migrations() -> Result<Migrations> {
    let entries: Vec<_> = (1..=VERSIONS)
        .map(|number| json!({"version": number, "name": format!("{number:03}_a"), "description": "", "file": format!("{number:03}_a.sql")}))
        .collect();
    let manifest = json!({"currentVersion": VERSIONS, "migrations": entries}).to_string();
    let files: Vec<_> = (1..=VERSIONS)
        .map(|number| {
            let text = format!(
                "create table public.ctx0_{number} (id bigint generated always as identity primary key, a text not null);\n\
                 create index ctx0_{number}_a on public.ctx0_{number} (a);\n\
                 insert into public.ctx0_{number} (a) values ('a');\n"
            );
            (format!("{number:03}_a.sql"), text)
        })
        .collect();
    let files = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let all: Vec<_> = [("manifest.json", manifest.as_str())]
        .into_iter()
        .chain(files)
        .collect();
    Ok(Migrations::embedded(&all)?)
}

async fn is_applied_once(many: &Many, database: usize) -> Result<()> {
    let counts = "select (select count(*) from public.ctx0_schema_versions),
                         (select count(*) from ctx0_private.ctx0_schema_attempts where outcome = 'applied')";
    let rows = many.sql(database, counts).await?;
    let versions = Some(VERSIONS.to_string());
    if rows != [[versions.clone(), versions]] {
        return Err(format!("database {database}: {rows:?}").into());
    }
    Ok(())
}

/// Back to the state before the first version.
async fn forget(many: &Many, database: usize) -> Result<()> {
    let tables: Vec<_> = (1..=VERSIONS)
        .map(|number| format!("public.ctx0_{number}"))
        .collect();
    let forget = format!(
        "drop table {}; delete from public.ctx0_schema_versions; delete from ctx0_private.ctx0_schema_attempts;",
        tables.join(", ")
    );
    many.sql(database, &forget).await?;
    Ok(())
}

fn number(variable: &str, otherwise: usize) -> Result<usize> {
    match env::var(variable) {
        Ok(number) => Ok(number.parse()?),
        Err(_) => Ok(otherwise),
    }
}

/// The load of the last minute.
fn load() -> Result<f64> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').next().unwrap_or_default().parse()?)
}

fn machine() -> Result<Value> {
    let line = |path: &str, name: &str| -> Result<String> {
        let text = fs::read_to_string(path)?;
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        Ok(value.map_or_else(String::new, |(_, value)| value.trim().to_owned()))
    };
    let memory = line("/proc/meminfo", "MemTotal")?;
    let kib: u64 = memory.trim_end_matches(" kB").parse()?;
    Ok(json!({
        "processor": line("/proc/cpuinfo", "model name")?,
        "processors": std::thread::available_parallelism()?.get(),
        "memoryGib": (kib as f64 / 1024.0 / 1024.0).round(),
        "system": env::consts::OS,
    }))
}
