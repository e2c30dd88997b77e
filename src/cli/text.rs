//! What a person reads. Pure.

use std::{fmt::Write, time::Duration};

use anstyle::{AnsiColor, Style};

use super::{
    args,
    exit::Exit,
    progress,
    table::{fields, table, wrap},
};
use crate::{
    app_version::AppVersion,
    doctor::{CheckState, Diagnosis},
    drift::Verification,
    fleet::{FleetReport, ProjectOutcome, ProjectReport},
    ledger::{Action, AppliedVersion, Attempt, AttemptOutcome},
    manifest::{Backup, Migrations},
    preview::{Preview, PreviewState, WarningKind, clean, not_brought_back, short},
    repair::Recognition,
    report::{
        CancelReport, DatabaseStatus, HostedComparison, HostedState, SetupNeeded, UpdateCheck,
    },
    schema_objects::ObjectChange,
};

const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// What runs the setup script.
pub(super) const RUNS_THE_SCRIPT: &str = "`ctx0-schema install` runs that script.";

/// Each line in this style.
fn styled(style: Style, text: &str) -> String {
    let mut styled = String::new();
    for line in clean(text).lines() {
        let _ = writeln!(styled, "{style}{line}{style:#}");
    }
    styled
}

pub(super) fn error(message: &str) -> String {
    styled(RED, &format!("error: {message}"))
}

pub(super) fn cause(message: &str) -> String {
    format!("  because: {}\n", clean(message))
}

pub(super) fn warning(message: &str) -> String {
    styled(YELLOW, message)
}

pub(super) fn success(message: &str) -> String {
    styled(GREEN, message)
}

/// `2 updates are pending`, for example.
fn updates(number: usize) -> String {
    match number {
        1 => "1 update is pending".to_owned(),
        _ => format!("{number} updates are pending"),
    }
}

/// What the comparison says in a line.
fn state(check: &UpdateCheck) -> String {
    match &check.problem {
        Some(problem) => error(&problem.to_string()),
        None if check.has_updates => warning(&format!(
            "{}: v{} → v{}",
            updates(check.pending_migrations.len()),
            check.current_version,
            check
                .pending_migrations
                .last()
                .map_or(check.latest_version, |last| last.version)
        )),
        None if !check.newer.is_empty() => warning(&format!(
            "The database is at v{}, newer than this build's v{}; the app can work with it, so update it when you can",
            check.current_version, check.latest_version
        )),
        None => success(&format!(
            "The schema is up to date at v{}",
            check.current_version
        )),
    }
}

pub(super) fn status(
    url: &str,
    check: &UpdateCheck,
    database: Option<&DatabaseStatus>,
    setup: Option<&SetupNeeded>,
    width: usize,
) -> String {
    let mut text = state(check);
    text.push('\n');
    let schema = format!(
        "v{}; this build has v{}",
        check.current_version, check.latest_version
    );
    let mut pairs = vec![("project", url.to_owned()), ("schema", schema)];
    pairs.extend(
        check
            .hosted
            .as_ref()
            .map(|compared| ("hosted", hosted(compared))),
    );
    if let Some(database) = database {
        let running = match &database.position {
            Some(position) => progress::at(position),
            None if database.locked => "a change".to_owned(),
            None => "nothing".to_owned(),
        };
        pairs.extend([
            ("functions", format!("release {}", database.rpc_version)),
            ("PostgreSQL", clean(&database.server_version)),
            ("running", running),
        ]);
        let last = database.last_attempt.as_ref();
        pairs.extend(last.map(|last| ("last change", attempt(last))));
    }
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    text += &fields(&pairs, width);
    let unrecorded = database.map_or(0, |database| database.unrecorded.len());
    if let Some(setup) = setup {
        text.push('\n');
        text += &warning(&setup.message);
        text += &match setup.can_install {
            true => format!("Next: {RUNS_THE_SCRIPT}\n"),
            false => "Next: `ctx0-schema install --print` prints that script.\n".to_owned(),
        };
    } else if database.is_some_and(|database| database.locked) {
        text.push('\n');
        text += &warning("A change is running; what is pending is known when it has ended.");
        text += "Next: `ctx0-schema status` shows how far it is, `ctx0-schema cancel` stops it.\n";
    } else if unrecorded > 0 {
        text.push('\n');
        text += &warning(&format!(
            "The database has objects of ctx0 ({unrecorded}), and the ledger has no version of them."
        ));
        text += "Next: `ctx0-schema baseline` recognises what was made by hand.\n";
    } else if check.has_updates {
        text += "\nNext: `ctx0-schema preview` tests them, `ctx0-schema apply` applies them.\n";
    }
    text
}

