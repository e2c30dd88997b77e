//! A daemon with its window: checks for updates, shows them in a banner, and applies them
//! when the user agrees.
//!
//! ```text
//! cargo run --example desktop                       # then open the address that it prints
//! cargo run --example desktop -- --interval 60      # a check every minute
//! cargo run --example desktop -- --follow URL       # only versions that are in this manifest of a hosted service
//! cargo run --example desktop -- --migrations DIR   # other migrations than this crate's
//! ```
//!
//! With `SUPABASE_URL` and `SUPABASE_SERVICE_ROLE_KEY` set, it works on that project. With
//! neither, it starts a temporary PostgreSQL at version 1, which is gone when the daemon ends.
//!
//! The address contains a token that changes on every start, because whoever can use the
//! window can change the database. An app that restarts its daemon can pass the token in
//! `CTX0_DESKTOP_TOKEN`, so that open windows reconnect.

mod server;

use std::{env, error::Error, io, process::ExitCode, time::Duration};

use ctx0_schema::{
    Config, ConfigBuilder, ENV_KEY, ENV_URL, HostedPolicy, Ipc, Migrations, Scheduler,
    SchemaVersionManager, install_sql,
};
use ctx0_stack::Stack;
use tokio::io::AsyncReadExt;

use self::server::{Server, Token};

const USAGE: &str = "usage: desktop [--port N] [--interval SECONDS] [--migrations FOLDER] [--follow URL] [--until-stdin-closes]";

/// The version of this app. An app of your own has `env!("CARGO_PKG_VERSION")` here, or what its
/// `package.json` says.
const APP_VERSION: &str = "1.3.0";

/// The token of the address, if it is not made here.
const ENV_TOKEN: &str = "CTX0_DESKTOP_TOKEN";

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
        Ok(()) => ExitCode::SUCCESS,
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

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let migrations = match &options.migrations {
        Some(folder) => Migrations::from_dir(folder)?,
        None => Migrations::bundled()?,
    };
    // A temporary database lives as long as this binding.
    let (mut config, stack) = project().await?;
    config = config.app_version(APP_VERSION);
    if let Some(url) = &options.follow {
        config = config
            .hosted_manifest(url)
            .hosted_policy(HostedPolicy::Follow);
    }
    let manager = SchemaVersionManager::new(&config.build()?, migrations)?;
    if stack.is_some() {
        // One version behind, so that there is an update to see.
        let first = manager.change_log()[0].version;
        manager.apply_migration(first).await?;
    }

    let mut scheduler = Scheduler::builder(manager.clone());
    if let Some(interval) = options.interval {
        scheduler = scheduler.interval(interval);
    }
    let ipc = Ipc::new(manager, scheduler.start());
    let token = match env::var(ENV_TOKEN) {
        Ok(token) => Token::parse(token)
            .ok_or_else(|| format!("{ENV_TOKEN}: 32 or more letters and digits"))?,
        Err(_) => Token::random(),
    };
    let server = Server::bind(options.port, token)
        .await
        .map_err(|error| cannot_listen(options.port, &error))?;
    println!("ctx0 is at {}", server.address());

    tokio::select! {
        () = server.run(ipc) => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        ended = end_of_input(), if options.until_stdin_closes => ended?,
    }
    Ok(())
}

fn cannot_listen(port: u16, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "port {port} is in use: choose another with --port, or leave it out for a free one"
            )
        }
        _ => format!("cannot listen on port {port}: {error}"),
    }
}

async fn project() -> Result<(ConfigBuilder, Option<Stack>), Box<dyn Error>> {
    if env::var_os(ENV_URL).is_some() || env::var_os(ENV_KEY).is_some() {
        return Ok((ConfigBuilder::from_env()?, None));
    }
    eprintln!("{ENV_URL} is not set: starting a temporary PostgreSQL …");
    let stack = Stack::temporary().await?;
    // On a real project this is what a person pastes into the SQL editor once.
    stack.sql(install_sql()).await?;
    stack.reload_schema().await?;
    let config = Config::builder(stack.url(), stack.service_key());
    Ok((config, Some(stack)))
}

async fn end_of_input() -> std::io::Result<()> {
    let mut input = tokio::io::stdin();
    while input.read(&mut [0; 256]).await? > 0 {}
    Ok(())
}

#[derive(Default)]
struct Options {
    /// 0 for a free one.
    port: u16,
    interval: Option<Duration>,
    migrations: Option<String>,
    /// The manifest of a hosted service.
    follow: Option<String>,
    until_stdin_closes: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self::default();
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--port" => options.port = arguments.next()?.parse().ok()?,
                "--interval" => {
                    let seconds = arguments.next()?.parse().ok()?;
                    options.interval = Some(Duration::from_secs(seconds));
                }
                "--migrations" => options.migrations = Some(arguments.next()?),
                "--follow" => options.follow = Some(arguments.next()?),
                "--until-stdin-closes" => options.until_stdin_closes = true,
                _ => return None,
            }
        }
        Some(options)
    }
}
