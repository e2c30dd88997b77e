//! One operation in one project.

use std::{
    future::IntoFuture,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::UnboundedSender,
    time::{sleep, timeout},
};

use super::{
    FleetConsent, FleetEvent, FleetOperation,
    file::FleetProject,
    report::{ProjectFailure, ProjectOutcome, ProjectReport},
};
use crate::{
    config::{Config, ConfigBuilder, Trust},
    drift::Verification,
    error::{ConflictReason, Error},
    manager::SchemaVersionManager,
    manifest::{Backup, Migrations, Version},
    preview::{OutsidePreview, Preview, PreviewState, WarningKind},
    report::{Progress, UpdateCheck, WaitReason},
};

/// How long a project may take over what changes nothing. It is longer than a request is tried.
const LOOK_TIMEOUT: Duration = Duration::from_secs(120);

/// How long to wait until a project is looked at again that another change has overtaken.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn work(
    project: &FleetProject,
    configure: &(dyn Fn(ConfigBuilder) -> ConfigBuilder + Send + Sync),
    trust: Trust,
    migrations: Migrations,
    operation: &FleetOperation,
    events: &UnboundedSender<FleetEvent>,
) -> ProjectReport {
    let began = Instant::now();
    let name = &project.name;
    let mut report = match manager(project, configure, trust, migrations).await {
        Err(report) => report,
        Ok(manager) => {
            let ended = match operation {
                FleetOperation::Status => looked(name, status(name, &manager)).await,
                FleetOperation::Plan => looked(name, plan(name, &manager)).await,
                FleetOperation::Preview(budget) => {
                    looked(name, preview(name, &manager, *budget)).await
                }
                FleetOperation::Verify => looked(name, verify(name, &manager)).await,
                FleetOperation::Apply(consent) => Ok(apply(name, &manager, consent, events).await),
            };
            ended.unwrap_or_else(|error| ProjectReport::failed(name, &error))
        }
    };
    report.url = Some(project.url.clone());
    report.took_ms = began.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
    report
}

/// A manager of the project with its key. It shares with the others what they trust.
async fn manager(
    project: &FleetProject,
    configure: &(dyn Fn(ConfigBuilder) -> ConfigBuilder + Send + Sync),
    trust: Trust,
    migrations: Migrations,
) -> Result<SchemaVersionManager, ProjectReport> {
    let config = project.configure().await.map_err(|reason| ProjectReport {
        failure: Some(ProjectFailure {
            code: "key".to_owned(),
            retryable: false,
        }),
        ..ProjectReport::new(&project.name, ProjectOutcome::Failed, reason)
    })?;
    let config = configure(config).build().map_err(Error::from);
    config
        .and_then(|config| SchemaVersionManager::new(&Config { trust, ..config }, migrations))
        .map_err(|error| ProjectReport::failed(&project.name, &error))
}

/// What changes nothing can be given up, so that a project that hangs does not hold its place for long.
async fn looked(
    name: &str,
    work: impl Future<Output = Result<ProjectReport, Error>>,
) -> Result<ProjectReport, Error> {
    timeout(LOOK_TIMEOUT, work)
        .await
        .unwrap_or_else(|_| Ok(too_slow(name)))
}

fn too_slow(name: &str) -> ProjectReport {
    let message = format!("no result within {} s", LOOK_TIMEOUT.as_secs());
    ProjectReport {
        failure: Some(ProjectFailure {
            code: "timeout".to_owned(),
            retryable: true,
        }),
        ..ProjectReport::new(name, ProjectOutcome::Failed, message)
    }
}

async fn plan(name: &str, manager: &SchemaVersionManager) -> Result<ProjectReport, Error> {
    let check = manager.check_for_updates().await?;
    Ok(checked(name, &check))
}

async fn status(name: &str, manager: &SchemaVersionManager) -> Result<ProjectReport, Error> {
    let check = manager.check_for_updates().await?;
    let report = checked(name, &check);
    Ok(match manager.setup_needed().await? {
        Some(setup) if !report.outcome.is_failure() => ProjectReport {
            outcome: ProjectOutcome::Failed,
            message: setup.message,
            failure: Some(ProjectFailure {
                code: setup.code.to_owned(),
                retryable: false,
            }),
            ..report
        },
        Some(_) | None => report,
    })
}

