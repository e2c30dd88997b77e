//! Recognising a schema that was made by hand, and repairing the ledger.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
};

use super::SchemaVersionManager;
use crate::{
    error::Error,
    ledger::{AttemptAction, RepairAction},
    manifest::Version,
    repair::{Recognition, Repair, RepairPlan, RepairReport, plan_baseline, plan_repair},
    rpc::{RecogniseOutcome, RecogniseSchema, RepairLedger, RepairOutcome, RetryPolicy, Verdict},
};

impl SchemaVersionManager {
    /// Compares the schema that is there with what each version of this build makes, for a database whose
    /// ctx0 schema was made by hand. One request, which changes nothing.
    ///
    /// PostgreSQL runs the versions in an empty schema `public`, in a transaction that is rolled back. The tables
    /// that are there are not locked; what the versions name in other schemas is, as in a preview. It
    /// takes at most 25 s.
    ///
    /// # Errors
    /// [`Error::ChangeRunning`] while the schema is being changed, and any [`Error`] of a request.
    pub async fn recognise(&self) -> Result<Recognition, Error> {
        self.compare(None).await
    }

    /// Like [`recognise`](Self::recognise), and shows the differences from this version.
    ///
    /// # Errors
    /// As [`recognise`](Self::recognise).
    pub async fn recognise_as(&self, version: Version) -> Result<Recognition, Error> {
        self.compare(Some(version)).await
    }

    async fn compare(&self, show: Option<Version>) -> Result<Recognition, Error> {
        let rpc = &self.0.rpc;
        let call = || RecogniseSchema::new(&self.0.migrations, show);
        let decide = |outcome| match outcome {
            RecogniseOutcome::Compared(compared) => Ok(Verdict::Done(Ok(compared))),
            RecogniseOutcome::Locked { held_by } => Ok(Verdict::Running(held_by.into())),
            RecogniseOutcome::Conflict(conflict) => {
                let action = AttemptAction::Repair(RepairAction::Baseline);
                let error = conflict.into_error(action, self.latest_version())?;
                Ok(Verdict::Done(Err(error)))
            }
        };
        let compared = rpc
            .call(rpc.policy(), call, decide, |_, _| {}, || None)
            .await??;
        Ok(Recognition::new(compared, &self.0.migrations))
    }

    /// Plans to record all versions up to this one as applied, for a schema that was made by hand and an empty
    /// ledger. Sends nothing.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`], and [`Error::CannotRepair`] if there is nothing to record.
    pub fn plan_baseline(
        &self,
        found: &Recognition,
        version: Version,
    ) -> Result<RepairPlan, Error> {
        plan_baseline(&self.0.migrations, found, version)
    }

    /// Plans a repair of the ledger. One request.
    ///
    /// # Errors
    /// [`Error::CannotRepair`] if the ledger has no need of it, [`Error::UnknownVersion`], and any [`Error`] of a
    /// request.
    pub async fn plan_repair(&self, repair: Repair) -> Result<RepairPlan, Error> {
        plan_repair(&self.0.migrations, &self.history().await?, repair)
    }

    /// Does what was planned, and records who did it and why. Await the result to start.
    ///
    /// The ledger changes, and no SQL of a version runs. It takes the lock of a change, and is done once or not
    /// at all, also if requests and responses are lost.
    ///
    /// ```no_run
    /// # async fn example(manager: ctx0_schema::SchemaVersionManager) -> Result<(), ctx0_schema::Error> {
    /// let found = manager.recognise().await?;
    /// println!("{found}");
    /// if let Some(version) = found.same().next() {
    ///     let plan = manager.plan_baseline(&found, version)?;
    ///     // Only after the user has agreed:
    ///     manager.repair(plan, "the schema was made in the SQL editor").await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Awaiting returns [`Error::RepairOutdated`] if the ledger or the schema has changed since the plan,
    /// [`Error::NotRecognised`] for a baseline whose version makes another schema, [`Error::BlankReason`],
    /// and any [`Error`] of a request.
    pub fn repair(&self, plan: RepairPlan, reason: impl Into<String>) -> RepairRequest {
        RepairRequest {
            manager: self.clone(),
            plan,
            reason: reason.into(),
            accept_differences: false,
        }
    }
}

/// A repair of the ledger. Await it to start.
#[must_use = "nothing changes until it is awaited"]
pub struct RepairRequest {
    manager: SchemaVersionManager,
    plan: RepairPlan,
    reason: String,
    accept_differences: bool,
}

impl RepairRequest {
    /// Records a baseline although the schema differs from what the version makes. From then on
    /// [`verify`](SchemaVersionManager::verify) compares with the schema as it is now.
    pub fn accept_differences(mut self) -> Self {
        self.accept_differences = true;
        self
    }

    async fn run(self) -> Result<RepairReport, Error> {
        let Self {
            manager,
            plan,
            reason,
            ..
        } = &self;
        let (action, version) = (plan.action, plan.version);
        if reason.trim().is_empty() {
            return Err(Error::BlankReason);
        }
        if action == RepairAction::Baseline
            && plan.is_same != Some(true)
            && !self.accept_differences
        {
            return Err(Error::NotRecognised { version });
        }
        let rpc = &manager.0.rpc;
        let policy = RetryPolicy {
            running_deadline: manager.0.apply_deadline,
            ..rpc.policy()
        };
        let (migrations, by) = (&manager.0.migrations, &manager.0.applied_by);
        let call = || RepairLedger::new(plan, migrations, by, reason);
        let report = |current_version, already_recorded| {
            Ok(Verdict::Done(Ok(RepairReport {
                action,
                version,
                current_version,
                already_recorded,
            })))
        };
        let decide = |outcome| match outcome {
            RepairOutcome::Recorded { current_version } => report(current_version, false),
            RepairOutcome::AlreadyRecorded { current_version } => report(current_version, true),
            RepairOutcome::Locked { held_by } => Ok(Verdict::Running(held_by.into())),
            RepairOutcome::Conflict(conflict) => Ok(Verdict::Done(Err(
                conflict.into_repair_error(action, version)?
            ))),
            RepairOutcome::Cancelled { cancelled_by: by } => {
                Ok(Verdict::Done(Err(Error::ChangeCancelled { version, by })))
            }
        };
        rpc.call(policy, call, decide, |_, _| {}, || None)
            .await
            .map_err(|end| end.of_change(AttemptAction::Repair(action), version))?
    }
}

impl IntoFuture for RepairRequest {
    type Output = Result<RepairReport, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for RepairRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepairRequest")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}
