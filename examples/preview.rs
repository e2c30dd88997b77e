//! See a change before it happens: its diff, its locks, what it rewrites, what it warns of and
//! how long it takes, on a table of a million rows.
//!
//! ```text
//! cargo run --example preview                      # an example change on a temporary PostgreSQL
//! cargo run --example preview -- --migrations DIR  # what is pending of these, on your project
//! cargo run --example preview -- --rollback-to 1   # what taking back to version 1 would do there
//! ```
//!
//! With `SUPABASE_URL` and `SUPABASE_SERVICE_ROLE_KEY` set it previews on that project, and changes
//! nothing there.
//!
//! Exit codes: 0 it would succeed, 1 it would fail or the database could not be asked, 2 wrong usage.

use std::{
    env,
    error::Error,
    io::{self, IsTerminal},
    process::ExitCode,
    time::{Duration, Instant},
};

use ctx0_schema::{
    Config, ENV_KEY, ENV_URL, Migrations, Preview, SchemaVersionManager, Version, install_sql,
};
use ctx0_stack::Stack;

const USAGE: &str = "usage: preview [--migrations FOLDER] [--rollback-to VERSION]";

/// The longest budget of a preview.
const LONGEST: Duration = Duration::from_secs(25);

/// A table of the user's, and a change that she should see before she agrees to it.
const EXAMPLE: [(&str, &str); 3] = [
    (
        "manifest.json",
        r#"{"currentVersion": 2, "migrations": [
            {"version": 1, "name": "001_notes", "description": "A million notes", "file": "001_notes.sql"},
            {"version": 2, "name": "002_tags", "description": "Longer numbers, and tags in place of a label",
             "file": "002_tags.sql"}]}"#,
    ),
    (
        "001_notes.sql",
        "create table public.ctx0_notes (id integer primary key, label text, number integer, content text not null);
         alter table public.ctx0_notes enable row level security;
         insert into public.ctx0_notes
         select i, 'label ' || i % 100, i, 'What was noted as number ' || i from generate_series(1, 1000000) i;",
    ),
    (
        "002_tags.sql",
        "alter table public.ctx0_notes alter column number type bigint;
         alter table public.ctx0_notes add column tags text[] not null default '{}';
         create index ctx0_notes_tags_idx on public.ctx0_notes using gin (tags);
         alter table public.ctx0_notes drop column label;",
    ),
];

#[tokio::main]
async fn main() -> ExitCode {
    if env::args()
        .skip(1)
        .any(|argument| argument == "--help" || argument == "-h")
    {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let Some(options) = Options::parse(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(options).await {
        Ok(preview) if preview.succeeds() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<Preview, Box<dyn Error>> {
    let preview = if env::var_os(ENV_URL).is_some() || env::var_os(ENV_KEY).is_some() {
        let migrations = match &options.migrations {
            Some(folder) => Migrations::from_dir(folder)?,
            None => Migrations::bundled()?,
        };
        let manager = SchemaVersionManager::new(&Config::from_env()?, migrations)?;
        look(&manager, options.rollback_to).await?
    } else if options.migrations.is_some() || options.rollback_to.is_some() {
        return Err(format!("{USAGE}\nboth need a project: set {ENV_URL} and {ENV_KEY}").into());
    } else {
        example().await?
    };
    // A terminal that wants no colours says so: https://no-color.org
    let colours =
        io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    if colours {
        println!("{}", preview.in_colour());
    } else {
        println!("{preview}");
    }
    Ok(preview)
}

async fn look(
    manager: &SchemaVersionManager,
    rollback_to: Option<Version>,
) -> Result<Preview, ctx0_schema::Error> {
    match rollback_to {
        None => manager.preview().await,
        Some(version) => manager.preview_rollback(version).await,
    }
}

async fn example() -> Result<Preview, Box<dyn Error>> {
    const STATE: &str =
        "select md5(string_agg(n::text, '' order by ctid)) from public.ctx0_notes n";
    eprintln!("{ENV_URL} is not set: starting a temporary PostgreSQL with a million rows…");
    let stack = Stack::temporary().await?;
    // On a real project this is what a person pastes into the SQL editor once.
    stack.sql(install_sql()).await?;
    stack.reload_schema().await?;
    let config = Config::new(stack.url(), stack.service_key())?;
    let manager = SchemaVersionManager::new(&config, Migrations::embedded(&EXAMPLE)?)?;
    let first = manager.change_log()[0].version;
    manager.apply_migration(first).await?;
    stack.sql("analyze public.ctx0_notes").await?;

    let before = stack.sql(STATE).await?;
    let began = Instant::now();
    // Nobody waits for this table, so there is no need to stop after the default of 5 s.
    let preview = manager.preview().budget(LONGEST).await?;
    let took = began.elapsed();
    let unchanged = stack.sql(STATE).await? == before;
    eprintln!("Tested in {took:.1?}. Every row is as before: {unchanged}.\n");
    Ok(preview)
}

#[derive(Default)]
struct Options {
    migrations: Option<String>,
    rollback_to: Option<Version>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self::default();
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--migrations" => options.migrations = Some(arguments.next()?),
                "--rollback-to" => {
                    options.rollback_to = Some(Version::new(arguments.next()?.parse().ok()?)?);
                }
                _ => return None,
            }
        }
        Some(options)
    }
}
