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
        let mut journal = Self { file };
        journal
            .write(report)
            .map_err(|error| unusable(path, error))?;
        Ok(journal)
    }

    /// Goes on with the report of an earlier run. Returns the projects that are done.
    pub(super) fn resume(
        path: &Path,
        report: &FleetReport,
    ) -> Result<(Self, Vec<ProjectReport>), FleetError> {
        let text = fs::read_to_string(path).map_err(|error| unusable(path, error))?;
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

fn unusable(path: &Path, source: io::Error) -> FleetError {
    FleetError::Report {
        path: path.to_owned(),
        source,
    }
}