fn checked(name: &str, check: &UpdateCheck) -> ProjectReport {
    let current = check.current_version;
    let mut report = match &check.problem {
        Some(problem) => ProjectReport::failed(name, &problem.clone().into()),
        None if check.has_updates => {
            let versions = check.pending_migrations.iter().map(|next| next.version);
            ProjectReport::new(
                name,
                ProjectOutcome::Pending,
                format!("pending: {}", list(versions)),
            )
        }
        None if !check.newer.is_empty() => ProjectReport::new(
            name,
            ProjectOutcome::UpToDate,
            "newer than this build, which can work with it",
        ),
        None => up_to_date(name),
    };
    report.from = Some(current);
    report.to = Some(
        check
            .pending_migrations
            .last()
            .map_or(current, |last| last.version),
    );
    report
}

fn up_to_date(name: &str) -> ProjectReport {
    ProjectReport::new(name, ProjectOutcome::UpToDate, "up to date")
}

async fn preview(
    name: &str,
    manager: &SchemaVersionManager,
    budget: Duration,
) -> Result<ProjectReport, Error> {
    let preview = manager.preview().budget(budget).await?;
    Ok(previewed(name, &preview))
}

fn previewed(name: &str, preview: &Preview) -> ProjectReport {
    let warnings = preview.warnings().count();
    let loses = loses_data(preview);
    let mut report = if preview.versions.is_empty() {
        up_to_date(name)
    } else if let Some(failure) = preview.failure() {
        let message = format!(
            "version {} would fail: {}",
            failure.version,
            failure.reason()
        );
        ProjectReport {
            failure: Some(ProjectFailure {
                code: "previewFailed".to_owned(),
                retryable: failure.retryable,
            }),
            ..ProjectReport::new(name, ProjectOutcome::Failed, message)
        }
    } else if !is_tested(preview) {
        ProjectReport::new(name, ProjectOutcome::Undecided, "not tested to its end")
    } else {
        let message = match (loses, warnings) {
            (true, _) => "succeeds, and deletes data".to_owned(),
            (false, 0) => "succeeds".to_owned(),
            (false, 1) => "succeeds, with 1 warning".to_owned(),
            (false, more) => format!("succeeds, with {more} warnings"),
        };
        ProjectReport::new(name, ProjectOutcome::Tested, message)
    };
    report.from = Some(preview.current_version);
    report.to = Some(
        preview
            .versions
            .last()
            .map_or(preview.current_version, |_| preview.target_version),
    );
    report
}

/// Applies what is pending. Another change may be under way, such as the last request of a run that was
/// killed: it is waited for, and what it has left is looked at anew.
async fn apply(
    name: &str,
    manager: &SchemaVersionManager,
    consent: &FleetConsent,
    events: &UnboundedSender<FleetEvent>,
) -> ProjectReport {
    let began = Instant::now();
    let mut done = Done::default();
    let ended = loop {
        let ended = look_and_apply(name, manager, consent, events, &mut done).await;
        let waited = began.elapsed();
        match ended {
            Err(error) if is_overtaken(&error) && waited < manager.apply_deadline() => {
                // Nobody may be listening any more.
                let _ = events.send(FleetEvent::Progress {
                    name: name.to_owned(),
                    progress: Progress::Waiting {
                        version: manager.latest_version(),
                        reason: WaitReason::OtherChange,
                        waited,
                        position: None,
                    },
                });
                done.was_overtaken = true;
                sleep(LOOK_AGAIN).await;
            }
            ended => break ended,
        }
    };
    let ended = ended.unwrap_or_else(|error| ProjectReport::failed(name, &error));
    done.add_to(ended)
}

/// Whether another change has come in between, or is still under way. Nothing was done.
fn is_overtaken(error: &Error) -> bool {
    matches!(
        error,
        Error::ChangeRunning
            | Error::PreviewOutdated
            | Error::Conflict {
                reason: ConflictReason::UnexpectedVersion,
                ..
            }
    )
}

/// What was done in a project in all.
#[derive(Default)]
struct Done {
    from: Option<Version>,
    applied: Vec<Version>,
    was_overtaken: bool,
}

impl Done {
    /// The report of the project, from how its last look ended.
    fn add_to(self, ended: ProjectReport) -> ProjectReport {
        let (outcome, message) = match ended.outcome {
            ProjectOutcome::UpToDate if !self.applied.is_empty() => (
                ProjectOutcome::Applied,
                format!("applied {}", list(self.applied.iter().copied())),
            ),
            ProjectOutcome::UpToDate if self.was_overtaken => (
                ProjectOutcome::UpToDate,
                "up to date: another run has applied what was pending".to_owned(),
            ),
            outcome => (outcome, ended.message),
        };
        let from = self.from.or(ended.from);
        ProjectReport {
            from,
            to: ended.to.or(self.applied.last().copied()).or(from),
            applied: self.applied,
            outcome,
            message,
            ..ended
        }
    }
}

