//! Looks for what is wrong with a project.

use jiff::Timestamp;

use super::SchemaVersionManager;
use crate::doctor::{Diagnosis, Facts, diagnosis};

impl SchemaVersionManager {
    /// Looks for what is wrong with the project, and says what to do about it. Up to four requests, which
    /// change nothing.
    ///
    /// What cannot be looked at, because something before it failed, is marked as not checked. The
    /// result displays as text for a bug report.
    ///
    /// ```no_run
    /// # async fn example(manager: ctx0_schema::SchemaVersionManager) {
    /// println!("{}", manager.diagnose().await);
    /// # }
    /// ```
    pub async fn diagnose(&self) -> Diagnosis {
        let settings = &self.0.settings;
        let probe = self.0.rpc.probe().await;
        let mut facts = Facts::new(settings, Timestamp::now(), probe);
        if facts.probe.error.is_none() {
            facts.check = Some(self.check_for_updates().await);
            let status = self.status().await;
            if status.is_ok() {
                facts.drift = Some(self.verify().await);
            }
            facts.status = Some(status);
        }
        diagnosis(&facts)
    }
}
