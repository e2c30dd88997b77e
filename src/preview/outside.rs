//! What it means for the user that a version runs outside a transaction.

use std::fmt;

use serde::Serialize;

use super::{
    LockMode, SeenVersion,
    format::{duration, short},
};
use crate::plan::{Step, Way};

/// How a version runs that cannot run inside a transaction.
///
/// Displays as what it means for the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct OutsidePreview {
    /// The first way that is open now. `None`: there is none, and the version would fail with
    /// [`Error::NothingRunsSql`](crate::Error::NothingRunsSql).
    pub way: Option<Way>,
    /// Why the ways before it are closed.
    pub reason: Option<String>,
    /// With [`Way::Transaction`] what waits meanwhile: "writing to ctx0_notes waits about 12 s".
    pub waits: Option<String>,
}

impl OutsidePreview {
    /// `open`: the way past PostgREST, or why there is none.
    pub(super) fn of(
        step: &Step,
        seen: &SeenVersion,
        open: Option<&Result<Way, String>>,
    ) -> Option<Self> {
        if !step.is_outside() {
            return None;
        }
        let (way, reason) = match open {
            Some(Ok(way)) => (Some(*way), None),
            Some(Err(reason)) => (
                step.may_run_inside().then_some(Way::Transaction),
                Some(reason.clone()),
            ),
            None => (None, None),
        };
        Some(Self {
            waits: (way == Some(Way::Transaction)).then(|| waits(step, seen)),
            way,
            reason,
        })
    }

    /// Whether it runs outside a transaction, and reading and writing go on meanwhile.
    pub(crate) fn runs_outside(&self) -> bool {
        self.way.is_some() && !self.needs_consent()
    }

    /// Whether it runs only after consent to the lock: [`Run::may_lock`](crate::Run::may_lock).
    #[must_use]
    pub fn needs_consent(&self) -> bool {
        self.way == Some(Way::Transaction)
    }
}

impl fmt::Display for OutsidePreview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.reason.iter().map(|reason| format!(" ({reason})"));
        let why: String = why.collect();
        match (self.way, &self.waits) {
            (Some(Way::Transaction), waits) => {
                write!(
                    f,
                    "nothing runs it outside a transaction here{why}; inside one, "
                )?;
                f.write_str(waits.as_deref().unwrap_or("its table is locked"))
            }
            (Some(way), _) => write!(
                f,
                "runs outside a transaction, through {way}{why}: reading and writing go on. If it breaks off, it isn't \
                 undone as a whole; what is left is removed before the next try"
            ),
            (None, _) => write!(
                f,
                "can't run: nothing runs it outside a transaction here{why}, and it may not run inside one"
            ),
        }
    }
}

/// What waits while the version runs inside a transaction, as far as it was tested.
fn waits(step: &Step, seen: &SeenVersion) -> String {
    let locks = seen.locks.iter();
    let lock = locks
        .filter(|lock| lock.prevents().is_some())
        .max_by_key(|lock| lock.mode);
    let table = lock
        .map(|lock| short(&lock.relation))
        .or_else(|| step.outside_table().map(short))
        .unwrap_or("its table");
    let what = match lock.map(|lock| lock.mode) {
        Some(LockMode::AccessExclusive) => "reading and writing",
        _ => "writing to",
    };
    let time = match seen.execution_ms {
        Some(0..1_000) => "a moment".to_owned(),
        Some(ms) => duration(ms),
        None => "until it is done".to_owned(),
    };
    format!("{what} {table} waits {time}")
}