async fn look_and_apply(
    name: &str,
    manager: &SchemaVersionManager,
    consent: &FleetConsent,
    events: &UnboundedSender<FleetEvent>,
    done: &mut Done,
) -> Result<ProjectReport, Error> {
    let preview = manager.preview().budget(consent.budget).into_future();
    let Ok(preview) = timeout(LOOK_TIMEOUT, preview).await else {
        return Ok(too_slow(name));
    };
    let preview = preview?;
    let looked = previewed(name, &preview);
    done.from = done.from.or(looked.from);
    if preview.versions.is_empty() || looked.outcome.is_failure() {
        return Ok(looked);
    }
    if let Some(objection) = objection(&preview, consent) {
        return Ok(ProjectReport {
            outcome: ProjectOutcome::Refused,
            to: looked.from,
            message: format!("nothing was changed: {objection}"),
            ..looked
        });
    }
    let (events, listener) = (events.clone(), name.to_owned());
    let mut run = manager
        .apply_all_pending()
        .agreed_to(preview.token)
        .may_lock(consent.may_lock)
        .on_progress(move |progress| {
            let name = listener.clone();
            let _ = events.send(FleetEvent::Progress { name, progress });
        });
    if let Some(backup_by) = &consent.backup_by {
        run = run.backup_made_by(backup_by);
    }
    match run.await {
        Ok(run) => {
            done.was_overtaken |= run.applied.is_empty();
            done.applied.extend(run.applied);
            Ok(ProjectReport {
                to: Some(run.current_version),
                ..up_to_date(name)
            })
        }
        Err(run) => {
            done.applied.extend(run.applied);
            Err(run.error)
        }
    }
}

/// What speaks against applying what was previewed.
fn objection(preview: &Preview, consent: &FleetConsent) -> Option<&'static str> {
    let requires_backup = preview
        .backup
        .as_ref()
        .is_some_and(|advice| advice.level == Backup::Required);
    let outside = || preview.outside().map(|(_, outside)| outside);
    if requires_backup && consent.backup_by.is_none() {
        Some("a version requires a backup; make one, then say who made it")
    } else if outside().any(|outside| outside.way.is_none()) {
        Some("a version cannot run inside a transaction, and nothing runs it outside one")
    } else if outside().any(OutsidePreview::needs_consent) && !consent.may_lock {
        Some(
            "nothing runs a version outside a transaction, and to lock its table instead was not agreed to",
        )
    } else if loses_data(preview) && !consent.allow_data_loss {
        Some("it deletes data, which was not agreed to")
    } else if !is_tested(preview) && !consent.allow_data_loss {
        Some("not all of it was tested, so it may delete data, which was not agreed to")
    } else {
        None
    }
}

fn loses_data(preview: &Preview) -> bool {
    preview
        .warnings()
        .any(|warning| warning.kind == WarningKind::DataLost)
}

fn is_tested(preview: &Preview) -> bool {
    preview
        .versions
        .iter()
        .all(|version| version.state == PreviewState::Tested)
}

async fn verify(name: &str, manager: &SchemaVersionManager) -> Result<ProjectReport, Error> {
    let verification = manager.verify().await?;
    let (outcome, version) = match &verification {
        Verification::Unchanged {
            current_version, ..
        } => (ProjectOutcome::Unchanged, *current_version),
        Verification::Drifted {
            current_version, ..
        } => (ProjectOutcome::Drifted, *current_version),
        Verification::CannotSay {
            current_version, ..
        } => (ProjectOutcome::Undecided, *current_version),
    };
    let message = match &verification {
        Verification::Drifted { differences, .. } => {
            let names: Vec<_> = differences
                .iter()
                .map(|change| change.name.as_str())
                .collect();
            format!("changed outside the migrations: {}", names.join(", "))
        }
        Verification::Unchanged { .. } | Verification::CannotSay { .. } => verification.to_string(),
    };
    Ok(ProjectReport {
        from: Some(version),
        to: Some(version),
        ..ProjectReport::new(name, outcome, message)
    })
}

/// `v2, v3`, for example.
fn list(versions: impl Iterator<Item = Version>) -> String {
    versions
        .map(|version| format!("v{version}"))
        .collect::<Vec<_>>()
        .join(", ")
}