/// How the database compares with the hosted service.
fn hosted(compared: &HostedComparison) -> String {
    let version = compared
        .version
        .map_or_else(String::new, |version| format!("v{version}; "));
    let mut text = version
        + match compared.state {
            HostedState::Behind => "this database is behind it",
            HostedState::Level => "this database is level with it",
            HostedState::Ahead => "this database is ahead of it",
            HostedState::Unknown => "its version is not known",
        };
    if let [first, rest @ ..] = &compared.withheld[..] {
        let names = rest.iter().map(|next| format!(", v{}", next.version));
        text += &format!(
            "; held back until it has them: v{}{}",
            first.version,
            names.collect::<String>()
        );
    }
    if let Some(problem) = &compared.problem {
        text += &format!(" (its manifest cannot be used now: {})", clean(problem));
    }
    text
}

fn attempt(attempt: &Attempt) -> String {
    let version = attempt.version;
    let what = match attempt.outcome {
        AttemptOutcome::Applied => format!("v{version} applied"),
        AttemptOutcome::AlreadyApplied => format!("v{version} was applied before"),
        AttemptOutcome::RolledBack => format!("v{version} rolled back"),
        AttemptOutcome::AlreadyRolledBack => format!("v{version} was rolled back before"),
        AttemptOutcome::Recorded => format!("ledger repaired, v{version}"),
        AttemptOutcome::AlreadyRecorded => format!("ledger needed no repair, v{version}"),
        AttemptOutcome::Conflict => format!("v{version} refused"),
        AttemptOutcome::Failed => format!("v{version} failed and was undone"),
        AttemptOutcome::Cancelled => format!("v{version} stopped and undone"),
    };
    let by = attempt
        .applied_by
        .iter()
        .map(|by| format!(" by {}", clean(by)));
    let why = attempt
        .message
        .iter()
        .map(|message| format!(": {}", clean(message)));
    let at = attempt.finished_at.strftime("%F %T");
    [what, format!(" at {at} UTC")]
        .into_iter()
        .chain(by)
        .chain(why)
        .collect()
}

pub(super) fn plan(
    check: &UpdateCheck,
    migrations: &Migrations,
    sql: bool,
    width: usize,
) -> String {
    let mut text = state(check);
    if let Some(compared) = check
        .hosted
        .as_ref()
        .filter(|hosted| !hosted.withheld.is_empty())
    {
        text += &format!("Hosted: {}\n", hosted(compared));
    }
    if !check.has_updates {
        return text;
    }
    let pending = || {
        check
            .pending_migrations
            .iter()
            .filter_map(|pending| migrations.get(pending.version))
    };
    let rows: Vec<_> = pending()
        .map(|migration| {
            let rollback = if migration.down_sql().is_some() {
                "yes"
            } else {
                "no"
            };
            vec![
                format!("v{}", migration.version()),
                migration.name().to_owned(),
                clean(migration.description()),
                rollback.to_owned(),
                migration.backup().map_or("", level).to_owned(),
                older_apps(migration.breaking(), migration.min_app_version()),
            ]
        })
        .collect();
    text.push('\n');
    text += &table(
        &[
            "version",
            "name",
            "what it does",
            "reversible",
            "backup",
            "older apps",
        ],
        &rows,
        width,
    );
    for pending in check.pending_migrations.iter().filter(|next| next.outside) {
        text += &format!(
            "\nv{} runs outside a transaction: reading and writing go on meanwhile. If it breaks off, it isn't undone as a \
             whole; what is left is removed before the next try.\n",
            pending.version
        );
    }
    if sql {
        for migration in pending() {
            text += &format!("\n{}", styled(BOLD, &format!("-- {}", migration.file())));
            for line in migration.sql().lines() {
                text += &format!("    {}\n", clean(line));
            }
        }
    }
    text
}

/// What a version means for apps that do not know it.
fn older_apps(breaking: Option<bool>, oldest: Option<&AppVersion>) -> String {
    match (oldest, breaking) {
        (Some(oldest), _) => format!("from {oldest} on"),
        (None, Some(false)) => "work on".to_owned(),
        (None, Some(true)) => "stop".to_owned(),
        (None, None) => "stop (not declared)".to_owned(),
    }
}

