//! `install` and `uninstall`: the functions in the database.

use std::future::IntoFuture;

use serde_json::json;

use super::{
    Output,
    args::{Global, InstallOptions, UninstallOptions},
    exit::{Exit, Failure},
    settings,
    terminal::{Activity, Terminal, interrupt},
    text,
};
use crate::{
    error::Error,
    install::{RPC_VERSION, install_sql, uninstall_sql},
    report::{InstallOutcome, InstallReport},
};

const UNINSTALL: &str = "uninstall";
const FORGET: &str = "forget the history";

pub(super) async fn install(
    global: &Global,
    terminal: &Terminal,
    options: &InstallOptions,
) -> Result<Output, Failure> {
    if options.print {
        return Ok(sql(install_sql()));
    }
    let manager = settings::manager(global)?;
    let asked = async { Ok::<_, Failure>(manager.status().await) };
    let found = terminal.read("looking for the functions", asked).await?;
    // Also where they are of an older release, or may not be called.
    if options.again || found.is_err() {
        let question = format!("\nInstall release {RPC_VERSION} of the functions? [y/N]");
        agree(terminal, options.yes, &question, &["y", "yes"]).await?;
    }
    let install = manager.install();
    let install = if options.again {
        install.again()
    } else {
        install
    };
    let report = follow(terminal, "installing the functions", install).await?;
    Ok(Output::new(
        Exit::Done,
        text::success(&said(&report)),
        &report,
    ))
}

pub(super) async fn uninstall(
    global: &Global,
    terminal: &Terminal,
    options: &UninstallOptions,
) -> Result<Output, Failure> {
    if options.print {
        return Ok(sql(uninstall_sql()));
    }
    let manager = settings::manager(global)?;
    let (what, phrase) = if options.forget_history {
        ("the functions and the record of what was applied", FORGET)
    } else {
        (
            "the functions; your data and the record of what was applied stay",
            UNINSTALL,
        )
    };
    let question = format!("\nThis removes {what}. To go on, type \"{phrase}\":");
    agree(terminal, options.yes, &question, &[phrase]).await?;
    let uninstall = manager.uninstall();
    let uninstall = if options.forget_history {
        uninstall.forget_history()
    } else {
        uninstall
    };
    let report = follow(terminal, "removing the functions", uninstall).await?;
    let said = if report.was_installed {
        "The functions are removed"
    } else {
        "There were no functions"
    };
    let json = json!({
        "wasInstalled": report.was_installed, "historyKept": report.history_kept, "route": report.route,
    });
    Ok(Output::new(Exit::Done, text::success(said), &json))
}

fn said(report: &InstallReport) -> String {
    let release = report.release;
    match report.outcome {
        InstallOutcome::AlreadyInstalled => {
            format!("The functions are installed: release {release}")
        }
        InstallOutcome::Newer => {
            format!(
                "The functions are of the newer release {release}, which works with this program"
            )
        }
        InstallOutcome::Installed => format!("Installed release {release} of the functions"),
        InstallOutcome::Upgraded => format!("Upgraded the functions to release {release}"),
        InstallOutcome::Restored => format!("Restored release {release} of the functions"),
    }
}

pub(super) async fn agree(
    terminal: &Terminal,
    yes: bool,
    question: &str,
    answers: &[&str],
) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !terminal.is_interactive() {
        return Err(Failure::not_confirmed(
            "nothing was changed: this is not a terminal, so nobody can be asked; --yes goes on without asking",
        ));
    }
    let answer = terminal.ask(question).await?;
    if answers
        .iter()
        .any(|agreed| answer.eq_ignore_ascii_case(agreed))
    {
        Ok(())
    } else {
        Err(Failure::not_confirmed("nothing was changed"))
    }
}

/// Follows a script to its end, or until Ctrl-C.
async fn follow<T>(
    terminal: &Terminal,
    what: &str,
    script: impl IntoFuture<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    let activity = Activity::new(what);
    tokio::select! {
        report = terminal.during(&activity, script.into_future()) => Ok(report?),
        () = interrupt() => Err(Failure::interrupted(
            "interrupted: the script was sent and takes effect completely or not at all; `ctx0-schema doctor` shows \
             whether the functions are there",
        )),
    }
}

fn sql(sql: &str) -> Output {
    Output::verbatim(sql.to_owned(), &json!({ "sql": sql }))
}
