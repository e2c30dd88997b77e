//! Checks for a newer schema, asks, applies it and shows the ledger, in a terminal.
//!
//! ```text
//! cargo run --example quickstart            # asks before it changes anything
//! cargo run --example quickstart -- --yes   # does not ask
//! ```
//!
//! With `SUPABASE_URL` and `SUPABASE_SERVICE_ROLE_KEY` set it works on that project,
//! for example on `supabase start`. With neither it starts a temporary PostgreSQL,
//! which is gone when it ends.
//!
//! Exit codes: 0 the database is up to date, 1 something failed, 2 wrong usage,
//! 3 there are updates and they were not applied.

use std::{
    env,
    error::Error,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use ctx0_schema::{
    AppliedVersion, Config, ENV_KEY, ENV_URL, LedgerError, Migrations, Progress,
    SchemaVersionManager, WaitReason, install_sql,
};
use ctx0_stack::Stack;

const USAGE: &str = "usage: quickstart [--yes]";

#[tokio::main]
async fn main() -> ExitCode {
    if env::args()
        .skip(1)
        .any(|argument| argument == "--help" || argument == "-h")
    {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let yes = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--yes" || flag == "-y" => true,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(yes).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(yes: bool) -> Result<ExitCode, Box<dyn Error>> {
    // A temporary database lives as long as this binding.
    let (config, _stack) = database().await?;
    println!("database: {}", config.rest_url());
    let manager = SchemaVersionManager::new(&config, Migrations::bundled()?)?;

    let check = manager.check_for_updates().await?;
    if let Some(problem) = check.problem {
        eprintln!("\n{problem}");
        let code = if matches!(problem, LedgerError::DatabaseAhead { .. }) {
            3
        } else {
            1
        };
        return Ok(ExitCode::from(code));
    }
    if check.has_updates {
        println!(
            "\nctx0 schema update available (v{} → v{})\n",
            check.current_version, check.latest_version
        );
        for pending in &check.pending_migrations {
            println!("  v{}: {}", pending.version, pending.description);
        }
        if !(yes || agreed()?) {
            return Ok(ExitCode::from(3));
        }
        println!();
        manager.apply_all_pending().on_progress(show).await?;
    }

    let check = manager.check_for_updates().await?;
    println!(
        "\nThe database is up to date at v{}. Its ledger:\n",
        check.current_version
    );
    print_table(&manager.history().await?);
    Ok(ExitCode::SUCCESS)
}

async fn database() -> Result<(Config, Option<Stack>), Box<dyn Error>> {
    if env::var_os(ENV_URL).is_some() || env::var_os(ENV_KEY).is_some() {
        return Ok((Config::from_env()?, None));
    }
    println!("{ENV_URL} is not set: starting a temporary PostgreSQL…");
    let stack = Stack::temporary().await?;
    // On a real project this is what a person pastes into the SQL editor once.
    stack.sql(install_sql()).await?;
    stack.reload_schema().await?;
    Ok((Config::new(stack.url(), stack.service_key())?, Some(stack)))
}

fn agreed() -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        println!(
            "\nNothing was changed: this is not a terminal, so nobody can be asked. --yes applies without asking."
        );
        return Ok(false);
    }
    print!("\nApply? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    let agreed = matches!(answer.trim().to_lowercase().as_str(), "y" | "yes");
    if !agreed {
        println!("Nothing was changed.");
    }
    Ok(agreed)
}

fn show(progress: Progress) {
    match progress {
        Progress::Started {
            version,
            migration_name,
            position,
            total,
            ..
        } => {
            println!("  [{position}/{total}] v{version} {migration_name} …");
        }
        Progress::Waiting {
            position: Some(position),
            waited,
            ..
        } => println!(
            "        v{}, {position} ({} s)",
            position.version,
            waited.as_secs()
        ),
        Progress::Waiting { reason, waited, .. } => {
            let what = match reason {
                WaitReason::Running => "it is still running",
                WaitReason::OtherChange => "another change is running",
                WaitReason::Preview => "a preview is running",
                WaitReason::FunctionsMissing => "the installed functions are missing, trying again",
                WaitReason::NoResponse => "no response yet, trying again",
                WaitReason::TableInUse => "a table is in use, trying again",
                _ => "waiting",
            };
            println!("        {what} ({} s)", waited.as_secs());
        }
        Progress::NextWay { way, reason, .. } => {
            println!("        going on through {way}: {reason}");
        }
        Progress::Applied {
            execution_ms: Some(ms),
            ..
        } => println!("        applied in {ms} ms"),
        Progress::Applied {
            execution_ms: None, ..
        } => println!("        applied by another process"),
        Progress::Failed { end, .. } => println!("        {end}"),
        _ => {}
    }
}

fn print_table(ledger: &[AppliedVersion]) {
    let mut rows = vec![["version", "name", "applied at", "by", "ms"].map(str::to_owned)];
    rows.extend(ledger.iter().map(|row| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let applied_at = row.applied_at.map(|at| at.strftime("%F %T").to_string());
        let ms = row
            .execution_ms
            .map(|ms| ms.to_string())
            .unwrap_or_default();
        [
            row.version.to_string(),
            row.migration_name.clone(),
            applied_at.unwrap_or_default(),
            text(&row.applied_by),
            ms,
        ]
    }));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    for row in &rows {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        println!("  {}", cells.join("  ").trim_end());
    }
}