fn level(backup: Backup) -> &'static str {
    match backup {
        Backup::Recommended => "recommended",
        Backup::Required => "required",
    }
}

pub(super) fn verification(verification: &Verification) -> String {
    match verification {
        Verification::Unchanged { .. } => success(&capitalised(&verification.to_string())),
        Verification::CannotSay { .. } => warning(&capitalised(&verification.to_string())),
        Verification::Drifted {
            current_version,
            differences,
        } => {
            let mut text = warning(&format!(
                "The schema was changed since v{current_version} (- as it was left, + as it is now):"
            ));
            for line in differences.iter().flat_map(|change| change.diff.lines()) {
                text += &diff_line(line);
            }
            text
        }
    }
}

fn diff_line(line: &str) -> String {
    let style = match line.as_bytes().first() {
        _ if line.starts_with("---") || line.starts_with("+++") => BOLD,
        Some(b'-') => RED,
        Some(b'+') => GREEN,
        _ => Style::new(),
    };
    styled(style, line)
}

pub(super) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

pub(super) fn diagnosis(diagnosis: &Diagnosis, width: usize) -> String {
    /// Below the name where that leaves little room beside it.
    const NARROW: usize = 60;
    let (beside, below) = (19, 6);
    let mut text = format!("ctx0-schema {}\n", diagnosis.version);
    for check in &diagnosis.checks {
        let style = match check.state {
            CheckState::Good => GREEN,
            CheckState::Warning => YELLOW,
            CheckState::Failed => RED,
            CheckState::NotChecked => Style::new(),
        };
        text += &format!("{style}{:<4}{style:#}  {:<11}", check.state, check.name);
        let indent = if width < NARROW { below } else { beside };
        let remedy = check.remedy.iter().map(|remedy| format!("→ {remedy}"));
        let lines = std::iter::once(check.found.clone()).chain(remedy);
        let lines = lines.flat_map(|line| wrap(&clean(&line), width - indent));
        for (at, line) in lines.enumerate() {
            match at {
                0 if width >= NARROW => text += &format!("  {line}\n"),
                0 => text += &format!("\n{:indent$}{line}\n", ""),
                _ => text += &format!("{:indent$}{line}\n", ""),
            }
        }
    }
    text
}

pub(super) fn history(ledger: &[AppliedVersion], width: usize) -> String {
    if ledger.is_empty() {
        return "The database has no version yet.\n".to_owned();
    }
    let rows: Vec<_> = ledger
        .iter()
        .map(|row| {
            let applied_at = row.applied_at.map(|at| at.strftime("%F %T").to_string());
            vec![
                format!("v{}", row.version),
                clean(&row.migration_name),
                applied_at.unwrap_or_default(),
                clean(row.applied_by.as_deref().unwrap_or_default()),
                row.execution_ms
                    .map_or_else(String::new, |ms| ms.to_string()),
            ]
        })
        .collect();
    table(
        &["version", "name", "applied at (UTC)", "by", "ms"],
        &rows,
        width,
    )
}

/// A project of a fleet that has ended.
pub(super) fn project(project: &ProjectReport) -> String {
    let style = match project.outcome {
        ProjectOutcome::Failed | ProjectOutcome::Refused | ProjectOutcome::Drifted => RED,
        ProjectOutcome::Pending | ProjectOutcome::Undecided => YELLOW,
        ProjectOutcome::UpToDate
        | ProjectOutcome::Tested
        | ProjectOutcome::Applied
        | ProjectOutcome::Unchanged => GREEN,
    };
    let versions = match project.versions() {
        none if none.is_empty() => none,
        versions => format!(" {versions},"),
    };
    let seconds = Duration::from_millis(project.took_ms).as_secs_f64();
    styled(
        style,
        &format!(
            "{}: {},{versions} {seconds:.1} s: {}",
            project.name,
            project.outcome,
            project.message.replace('\n', " ")
        ),
    )
}

