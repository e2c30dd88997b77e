//! `fleet`: the same in many projects.

use std::{
    fs::{self, OpenOptions},
    io,
    path::Path,
};

use super::{
    Output,
    args::{Fleet as Arguments, FleetCommand, Global},
    exit::{Exit, Failure},
    progress, settings,
    terminal::{Activity, Terminal, interrupt},
    text,
};
use crate::fleet::{
    Fleet, FleetConsent, FleetError, FleetEvent, FleetFile, FleetOperation, FleetReport,
    ProjectOutcome,
};

pub(super) async fn fleet(
    global: &Global,
    terminal: &Terminal,
    arguments: &Arguments,
) -> Result<Output, Failure> {
    if global.url.is_some() || global.key_file.is_some() || global.env_file.is_some() {
        return Err(Failure::usage(
            "--url, --key-file and --env-file are for one project: fleet takes them from its file",
        ));
    }
    let file = FleetFile::read(&arguments.file)?;
    let number = file.projects().len();
    let operation = operation(terminal, arguments, number).await?;
    let mut fleet = Fleet::new(file, settings::migrations(global)?);
    for group in &arguments.group {
        fleet = fleet.group(group);
    }
    if let Some(number) = arguments.concurrency {
        fleet = fleet.concurrency(number);
    }
    if let Some(group) = &arguments.canary {
        fleet = fleet.canary(group);
    }
    if let Some(rule) = arguments.stop_after {
        fleet = fleet.stop_after(rule);
    }
    if let Some(path) = &arguments.report {
        fleet = fleet.report_to(path);
    }
    if let Some(path) = &arguments.resume {
        fleet = fleet.resume(path);
    }
    let options = global.clone();
    fleet = fleet.configure(move |config| settings::with_options(config, &options));

    // Before any project is begun. The page of an earlier run stays until there is a new one.
    let page = arguments.markdown.as_deref();
    page.map(check_writable).transpose()?;
    let activity = Activity::default();
    let heard = activity.clone();
    let fleet = fleet.on_event(move |event| match event {
        FleetEvent::Started { name } => heard.set_for(&name, format!("{name}: begun")),
        FleetEvent::Progress { name, progress } => {
            if let Some(step) = progress::step(&progress) {
                heard.set_for(&name, format!("{name}: {step}"));
            }
        }
        FleetEvent::Finished(project) => {
            heard.end_for(&project.name);
            heard.done(text::project(&project).trim_end());
        }
    });
    let report = tokio::select! {
        report = terminal.during(&activity, fleet.run(operation)) => report,
        () = interrupt() => return Err(Failure::interrupted(interrupted(arguments))),
    };
    let (report, mut failure) = match report {
        Err(FleetError::ReportCut {
            path,
            report,
            source,
        }) => {
            let what = format!(
                "the report {} could no longer be written: it lacks the projects that ended last",
                path.display()
            );
            (*report, Some(Failure::io(what, &source)))
        }
        report => (report?, None),
    };
    if let Some(path) = page
        && let Err(error) = fs::write(path, report.markdown())
    {
        failure.get_or_insert_with(|| not_writable(path, &error));
    }
    let text = text::fleet(&report, arguments);
    let output = Output::new(exit(&report), text, &report);
    Ok(match failure {
        None => output,
        Some(failure) => output.and_failed(failure),
    })
}

/// Opens the file and leaves its text as it is.
fn check_writable(path: &Path) -> Result<(), Failure> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    file.map(drop).map_err(|error| not_writable(path, &error))
}

fn not_writable(path: &Path, error: &io::Error) -> Failure {
    let what = format!(
        "{} cannot be written: check the path and its permissions",
        path.display()
    );
    Failure::io(what, error)
}

/// What to do, once it is agreed to.
async fn operation(
    terminal: &Terminal,
    arguments: &Arguments,
    projects: usize,
) -> Result<FleetOperation, Failure> {
    Ok(match &arguments.command {
        FleetCommand::Status => FleetOperation::Status,
        FleetCommand::Plan => FleetOperation::Plan,
        FleetCommand::Preview { budget } => FleetOperation::Preview(*budget),
        FleetCommand::Verify => FleetOperation::Verify,
        FleetCommand::Apply(consent) => {
            if !consent.yes {
                if !terminal.is_interactive() {
                    return Err(Failure::not_confirmed(
                        "nothing was changed: this is not a terminal, so nobody can be asked; --yes applies without asking",
                    ));
                }
                let which = match &arguments.group[..] {
                    [] => format!("all {projects} projects"),
                    groups => format!("the projects of {}", groups.join(", ")),
                };
                let question =
                    format!("\nApply what is pending in {which} of the file? Type \"apply\":");
                if !terminal.ask(&question).await?.eq_ignore_ascii_case("apply") {
                    return Err(Failure::not_confirmed("nothing was changed"));
                }
            }
            FleetOperation::Apply(FleetConsent {
                allow_data_loss: consent.allow_data_loss,
                backup_by: consent.backup_by.clone(),
                may_lock: consent.may_lock,
                budget: consent.budget,
            })
        }
    })
}

fn interrupted(arguments: &Arguments) -> String {
    let report = arguments.report.as_ref().or(arguments.resume.as_ref());
    let next = match report {
        Some(path) => format!("--resume {} goes on with the rest", path.display()),
        None => "the same command goes on with what is still pending".to_owned(),
    };
    format!(
        "interrupted: no further project was begun; what has begun ends completely or not at all, and {next}"
    )
}

/// What failed counts first.
fn exit(report: &FleetReport) -> Exit {
    let has = |outcome| {
        report
            .projects
            .iter()
            .any(|project| project.outcome == outcome)
    };
    if !report.not_started.is_empty() || has(ProjectOutcome::Failed) {
        Exit::Failed
    } else if has(ProjectOutcome::Refused) {
        Exit::NotConfirmed
    } else if has(ProjectOutcome::Drifted) {
        Exit::Drifted
    } else if has(ProjectOutcome::Pending) {
        Exit::Pending
    } else if has(ProjectOutcome::Undecided) {
        Exit::Undecided
    } else {
        Exit::Done
    }
}
