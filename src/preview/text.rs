//! A preview as text for a person.

use std::fmt::Write;

use super::{
    Preview, PreviewState, PreviewedVersion, Unfinished,
    format::{bytes, count, short},
    warnings::WarningKind,
};
use crate::{
    ledger::Action,
    manifest::{Backup, Version},
};

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

/// What is to be said of every rollback: which rows a version has changed, nobody has recorded.
pub(crate) fn not_brought_back(version: Version) -> String {
    format!("does not bring back data that v{version} changed or deleted")
}

pub(super) fn text(preview: &Preview, colours: bool) -> String {
    let mut text = Text {
        text: String::new(),
        colours,
    };
    if preview.versions.is_empty() {
        text.line("", &format!("v{}: nothing to do", preview.current_version));
        return text.text;
    }
    let (from, to) = (preview.current_version, preview.target_version);
    text.line(
        BOLD,
        &format!("v{from} → v{to}, tested on this database and undone"),
    );
    for version in &preview.versions {
        text.version(version);
    }
    if let Some(advice) = &preview.backup {
        let level = match advice.level {
            Backup::Recommended => "Back up the database first (recommended):",
            Backup::Required => "Back up the database before applying:",
        };
        text.line("", "");
        text.line(YELLOW, level);
        text.line("", &advice.instructions);
    }
    if !preview.sequences.is_empty() {
        text.line("", "");
        for sequence in &preview.sequences {
            let name = short(&sequence.relation);
            if sequence.goes_back() {
                let was = sequence
                    .from
                    .map_or("unknown".to_owned(), |from| from.to_string());
                text.line(RED, &format!("This preview moved the sequence {name} and could not set it back. Check its value (it was {was})."));
            } else {
                text.line(
                    "",
                    &format!(
                        "This preview used up numbers of the sequence {name}, which is harmless."
                    ),
                );
            }
        }
    }
    text.text
}

struct Text {
    text: String,
    colours: bool,
}

impl Text {
    fn version(&mut self, version: &PreviewedVersion) {
        self.line("", "");
        self.title(version);
        self.notes(version);
        if let Some(untested) = untested(version.state) {
            self.line(YELLOW, &format!("  {untested}"));
        } else if let Some(failure) = &version.failure {
            self.line(RED, &format!("  fails: {}", failure.reason()));
        } else {
            self.effects(version);
            self.changes(version);
        }
    }

    fn title(&mut self, version: &PreviewedVersion) {
        let what = match version.action {
            Action::Apply => "",
            Action::Rollback => "rolling back ",
        };
        let time = version.execution_ms.map(|ms| format!(", {ms} ms"));
        let title = format!(
            "{what}v{} {}: {}{}",
            version.version,
            version.migration_name,
            version.description,
            time.unwrap_or_default()
        );
        self.line(BOLD, title.trim_end_matches([' ', ':']));
    }

    /// What holds however far it was tested.
    fn notes(&mut self, version: &PreviewedVersion) {
        if let Some(outside) = &version.outside {
            match outside.runs_outside() {
                true => self.line("", &format!("  {outside}")),
                false => self.line(YELLOW, &format!("  ! {outside}")),
            }
            if version.unseen.is_empty() {
                self.line("", "  tested inside a transaction, without `concurrently`");
            }
        }
        if let Some(table) = &version.outside_table {
            self.line("", &format!("  {table}"));
        }
        for warning in &version.warnings {
            let colour = match warning.kind {
                WarningKind::DataLost | WarningKind::Opened => RED,
                _ => YELLOW,
            };
            self.line(colour, &format!("  ! {}", warning.message));
        }
        if version.action == Action::Rollback {
            self.line("", &format!("  {}", not_brought_back(version.version)));
        }
        for unseen in &version.unseen {
            self.line("", &format!("  not seen: {unseen}"));
        }
    }

    /// Locks, rewrites and rows.
    fn effects(&mut self, version: &PreviewedVersion) {
        for lock in &version.locks {
            let (name, mode) = (short(&lock.relation), &lock.mode);
            let effect = match lock.prevents() {
                Some(what) => format!("can't be {what} meanwhile"),
                None => "doesn't block reads; writes to the same rows may wait".to_owned(),
            };
            self.line("", &format!("  locks {name} ({mode}): {effect}"));
        }
        for rewrite in &version.rewrites {
            let name = short(&rewrite.relation);
            let size = rewrite.bytes.map(|size| format!(" ({})", bytes(size)));
            let size = size.unwrap_or_default();
            self.line("", &format!("  rewrites {name}{size}"));
        }
        for rows in &version.rows {
            let kinds = [
                (rows.inserted, "inserted"),
                (rows.updated, "changed"),
                (rows.deleted, "deleted"),
            ];
            let kinds: Vec<_> = kinds
                .into_iter()
                .filter(|(number, _)| *number > 0)
                .map(|(number, what)| format!("{} {what}", count(number, "row")))
                .collect();
            let (name, kinds) = (short(&rows.relation), kinds.join(", "));
            self.line("", &format!("  {name}: {kinds}"));
        }
    }

    fn changes(&mut self, version: &PreviewedVersion) {
        if version.changes.is_empty() && version.rows.is_empty() && version.rewrites.is_empty() {
            self.line("", "  no definition and no row changes");
        }
        for line in version
            .changes
            .iter()
            .flat_map(|change| change.diff.lines())
        {
            let colour = match line.as_bytes().first() {
                _ if line.starts_with("---") || line.starts_with("+++") => BOLD,
                Some(b'-') => RED,
                Some(b'+') => GREEN,
                Some(b'@') => CYAN,
                _ => "",
            };
            self.line(colour, line);
        }
    }

    fn line(&mut self, colour: &str, line: &str) {
        let line = clean(line);
        let written = if self.colours && !colour.is_empty() {
            writeln!(self.text, "\x1b[{colour}m{line}\x1b[0m")
        } else {
            writeln!(self.text, "{line}")
        };
        written.expect("a string takes it");
    }
}

/// Why it was not tested to its end, unless it was.
fn untested(state: PreviewState) -> Option<String> {
    match state {
        PreviewState::Tested | PreviewState::Failed => None,
        PreviewState::NotFinished { reason } => Some(match reason {
            Unfinished::BudgetUsed => "not tested to its end: too slow".to_owned(),
            Unfinished::Cancelled => "not tested to its end: the test was cancelled".to_owned(),
        }),
        PreviewState::After { version } => {
            Some(format!("can only be tested once v{version} is applied"))
        }
        PreviewState::NotTested => {
            Some("not tested, because an earlier version did not finish".to_owned())
        }
    }
}

/// Text that comes from elsewhere must not steer the terminal.
pub(crate) fn clean(text: &str) -> String {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    text.replace(steers, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_does_not_steer_the_terminal() {
        assert_eq!(
            clean("a\x1b[2Jb\r\nc\u{9b}1m"),
            "a\u{fffd}[2Jb\u{fffd}\nc\u{fffd}1m"
        );
    }
}