/// How a fleet ended, with what failed.
pub(super) fn fleet(report: &FleetReport, arguments: &args::Fleet) -> String {
    let summary = capitalised(&report.summary());
    let mut text = match report.succeeded() {
        true => success(&summary),
        false => error(&report.summary()),
    };
    let failed = report
        .projects
        .iter()
        .filter(|project| project.outcome.is_failure());
    for failed in failed {
        text += &project(failed);
    }
    if let Some(stopped) = &report.stopped {
        text += &warning(&format!("Stopped: {stopped}."));
    }
    let path = arguments.report.as_ref().or(arguments.resume.as_ref());
    if let Some(path) = path.filter(|_| !report.succeeded()) {
        text += &format!(
            "\n--resume {} goes on with what is not done.\n",
            path.display()
        );
    }
    text
}

/// What became of a change that was to be stopped.
pub(super) fn cancelled(report: &CancelReport) -> (Exit, String) {
    let said = capitalised(&report.to_string());
    match report {
        CancelReport::Cancelled { .. } | CancelReport::NotRunning => (Exit::Done, success(&said)),
        CancelReport::Finished { .. } => (Exit::Failed, warning(&said)),
        CancelReport::NotPermitted { .. } | CancelReport::Requested => {
            (Exit::Unknown, warning(&said))
        }
    }
}

/// What is asked to be agreed to, without the definitions.
pub(super) fn summary(preview: &Preview) -> String {
    let (from, to) = (preview.current_version, preview.target_version);
    let mut text = styled(
        BOLD,
        &format!("v{from} → v{to}, tested on this database and undone"),
    );
    for version in &preview.versions {
        let what = match version.action {
            Action::Apply => "",
            Action::Rollback => "rolling back ",
        };
        let title = format!("{what}v{}: {}", version.version, version.description);
        text += &format!("\n{}", styled(BOLD, title.trim_end_matches([' ', ':'])));
        text += &changes(&version.changes);
        match &version.outside {
            Some(outside) if outside.runs_outside() => {
                text += &format!("  {}\n", clean(&outside.to_string()));
            }
            Some(outside) => text += &warning(&format!("  ! {outside}")),
            None => {}
        }
        for warning in &version.warnings {
            let style = match warning.kind {
                WarningKind::DataLost | WarningKind::Opened => RED,
                _ => YELLOW,
            };
            text += &styled(style, &format!("  ! {}", warning.message));
        }
        if version.action == Action::Rollback {
            text += &warning(&format!("  ! {}", not_brought_back(version.version)));
        }
        match version.state {
            PreviewState::Tested => {}
            PreviewState::Failed => {
                let failure = version.failure.iter().map(ToString::to_string);
                text += &styled(RED, &format!("  {}", failure.collect::<String>()));
            }
            PreviewState::NotFinished { .. } | PreviewState::NotTested => {
                text += &warning("  not tested to its end");
            }
            PreviewState::After { version } => {
                text += &warning(&format!("  can only be tested once v{version} is applied"));
            }
        }
    }
    if let Some(advice) = &preview.backup {
        let level = level(advice.level);
        text += &format!(
            "\n{}",
            warning(&format!("Back up the database first ({level}):"))
        );
        text += &format!("{}\n", clean(&advice.instructions));
    }
    text
}

/// Which objects come, change and go.
fn changes(changes: &[ObjectChange]) -> String {
    let (mut creates, mut alters, mut drops) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        let kind = match (&change.before, &change.after) {
            (None, _) => &mut creates,
            (_, None) => &mut drops,
            (Some(_), Some(_)) => &mut alters,
        };
        kind.push(format!(
            "{} {}",
            change.kind.as_str(),
            clean(short(&change.name))
        ));
    }
    [("creates", creates), ("changes", alters), ("drops", drops)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("  {what} {}\n", names.join(", ")))
        .collect()
}

/// What the schema is, version by version, and how it differs from one of them.
pub(super) fn recognition(found: &Recognition, width: usize) -> String {
    if found.objects.is_empty() {
        return "The database has no objects of ctx0.\n".to_owned();
    }
    let rows: Vec<_> = found
        .versions
        .iter()
        .map(|compared| {
            vec![
                format!("v{}", compared.version),
                compared.migration_name.clone(),
                clean(&compared.likeness.to_string()),
            ]
        })
        .collect();
    let mut text = table(&["version", "name", "beside this database"], &rows, width);
    let shown = found.shown.as_ref().map(ToString::to_string);
    if let Some(shown) = shown.filter(|shown| !shown.is_empty()) {
        text.push('\n');
        for line in shown.lines() {
            text += &diff_line(line);
        }
    }
    text
}
