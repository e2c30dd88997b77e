//! What to reach, and the steps that lead there from the database's version.

use super::SchemaVersionManager;
use crate::{
    error::Error,
    manifest::Version,
    plan::{NoRollback, Step, plan_rollback},
};

/// What a run or a preview is to reach.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// This build's latest version.
    Latest,
    /// This version, which is the next one or applied already.
    Next(Version),
    /// This version, which is below the database's.
    BackTo(Version),
}

impl Goal {
    /// The database's version, and the steps from there. One request.
    pub(super) async fn steps(
        self,
        manager: &SchemaVersionManager,
    ) -> Result<(Version, Vec<Step>), Error> {
        match self {
            Self::Latest => steps_to_latest(manager).await,
            Self::Next(version) => steps_to_next(manager, version).await,
            Self::BackTo(version) => steps_back_to(manager, version).await,
        }
    }
}

async fn steps_to_latest(manager: &SchemaVersionManager) -> Result<(Version, Vec<Step>), Error> {
    let migrations = &manager.0.migrations;
    let (ledger, hosted) = manager.ledger_and_hosted().await?;
    let plan = manager.plan(&ledger, hosted.as_ref());
    if let Some(problem) = plan.problem {
        return Err(problem.into());
    }
    let steps = plan.pending.iter();
    let steps = steps.map(|migration| Step::apply(migration, migrations));
    Ok((plan.current, steps.collect()))
}

async fn steps_to_next(
    manager: &SchemaVersionManager,
    version: Version,
) -> Result<(Version, Vec<Step>), Error> {
    if manager.0.migrations.get(version).is_none() {
        let latest = manager.latest_version();
        return Err(Error::UnknownVersion { version, latest });
    }
    let (current, mut steps) = steps_to_latest(manager).await?;
    let next = current.next();
    if version > next {
        return Err(Error::NotNext {
            version,
            current,
            next,
        });
    }
    if version == next && steps.is_empty() {
        return Err(Error::Withheld { version });
    }
    steps.truncate(usize::from(version == next));
    Ok((current, steps))
}

async fn steps_back_to(
    manager: &SchemaVersionManager,
    version: Version,
) -> Result<(Version, Vec<Step>), Error> {
    let migrations = &manager.0.migrations;
    let status = manager.status().await?;
    let rows = plan_rollback(migrations, &status.ledger, &status.reversible, version);
    let rows = rows.map_err(|refused| match refused {
        NoRollback::Ledger(problem) => Error::Ledger(problem),
        NoRollback::NotBelow { current } => Error::NotBelow { version, current },
        NoRollback::NotReversible(version) => Error::NotReversible { version },
    })?;
    let steps = rows.into_iter().map(|row| Step::roll_back(row, migrations));
    Ok((status.current_version, steps.collect()))
}
