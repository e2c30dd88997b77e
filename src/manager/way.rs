//! Which way runs a statement outside a transaction.

use uuid::Uuid;

use super::SchemaVersionManager;
use crate::{
    config::SqlApi,
    error::Error,
    plan::{Step, Way},
};

impl SchemaVersionManager {
    /// Which way past PostgREST is open, or why there is none, where one of these steps needs that. At most one
    /// request, which is judged as a run would judge it.
    pub(super) async fn way_for(&self, steps: &[Step]) -> Option<Result<Way, String>> {
        if !steps.iter().any(Step::is_outside) {
            return None;
        }
        let way = match &self.0.sql_api {
            Some(SqlApi::PostgresMeta { .. }) => Way::PostgresMeta,
            Some(SqlApi::Management { .. }) => Way::ManagementApi,
            None => return self.no_sql_api().map(Err),
        };
        let nothing = self
            .0
            .rpc
            .run_outside("select 1", Uuid::nil(), None::<fn(_, _)>);
        Some(match nothing.await {
            Ok(_) => Ok(way),
            Err(error) => Err(self.why_closed(&error)),
        })
    }

    /// Why a statement did not run past PostgREST.
    pub(super) fn why_closed(&self, error: &Error) -> String {
        self.sql_is_closed(error)
            .unwrap_or_else(|| error.to_string())
    }
}
