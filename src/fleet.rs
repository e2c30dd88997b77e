//! The operations of the manager over many projects, several at a time.

mod file;
mod journal;
mod report;
mod rules;
mod work;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::mpsc, task::JoinSet};

pub use self::{
    file::{FleetFile, FleetFileError, FleetProject, KeySource},
    report::{FleetReport, ProjectFailure, ProjectOutcome, ProjectReport},
    rules::{StopRule, StopRuleError},
};
use self::{journal::Journal, rules::Course, work::work};
use crate::{
    config::{ConfigBuilder, Trust},
    manifest::Migrations,
    report::Progress,
};

/// How many projects are worked on at the same time, unless it is set.
const CONCURRENCY: usize = 16;

/// The operations of the manager over many projects.
///
/// ```no_run
/// use ctx0_schema::{Fleet, FleetFile, FleetOperation, Migrations};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let fleet = Fleet::new(FleetFile::read("fleet.toml")?, Migrations::bundled()?);
/// let report = fleet.concurrency(16).run(FleetOperation::Status).await?;
/// for project in report.projects.iter().filter(|project| project.outcome.is_failure()) {
///     println!("{}: {}", project.name, project.message);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is done until `run` is awaited"]
pub struct Fleet {
    file: FleetFile,
    migrations: Migrations,
    groups: Vec<String>,
    configure: Configure,
    report_to: Option<PathBuf>,
    resumes: bool,
    on_event: Box<dyn FnMut(FleetEvent) + Send>,
}

type Configure = Arc<dyn Fn(ConfigBuilder) -> ConfigBuilder + Send + Sync>;

/// What to do in each project.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FleetOperation {
    /// Compare the database with this build, and look whether the functions are installed.
    Status,
    /// Compare the database with this build.
    Plan,
    /// Preview what is pending, for at most this long.
    Preview(Duration),
    /// Preview what is pending, and apply it unless something speaks against it.
    Apply(FleetConsent),
    /// Check whether the schema was changed outside the migrations.
    Verify,
}

impl FleetOperation {
    /// Its name, as on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Plan => "plan",
            Self::Preview(_) => "preview",
            Self::Apply(_) => "apply",
            Self::Verify => "verify",
        }
    }

    fn stops_after(&self) -> StopRule {
        match self {
            Self::Apply(_) => StopRule::Failures(1),
            Self::Status | Self::Plan | Self::Preview(_) | Self::Verify => StopRule::Never,
        }
    }
}

/// What is agreed to in advance for all projects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetConsent {
    /// Apply also where the preview saw that data is lost, or could not test everything.
    pub allow_data_loss: bool,
    /// Who says that there are backups, where a version requires one.
    pub backup_by: Option<String>,
    /// Whether tables may be locked for indexes that nothing can make concurrently: [`Run::may_lock`](crate::Run::may_lock).
    pub may_lock: bool,
    /// How long the preview of a project may take.
    pub budget: Duration,
}

/// What happens while a fleet is worked on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FleetEvent {
    /// A project is begun.
    Started {
        /// Its name.
        name: String,
    },
    /// Something happens in a project that is being applied.
    Progress {
        /// Its name.
        name: String,
        /// What happens.
        progress: Progress,
    },
    /// A project has ended.
    Finished(ProjectReport),
}

impl Fleet {
    /// All projects of a file.
    pub fn new(file: FleetFile, migrations: Migrations) -> Self {
        Self {
            file,
            migrations,
            groups: Vec::new(),
            configure: Arc::new(|config| config),
            report_to: None,
            resumes: false,
            on_event: Box::new(|_| {}),
        }
    }

    /// Only the projects of this group. Can be called several times, for the projects of any of them.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// How many projects are worked on at the same time, at least one. Default: what the file says, or 16.
    pub fn concurrency(mut self, projects: usize) -> Self {
        self.file.concurrency = Some(projects);
        self
    }

    /// The group that goes first. The others are begun once all of its projects have ended without a
    /// failure. Default: what the file says, or none.
    pub fn canary(mut self, group: impl Into<String>) -> Self {
        self.file.canary = Some(group.into());
        self
    }

    /// When to begin no further project. Default: what the file says, or the first failure for
    /// [`FleetOperation::Apply`] and never for the others, which change nothing.
    pub fn stop_after(mut self, rule: StopRule) -> Self {
        self.file.stop_after = Some(rule);
        self
    }

    /// Changes the configuration of each project, to set the version of the app for example.
    pub fn configure(
        mut self,
        change: impl Fn(ConfigBuilder) -> ConfigBuilder + Send + Sync + 'static,
    ) -> Self {
        self.configure = Arc::new(change);
        self
    }

    /// Writes the result of each project to this file as soon as it is known, one JSON object a line. The
    /// file must not exist.
    pub fn report_to(mut self, path: impl AsRef<Path>) -> Self {
        self.report_to = Some(path.as_ref().to_owned());
        self.resumes = false;
        self
    }

    /// Goes on with a run that ended early, from its report: projects that are done are left alone, all
    /// others are begun again, also those with another URL than then. It must be the same operation with the
    /// same migrations.
    pub fn resume(mut self, path: impl AsRef<Path>) -> Self {
        self.report_to = Some(path.as_ref().to_owned());
        self.resumes = true;
        self
    }

