//! Commands that change the schema, and the preview that they begin with.

mod consent;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::json;

use self::consent::Question;
use super::{
    Output,
    args::{Consent, Global},
    exit::{Exit, Failure},
    progress, settings,
    terminal::{Activity, Terminal, interrupt},
    text,
};
use crate::{
    error::Error,
    manager::{PreviewRequest, Run},
    manifest::Version,
    preview::{Preview, PreviewState},
    report::{CancelReport, Progress, RunReport},
};

pub(super) async fn preview(
    global: &Global,
    terminal: &Terminal,
    to: Option<Version>,
    budget: Duration,
) -> Result<Output, Failure> {
    let manager = settings::manager(global)?;
    let request = match to {
        None => manager.preview(),
        Some(version) => manager.preview_rollback(version),
    };
    let (preview, interrupted) = test(terminal, request.budget(budget)).await?;
    let exit = if interrupted {
        Exit::Interrupted
    } else {
        outcome(&preview)
    };
    Ok(Output::new(exit, preview.in_colour().to_string(), &preview))
}

pub(super) async fn apply(
    global: &Global,
    terminal: &Terminal,
    consent: &Consent,
) -> Result<Output, Failure> {
    let manager = settings::manager(global)?;
    settings::tell_unknown_fields(global, terminal);
    let request = manager.preview().budget(consent.budget);
    change(terminal, consent, request, || manager.apply_all_pending()).await
}

pub(super) async fn rollback(
    global: &Global,
    terminal: &Terminal,
    version: Version,
    consent: &Consent,
) -> Result<Output, Failure> {
    let manager = settings::manager(global)?;
    let request = manager.preview_rollback(version).budget(consent.budget);
    change(terminal, consent, request, || manager.rollback_to(version)).await
}

/// Ends the change that is running, whoever asked for it.
pub(super) async fn cancel(global: &Global, terminal: &Terminal) -> Result<Output, Failure> {
    let manager = settings::manager(global)?;
    let report = terminal
        .read("stopping the change", manager.cancel())
        .await?;
    let (exit, line) = text::cancelled(&report);
    Ok(Output::new(exit, line, &report))
}

/// Shows what would change, asks, and changes exactly that.
async fn change(
    terminal: &Terminal,
    consent: &Consent,
    request: PreviewRequest,
    run: impl FnOnce() -> Run,
) -> Result<Output, Failure> {
    let (preview, interrupted) = test(terminal, request).await?;
    if interrupted {
        return Err(Failure::interrupted("interrupted: nothing was changed"));
    }
    if preview.versions.is_empty() {
        let text = format!(
            "Nothing to change: the schema is at v{}",
            preview.current_version
        );
        let json =
            json!({"success": true, "applied": [], "currentVersion": preview.current_version});
        return Ok(Output::new(Exit::Done, text::success(&text), &json));
    }
    terminal.tell(&text::summary(&preview));
    if let Some(failure) = preview.failure() {
        return Err(Failure::of_preview(preview.current_version, failure));
    }
    if let Some(error) = nothing_runs(&preview) {
        return Err(error.into());
    }
    let question = Question::of(&preview);
    let agreed = agree(terminal, consent, &question).await?;

    let mut run = run().agreed_to(preview.token).may_lock(agreed.may_lock);
    if let Some(name) = agreed.backup_by {
        run = run.backup_made_by(name);
    }
    let report = follow(terminal, run).await?;
    let text = format!("The schema is at v{}", report.current_version);
    let mut json = json!(report);
    json["currentVersion"] = json!(report.current_version);
    Ok(Output::new(Exit::Done, text::success(&text), &json))
}

/// Makes a preview. Ctrl-C ends it in the database, and what it saw by then counts.
async fn test(terminal: &Terminal, request: PreviewRequest) -> Result<(Preview, bool), Failure> {
    let canceller = request.canceller();
    let activity = Activity::new("testing the change on the database");
    let heard = activity.clone();
    let mut interrupted = false;
    let work = async {
        let preview = request.into_future();
        tokio::pin!(preview);
        tokio::select! {
            preview = &mut preview => return preview,
            () = interrupt() => interrupted = true,
        }
        heard.set("ending the preview in the database");
        tokio::select! {
            _ = async { tokio::join!(canceller.cancel(), std::future::pending::<()>()) } => unreachable!(),
            preview = &mut preview => preview,
        }
    };
    let preview = terminal.during(&activity, work).await?;
    Ok((preview, interrupted))
}

