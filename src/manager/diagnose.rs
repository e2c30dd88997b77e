//! Looks for what is wrong with a project.

use jiff::Timestamp;

use super::SchemaVersionManager;
use crate::{
    config::SqlApi,
    doctor::{Diagnosis, Facts, diagnosis, extensions},
    manifest::Migration,
    rpc::Diagnose,
};

impl SchemaVersionManager {
    /// Looks for what is wrong with the project, and says what to do about it. Up to seven requests, which
    /// change nothing. One of them asks for SQL to be run without a key, which must be refused.
    ///
    /// What cannot be looked at, because something before it failed, is marked as not checked, with the reason.
    /// The result displays as text for a bug report.
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
            if matches!(self.0.sql_api, Some(SqlApi::PostgresMeta { .. })) {
                facts.sql_access = Some(self.0.rpc.sql_access().await);
            }
            if status.is_ok() {
                let migrations = self.0.migrations.iter();
                let p_extensions = extensions(migrations.map(Migration::sql));
                facts.health = Some(self.0.rpc.read(&Diagnose { p_extensions }).await);
                facts.drift = Some(self.verify().await);
            }
            facts.status = Some(status);
        }
        diagnosis(&facts)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        doctor::{CheckName, CheckState},
        transport::{
            Request,
            fake::{Fake, refusal, response},
        },
    };

    #[tokio::test(start_paused = true)]
    async fn sql_that_runs_without_a_key_is_found() {
        for (open, state) in [(true, CheckState::Failed), (false, CheckState::Good)] {
            let fake = Fake::by(move |request| match request {
                Request::Rows { .. } => response(200, json!([])),
                Request::Function { .. } => refusal(404, "PGRST202", None),
                Request::Sql { with_key: true, .. } => {
                    response(200, json!([{"installation": null}]))
                }
                Request::Sql { .. } if open => response(200, json!([{"anyone": 1}])),
                Request::Sql { .. } => refusal(401, "closed", None),
            });
            let found = SchemaVersionManager::on(&fake).diagnose().await;
            let check = found
                .checks
                .iter()
                .find(|check| check.name == CheckName::SqlAccess);
            assert_eq!(check.map(|check| check.state), Some(state), "{found}");
        }
    }
}
