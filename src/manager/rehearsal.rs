//! A preview: runs the steps in a transaction that is rolled back.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
};

use super::{SchemaVersionManager, goal::Goal};
use crate::{
    error::Error,
    plan::Step,
    preview::{Preview, Rehearsal, SeenVersion},
    rpc::{RehearsalOutcome, RehearseMigrations, Rehearsed, RehearsedVersion, Verdict},
};

/// A preview of a change. Await it to start.
///
/// ```no_run
/// # async fn example(manager: ctx0_schema::SchemaVersionManager) -> Result<(), ctx0_schema::Error> {
/// let preview = manager.preview().await?;
/// println!("{preview}");
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing runs until it is awaited"]
pub struct PreviewRequest {
    manager: SchemaVersionManager,
    goal: Goal,
}

impl PreviewRequest {
    pub(super) fn new(manager: SchemaVersionManager, goal: Goal) -> Self {
        Self { manager, goal }
    }

    async fn run(self) -> Result<Preview, Error> {
        let (current, steps) = self.goal.steps(&self.manager).await?;
        let instructions = &self.manager.0.backup_instructions;
        if steps.is_empty() {
            let nothing = Rehearsal::default();
            return Ok(Preview::new(current, &steps, nothing, instructions));
        }
        let rpc = &self.manager.0.rpc;
        let call = || RehearseMigrations::new(current, &steps);
        let decide = |outcome| {
            Ok(match outcome {
                RehearsalOutcome::Rehearsed(rehearsed) => Verdict::Done(Ok(rehearsed)),
                // Perhaps an earlier copy of this request. It ends soon.
                RehearsalOutcome::Locked { rehearsal: true } => Verdict::Running,
                RehearsalOutcome::Locked { rehearsal: false } => {
                    Verdict::Done(Err(Error::ChangeRunning))
                }
                RehearsalOutcome::Conflict(conflict) => {
                    Verdict::Done(Err(conflict.into_error(steps[0].version)?))
                }
            })
        };
        let rehearsed = rpc.call(rpc.policy(), call, decide, |_, _| {}).await??;
        let rehearsal = in_steps(rehearsed, &steps);
        Ok(Preview::new(current, &steps, rehearsal, instructions))
    }
}

impl IntoFuture for PreviewRequest {
    type Output = Result<Preview, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for PreviewRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreviewRequest")
            .field("goal", &self.goal)
            .finish_non_exhaustive()
    }
}

/// What the database saw of each step.
fn in_steps(rehearsed: Rehearsed, steps: &[Step]) -> Rehearsal {
    let versions = steps.iter().zip(rehearsed.versions);
    Rehearsal {
        versions: versions
            .map(|(step, version)| in_step(version, step))
            .collect(),
        tables: rehearsed.tables,
        sequences: rehearsed.sequences,
    }
}

fn in_step(version: RehearsedVersion, step: &Step) -> SeenVersion {
    match version {
        RehearsedVersion::Failed(failed) => SeenVersion {
            failure: Some(failed.in_step(step)),
            ..SeenVersion::default()
        },
        RehearsedVersion::Applied {
            execution_ms,
            objects,
            locks,
            rewrites,
            rows,
        } => SeenVersion {
            execution_ms: Some(execution_ms),
            objects,
            locks,
            rewrites,
            rows,
            ..SeenVersion::default()
        },
    }
}
