//! One request on its way through postrust to the database.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::http::{HeaderMap, Method, Uri};
use postrust_auth::{JwtCache, JwtConfig};
use postrust_core::{
    AppConfig, SchemaCache,
    db::{Db, DbError},
};

use crate::{
    answer::{Context, Progress},
    api::Api,
    schema::Schema,
    transaction::Transaction,
};

/// A request as postrust's pipeline sees its surroundings.
pub(crate) struct Call {
    api: Arc<Api>,
    schema: Arc<Schema>,
    /// Whom the token makes of the caller; `None` for a bad token, which the
    /// pipeline refuses.
    role: Option<String>,
    timeout: Option<String>,
    /// Whether it reads a table.
    reads: bool,
    /// Whether there was a connection: from then on something may have run.
    begun: AtomicBool,
}

impl Call {
    pub(crate) async fn new(
        api: Arc<Api>,
        schema: Arc<Schema>,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Call {
        let mut call = Call {
            api,
            schema,
            role: None,
            timeout: None,
            reads: matches!(*method, Method::GET | Method::HEAD)
                && !uri.path().starts_with("/rpc/"),
            begun: AtomicBool::new(false),
        };
        let caller = postrust_engine::authenticate(&call, headers).await;
        call.role = caller.ok().map(|caller| caller.role);
        call.timeout = call.schema.timeout(uri.path(), call.role.as_deref());
        call
    }

    /// What an error's answer depends on.
    pub(crate) fn context(&self, uri: &Uri) -> Context {
        Context {
            progress: if self.begun.load(Ordering::Relaxed) {
                Progress::Begun
            } else if self.api.schema().is_none() {
                Progress::DatabaseDown
            } else {
                Progress::NoConnection
            },
            anonymous: self.role.as_deref() == Some("anon"),
            missing_column: self
                .schema
                .missing_column(uri.path(), uri.query().unwrap_or_default()),
        }
    }
}

impl Db for Call {
    type Tx<'a> = Transaction;

    async fn begin(&self) -> Result<Transaction, DbError> {
        // The pool would go on trying to connect to a database that is gone.
        let mut transaction = tokio::select! {
            transaction = Db::begin(self.api.requests()) => Transaction(transaction?),
            () = self.api.gone() => return Err(DbError::connection("the database is gone")),
        };
        self.begun.store(true, Ordering::Relaxed);
        if self.reads {
            transaction.see_one_state();
        }
        if let Some(timeout) = &self.timeout {
            transaction.set_timeout(timeout);
        }
        Ok(transaction)
    }
}

impl postrust_engine::State for Call {
    type Db = Call;
    type SchemaCache<'a> = &'a SchemaCache;

    fn db(&self) -> &Call {
        self
    }

    async fn schema_cache(&self) -> &SchemaCache {
        &self.schema.cache
    }

    fn config(&self) -> &AppConfig {
        self.api.config()
    }

    fn jwt_config(&self) -> &JwtConfig {
        self.api.jwt()
    }

    fn jwt_cache(&self) -> Option<&JwtCache> {
        None
    }
}
