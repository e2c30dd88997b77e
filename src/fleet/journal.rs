//! The report of a run that is under way: a line for the run, then one for each project that has ended.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use serde::Serialize;

use super::{
    FleetError,
    report::{FleetReport, ProjectReport},
};

/// How the line of a run begins.
const BEGINS: &str = "{\"operation\":";

pub(super) struct Journal {
    file: File,
}

impl Journal {
    /// Begins the report of a run.
    pub(super) fn create(path: &Path, report: &FleetReport) -> Result<Self, FleetError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => FleetError::ReportExists {
                path: path.to_owned(),
            },
            _ => unusable(path, error),
        })?;
        Self::begin(path, file, report)
    }

    fn begin(path: &Path, file: File, report: &FleetReport) -> Result<Self, FleetError> {
        let mut journal = Self { file };
        journal
            .write(report)
            .map_err(|error| unusable(path, error))?;
        Ok(journal)
    }

    /// Goes on with the report of an earlier run, or begins it if that run could not even begin it. Returns
    /// the projects that are done.
    pub(super) fn resume(
        path: &Path,
        report: &FleetReport,
    ) -> Result<(Self, Vec<ProjectReport>), FleetError> {
        let bytes = fs::read(path).map_err(|error| unusable(path, error))?;
        // A line may have been cut within a character.
        let text = String::from_utf8_lossy(&bytes);
        if is_cut_in_its_first_line(&text) {
            let file = File::create(path).map_err(|error| unusable(path, error))?;
            return Ok((Self::begin(path, file, report)?, Vec::new()));
        }
        let other = |reason: String| FleetError::OtherReport {
            path: path.to_owned(),
            reason,
        };
        let earlier = FleetReport::from_lines(&text).map_err(|error| other(error.to_string()))?;
        report.is_of_same_run(&earlier).map_err(other)?;
        let file = OpenOptions::new().append(true).open(path);
        let mut journal = Self {
            file: file.map_err(|error| unusable(path, error))?,
        };
        if !text.ends_with('\n') {
            // The run was killed while it wrote a line, which does not count.
            journal
                .file
                .write_all(b"\n")
                .map_err(|error| unusable(path, error))?;
        }
        let done = earlier
            .projects
            .into_iter()
            .filter(|project| !project.outcome.is_failure());
        Ok((journal, done.collect()))
    }

    /// Adds a project. What was added before is safe from the end of this process.
    pub(super) fn add(&mut self, project: &ProjectReport) -> io::Result<()> {
        self.write(project)
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_string(line).expect("results are plain values");
        line.push('\n');
        self.file.write_all(line.as_bytes())
    }
}

/// Whether a run left no more than this of its first line, and so has begun no project. A file of something
/// else is not such a report, and is left as it is.
fn is_cut_in_its_first_line(text: &str) -> bool {
    !text.contains('\n') && (BEGINS.starts_with(text) || text.starts_with(BEGINS))
}

fn unusable(path: &Path, source: io::Error) -> FleetError {
    FleetError::Report {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fleet::{FleetOperation, ProjectOutcome},
        manifest::Migrations,
    };

    fn report() -> FleetReport {
        FleetReport::begin(&FleetOperation::Plan, &Migrations::bundled().unwrap())
    }

    fn line(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap() + "\n"
    }

    #[test]
    fn a_report_that_was_cut_in_its_first_line_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let (report, project) = (
            report(),
            ProjectReport::new("a", ProjectOutcome::Pending, ""),
        );
        let whole = line(&report);
        for length in [0, 1, 5, 30, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let (mut journal, done) = Journal::resume(&path, &report).unwrap();
            assert_eq!(done, []);
            journal.add(&project).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text, format!("{whole}{}", line(&project)), "{length}");
        }
    }

    #[test]
    fn a_file_of_something_else_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.txt");
        for text in ["sb_secret_hush", "{}", "\n"] {
            fs::write(&path, text).unwrap();
            let refused = Journal::resume(&path, &report()).err().unwrap();
            assert!(
                matches!(refused, FleetError::OtherReport { .. }),
                "{refused}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_line_that_was_cut_within_a_character_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let report = report();
        let done = ProjectReport::new("a", ProjectOutcome::Pending, "");
        let mut bytes = (line(&report) + &line(&done) + "{\"name\":\"é").into_bytes();
        bytes.pop();
        fs::write(&path, bytes).unwrap();
        assert_eq!(Journal::resume(&path, &report).unwrap().1, [done]);
    }
}