/// What was agreed to.
struct Agreed {
    /// Who made the backup, if someone said that there is one.
    backup_by: Option<String>,
    may_lock: bool,
}

/// Asks for consent.
async fn agree(
    terminal: &Terminal,
    consent: &Consent,
    question: &Question,
) -> Result<Agreed, Failure> {
    let (mut backup_by, mut may_lock) = (consent.backup_by.clone(), consent.may_lock);
    if consent.yes || !terminal.is_interactive() {
        question
            .decide_without_asking(consent)
            .map_err(Failure::not_confirmed)?;
        return Ok(Agreed {
            backup_by,
            may_lock,
        });
    }
    if let Some(text) = question.lock().filter(|_| !may_lock) {
        let answer = terminal.ask(&text).await?;
        may_lock = matches!(answer.to_lowercase().as_str(), "y" | "yes");
        if !may_lock {
            return Err(Failure::not_confirmed("nothing was changed"));
        }
    }
    if question.needs_backup() && backup_by.is_none() {
        let name = terminal.ask(question.backup()).await?;
        if name.is_empty() {
            return Err(Failure::not_confirmed(
                "nothing was changed: make a backup first",
            ));
        }
        backup_by = Some(name);
    }
    let answer = terminal.ask(&question.text()).await?;
    if question.is_agreed(&answer) {
        Ok(Agreed {
            backup_by,
            may_lock,
        })
    } else {
        Err(Failure::not_confirmed("nothing was changed"))
    }
}

/// Follows a run to its end. Ctrl-C offers to stop it; a second one leaves it running.
async fn follow(terminal: &Terminal, run: Run) -> Result<RunReport, Failure> {
    let activity = Activity::new("starting");
    let heard = activity.clone();
    let sent = Arc::new(Mutex::new(None));
    let last = Arc::clone(&sent);
    let canceller = run.canceller();
    let run = run.on_progress(move |progress| {
        if let Progress::Started { version, .. } = progress {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
        }
        if let Some(now) = progress::step(&progress) {
            heard.set(now);
        }
        if let Some(line) = progress::finished(&progress) {
            heard.done(&line);
        }
    });
    let mut run = run.into_future();
    loop {
        tokio::select! {
            result = terminal.during(&activity, &mut run) => return Ok(result?),
            () = interrupt() => {}
        }
        let sent = *sent.lock().unwrap_or_else(PoisonError::into_inner);
        let leave = || Failure::interrupted(consent::interrupted(sent));
        let Some(version) = sent.filter(|_| terminal.is_interactive()) else {
            return Err(leave());
        };
        let question = consent::stop(version);
        let answer = tokio::select! {
            result = &mut run => return Ok(result?),
            answer = terminal.ask(&question) => answer.map_err(|_| leave())?,
        };
        if matches!(answer.to_lowercase().as_str(), "y" | "yes") {
            activity.set(format!("stopping v{version}"));
            let stopping = async {
                tokio::select! {
                    result = &mut run => Err(result),
                    report = canceller.cancel() => Ok(report),
                }
            };
            match terminal.during(&activity, stopping).await {
                Err(result) => return Ok(result?),
                Ok(Ok(CancelReport::Cancelled { .. })) => {}
                Ok(Ok(report)) => terminal.tell(&text::cancelled(&report).1),
                Ok(Err(error)) => terminal.tell(&text::warning(&error.to_string())),
            }
        }
    }
}

/// The error with which a version would end that nothing runs.
fn nothing_runs(preview: &Preview) -> Option<Error> {
    let (version, closed) = preview
        .outside()
        .find(|(_, outside)| outside.way.is_none())?;
    Some(Error::NothingRunsSql {
        version,
        reason: closed.reason.clone().unwrap_or_default(),
        may_lock: false,
    })
}

/// How a preview ended.
fn outcome(preview: &Preview) -> Exit {
    if preview.failure().is_some() {
        Exit::Failed
    } else if preview
        .versions
        .iter()
        .all(|version| version.state == PreviewState::Tested)
    {
        Exit::Done
    } else {
        Exit::Undecided
    }
}