    /// Calls `listener` with each event. It must not block.
    pub fn on_event(mut self, listener: impl FnMut(FleetEvent) + Send + 'static) -> Self {
        self.on_event = Box::new(listener);
        self
    }

    /// Works on the projects. Needs a tokio runtime.
    ///
    /// A project that fails is a result and no error. Dropping the future begins no further project; what
    /// has begun in a database ends there completely or not at all, and [`resume`](Self::resume) finds out.
    ///
    /// # Errors
    /// [`FleetError`], if a group is not known or the report cannot be read or written. Once projects have
    /// begun it is [`FleetError::ReportCut`], which has the results of all of them.
    pub async fn run(mut self, operation: FleetOperation) -> Result<FleetReport, FleetError> {
        let projects = self.selected()?;
        let mut report = FleetReport::begin(&operation, &self.migrations);
        let mut journal = match &self.report_to {
            None => None,
            Some(path) if self.resumes => {
                let (journal, done) = Journal::resume(path, &report)?;
                let urls: HashMap<_, _> = projects
                    .iter()
                    .map(|project| (&project.name, &project.url))
                    .collect();
                report.projects = done;
                report
                    .projects
                    .retain(|done| urls.get(&done.name).is_none_or(|url| done.is_of(url)));
                Some(journal)
            }
            Some(path) => Some(Journal::create(path, &report)?),
        };
        let done: HashSet<_> = report.projects.iter().map(|done| &done.name).collect();
        let left = projects
            .into_iter()
            .filter(|project| !done.contains(&project.name))
            .collect();
        let rule = self.file.stop_after.unwrap_or(operation.stops_after());
        let mut course = Course::new(left, self.file.canary.as_deref(), rule);
        let concurrency = self.file.concurrency.unwrap_or(CONCURRENCY).max(1);

        let trust = Trust::default();
        let (events, mut heard) = mpsc::unbounded_channel();
        let mut running = JoinSet::new();
        let mut cut = None;
        loop {
            while running.len() < concurrency
                && let Some(project) = course.next(running.len())
            {
                (self.on_event)(FleetEvent::Started {
                    name: project.name.clone(),
                });
                let (migrations, operation) = (self.migrations.clone(), operation.clone());
                let (configure, events) = (Arc::clone(&self.configure), events.clone());
                let trust = trust.clone();
                running.spawn(async move {
                    work(
                        &project,
                        &*configure,
                        trust,
                        migrations,
                        &operation,
                        &events,
                    )
                    .await
                });
            }
            tokio::select! {
                biased;
                Some(event) = heard.recv() => (self.on_event)(event),
                ended = running.join_next() => {
                    let Some(ended) = ended else { break };
                    let ended = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
                    course.ended(&ended);
                    if let Some(Err(error)) = journal.as_mut().map(|journal| journal.add(&ended)) {
                        // What is under way changes databases, so it ends as always.
                        course.stop("the report cannot be written");
                        (journal, cut) = (None, Some(error));
                    }
                    report.projects.push(ended.clone());
                    (self.on_event)(FleetEvent::Finished(ended));
                }
            }
        }
        report.finished_at = Some(Timestamp::now());
        (report.stopped, report.not_started) = course.left();
        match (cut, self.report_to) {
            (Some(source), Some(path)) => Err(FleetError::ReportCut {
                path,
                report: Box::new(report),
                source,
            }),
            (None, _) | (_, None) => Ok(report),
        }
    }

    /// The projects of the chosen groups, in the order of the file.
    fn selected(&self) -> Result<VecDeque<FleetProject>, FleetError> {
        let projects = &self.file.projects;
        for group in self.groups.iter().chain(&self.file.canary) {
            if !projects
                .iter()
                .any(|project| project.groups.contains(group))
            {
                return Err(FleetError::NoSuchGroup {
                    group: group.clone(),
                });
            }
        }
        let is_chosen = |project: &&FleetProject| {
            self.groups.is_empty()
                || self
                    .groups
                    .iter()
                    .any(|group| project.groups.contains(group))
        };
        Ok(projects.iter().filter(is_chosen).cloned().collect())
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("projects", &self.file.projects.len())
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

/// Why a fleet was not worked on, or not to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// No project of the file is in this group.
    #[error(
        "no project is in the group {group}: add it to `groups` of a project in the fleet file, or name another group"
    )]
    #[non_exhaustive]
    NoSuchGroup {
        /// The group.
        group: String,
    },
    /// The report cannot be read or written.
    #[error("the report {} cannot be used: check the path and its permissions", path.display())]
    #[non_exhaustive]
    Report {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The report could no longer be written. What was under way has ended, and no other project was begun.
    #[error(
        "the report {} could no longer be written, so no further project was begun: make room for it or check its permissions, \
         then go on with its run (resume)",
        path.display()
    )]
    #[non_exhaustive]
    ReportCut {
        /// The file. It lacks the projects that ended last, which a resumed run begins again.
        path: PathBuf,
        /// All results, also those that the file lacks.
        report: Box<FleetReport>,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is a report with this name.
    #[error("the report {} exists: go on with its run (resume), or name another file", path.display())]
    #[non_exhaustive]
    ReportExists {
        /// The file.
        path: PathBuf,
    },
    /// The report is not one, or of another run.
    #[error("the report {} is not of this run ({reason}): name the report of the run to go on with, or begin a new one", path.display())]
    #[non_exhaustive]
    OtherReport {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
}
