//! How far a run is, as a person reads it. Pure.

use std::time::Duration;

use crate::{
    ledger::Action,
    manifest::Version,
    plan::Way,
    preview::clean,
    report::{Position, Progress, WaitReason},
};

/// The line that shows what goes on.
pub(super) fn activity(what: &str, passed: Duration, width: usize) -> String {
    let tick = passed.as_millis() / 100;
    let wheel = ["|", "/", "-", "\\"][usize::try_from(tick % 4).unwrap_or_default()];
    let seconds = match passed.as_secs() {
        0 => String::new(),
        seconds => format!(", {seconds} s"),
    };
    let line = format!("{wheel} {}{seconds}", clean(what));
    line.chars().take(width.saturating_sub(1)).collect()
}

/// What a run does now, with a bar where it has several steps.
pub(super) fn step(progress: &Progress) -> Option<String> {
    match progress {
        Progress::Started {
            action,
            version,
            migration_name,
            position,
            total,
        } => {
            let what = match action {
                Action::Apply => "applying",
                Action::Rollback => "rolling back",
            };
            Some(format!(
                "{}{what} v{version} {migration_name}",
                bar(*position, *total)
            ))
        }
        Progress::Waiting {
            version,
            reason,
            position,
            ..
        } => Some(match (position, reason) {
            (Some(position), WaitReason::Running) => at(position),
            (Some(position), _) => format!("v{version}: {} ({})", waiting(*reason), at(position)),
            (None, _) => format!("v{version}: {}", waiting(*reason)),
        }),
        Progress::NextWay { .. }
        | Progress::Applied { .. }
        | Progress::RolledBack { .. }
        | Progress::Failed { .. } => None,
    }
}

/// Where a migration is, with a bar where it is known how much of a phase is done.
pub(super) fn at(position: &Position) -> String {
    let bar = position
        .percent
        .map_or_else(String::new, |percent| filled(percent.into(), 100));
    let what = match position.action {
        Action::Apply => "",
        Action::Rollback => "rolling back ",
    };
    let seconds = position.statement_for.as_secs();
    clean(&format!(
        "{bar}{what}v{}, {position}, for {seconds} s",
        position.version
    ))
}

/// `[####......] 2/5 `, for example.
fn bar(position: usize, total: usize) -> String {
    if total < 2 {
        return String::new();
    }
    format!("{}{position}/{total} ", filled(position - 1, total))
}

/// A bar with this part of it filled.
fn filled(part: usize, whole: usize) -> String {
    const WIDTH: usize = 10;
    let full = part * WIDTH / whole;
    format!("[{}{}] ", "#".repeat(full), ".".repeat(WIDTH - full))
}

fn waiting(reason: WaitReason) -> &'static str {
    match reason {
        WaitReason::Running => "running in the database",
        WaitReason::OtherChange => "waiting for another change",
        WaitReason::Preview => "waiting for a preview",
        WaitReason::FunctionsMissing => "waiting for PostgREST to find the functions",
        WaitReason::NoResponse => "no response, asking again",
        WaitReason::TableInUse => "a table is in use, trying again",
    }
}

/// What a run has done.
pub(super) fn finished(progress: &Progress) -> Option<String> {
    let done = |version: &Version, what: &str, ms: &Option<u64>| {
        Some(match ms {
            Some(ms) => format!("v{version} {what} in {ms} ms"),
            None => format!("v{version} {what} by another process"),
        })
    };
    match progress {
        Progress::Applied {
            version,
            execution_ms,
        } => done(version, "applied", execution_ms),
        Progress::RolledBack {
            version,
            execution_ms,
        } => done(version, "rolled back", execution_ms),
        Progress::NextWay {
            version,
            way,
            reason,
        } => Some(match way {
            Way::Transaction => format!(
                "v{version} runs inside a transaction, which locks its table, since nothing runs it outside one: {reason}"
            ),
            way => format!("v{version} runs through {way}: {reason}"),
        }),
        Progress::Failed { version, end, .. } => Some(format!("v{version} {end}")),
        Progress::Started { .. } | Progress::Waiting { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_shows_what_goes_on_fits() {
        let line = activity("applying v1 001_ctx0_schema", Duration::from_secs(12), 80);
        assert_eq!(line, "| applying v1 001_ctx0_schema, 12 s");
        assert_eq!(
            activity(&"é".repeat(100), Duration::ZERO, 40)
                .chars()
                .count(),
            39
        );
    }

    #[test]
    fn the_bar_fills_up() {
        assert_eq!(bar(1, 1), "");
        assert_eq!(bar(1, 2), "[..........] 1/2 ");
        assert_eq!(bar(5, 5), "[########..] 5/5 ");
    }
}
