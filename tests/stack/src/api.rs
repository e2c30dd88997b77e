//! PostgREST's part of the stack: the schema cache, and one request from its
//! role to its transaction.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::Method,
    response::Response,
};
use postrust_auth::{JwtCache, JwtConfig};
use postrust_core::{
    AppConfig, SchemaCache,
    db::{Db, DbError, SqlxTx, Tx},
};
use sqlx::{PgPool, postgres::PgListener};
use tokio::sync::watch;

use crate::{StackError, answer, keys};

/// The largest request body: PostgREST has no limit, a test needs some.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// How a REST layer reaches its database.
#[derive(Clone)]
pub(crate) struct Pools {
    /// For requests.
    pub(crate) requests: PgPool,
    /// For the schema cache and for `listen`, so that a full pool of requests
    /// does not hold them up. `None` where there is but one connection: then
    /// the schema is read again after each call of a function.
    pub(crate) upkeep: Option<PgPool>,
}

/// The REST layer of one stack.
pub(crate) struct Api {
    pools: Pools,
    config: AppConfig,
    jwt: JwtConfig,
    /// `None` while the database is away.
    schema: watch::Sender<Option<Arc<Schema>>>,
}

/// What the REST layer knows about the database.
struct Schema {
    cache: SchemaCache,
    /// The `statement_timeout` of each function and of each role that has one.
    functions: HashMap<String, String>,
    roles: HashMap<String, String>,
}

/// PostgREST sets a function's own timeout before it calls it, because a
/// timeout that a function sets for itself comes too late.
const FUNCTION_TIMEOUTS: &str = "
    select p.proname::text, substr(setting, length('statement_timeout=') + 1)
    from pg_proc p, unnest(p.proconfig) as setting
    where p.pronamespace = 'public'::regnamespace
    and setting like 'statement_timeout=%'";

/// `set local role` does not bring a role's settings along, so PostgREST does.
const ROLE_TIMEOUTS: &str = "
    select r.rolname::text, substr(setting, length('statement_timeout=') + 1)
    from pg_roles r, unnest(r.rolconfig) as setting
    where setting like 'statement_timeout=%'";

impl Api {
    pub(crate) fn new(pools: Pools) -> Result<Api, StackError> {
        let mut config = AppConfig::default();
        config.compat_mode = true;
        config.db_schemas = vec!["public".to_owned()];
        config.db_extra_search_path = vec!["public".to_owned(), "extensions".to_owned()];
        config.db_anon_role = Some("anon".to_owned());
        config.db_max_rows = Some(1000);
        config.jwt_secret = Some(keys::JWT_SECRET.to_owned());
        config.max_body_size = MAX_BODY;
        let jwt = postrust_engine::jwt_config(&config)
            .map_err(|error| postrust_core::Error::Config(error.to_string()))?;
        Ok(Api {
            pools,
            config,
            jwt,
            schema: watch::Sender::new(None),
        })
    }

    /// Reads the schema again; requests see the new one when this returns.
    pub(crate) async fn load(&self) -> Result<(), StackError> {
        let pool = self.pools.upkeep.as_ref().unwrap_or(&self.pools.requests);
        let schema = Schema {
            cache: SchemaCache::load_with_search_path(
                pool,
                &self.config.db_schemas,
                &self.config.db_extra_search_path,
            )
            .await?,
            functions: timeouts(pool, FUNCTION_TIMEOUTS).await?,
            roles: timeouts(pool, ROLE_TIMEOUTS).await?,
        };
        self.schema.send_replace(Some(Arc::new(schema)));
        Ok(())
    }

    /// Follows the database for ever: reads its schema when it appears and
    /// when it says `notify pgrst`, and knows when it is gone.
    pub(crate) async fn follow(self: Arc<Api>) {
        loop {
            // Whatever goes wrong is tried again, and meanwhile every request
            // is told so, as PostgREST does.
            match &self.pools.upkeep {
                Some(pool) => {
                    let _ = self.follow_until_it_is_gone(pool).await;
                }
                None => {
                    if self.load().await.is_ok() {
                        return;
                    }
                }
            }
            self.schema.send_replace(None);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn follow_until_it_is_gone(&self, pool: &PgPool) -> Result<(), StackError> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.eager_reconnect(false);
        listener.listen("pgrst").await?;
        self.load().await?;
        while let Some(notification) = listener.try_recv().await? {
            if matches!(notification.payload(), "" | "reload schema") {
                self.load().await?;
            }
        }
        Ok(())
    }

    /// The connections of requests.
    pub(crate) fn requests(&self) -> &PgPool {
        &self.pools.requests
    }

    /// Waits until the database has been seen.
    pub(crate) async fn ready(&self) {
        // The sender lives in `self`, so this ends in no other way.
        let _ = self.schema.subscribe().wait_for(Option::is_some).await;
    }

    /// Answers one request as PostgREST would.
    pub(crate) async fn answer(self: Arc<Api>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, MAX_BODY).await else {
            return answer::INVALID_BODY.into_response();
        };
        loop {
            let Some(schema) = self.schema.borrow().clone() else {
                return answer::DATABASE_DOWN.into_response();
            };
            let call = Call::new(Arc::clone(&self), schema, &parts.uri, &parts.headers).await;
            let request = Request::from_parts(parts.clone(), Body::from(body.clone()));
            let response = postrust_engine::handle(&call, request).await;
            if self.pools.upkeep.is_none() && parts.method == Method::POST {
                // Nobody listens here, so a migration's own notification would
                // be lost. A schema that cannot be read stays as it was.
                let _ = self.load().await;
            }
            match answer::correct(response, call.progress()) {
                // PostgREST before version 16 starts a transaction again that
                // lost against another one, without end, without a pause, and
                // whether or not the client still waits.
                answer::Corrected::Again => tokio::task::yield_now().await,
                answer::Corrected::Answer(response) => return response.map(Body::from),
            }
        }
    }
}

async fn timeouts(pool: &PgPool, sql: &'static str) -> Result<HashMap<String, String>, StackError> {
    let rows: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(pool).await?;
    Ok(rows.into_iter().collect())
}

/// One request on its way to the database.
struct Call {
    api: Arc<Api>,
    schema: Arc<Schema>,
    /// The function's own timeout, or else the role's.
    timeout: Option<String>,
    begun: AtomicBool,
}

impl Call {
    async fn new(
        api: Arc<Api>,
        schema: Arc<Schema>,
        uri: &axum::http::Uri,
        headers: &axum::http::HeaderMap,
    ) -> Call {
        let mut call = Call {
            api,
            schema,
            timeout: None,
            begun: AtomicBool::new(false),
        };
        // A token that is refused here is refused again, and answered, by the
        // pipeline.
        let role = postrust_engine::authenticate(&call, headers).await.ok();
        let of_role = role.and_then(|auth| call.schema.roles.get(&auth.role));
        let of_function = uri
            .path()
            .strip_prefix("/rpc/")
            .and_then(|name| call.schema.functions.get(name));
        call.timeout = of_function.or(of_role).cloned();
        call
    }

    fn progress(&self) -> answer::Progress {
        if self.begun.load(Ordering::Relaxed) {
            answer::Progress::Begun
        } else if self.api.schema.borrow().is_none() {
            answer::Progress::DatabaseDown
        } else {
            answer::Progress::NoConnection
        }
    }
}

impl Db for Call {
    type Tx<'a> = SqlxTx;

    async fn begin(&self) -> Result<SqlxTx, DbError> {
        let mut schema = self.api.schema.subscribe();
        let mut transaction = tokio::select! {
            transaction = Db::begin(&self.api.pools.requests) => transaction?,
            _ = schema.wait_for(Option::is_none) => {
                return Err(DbError::connection("the database is gone"));
            }
        };
        self.begun.store(true, Ordering::Relaxed);
        if let Some(timeout) = &self.timeout {
            let timeout = timeout.replace('\'', "''");
            transaction.queue(&format!("set local statement_timeout = '{timeout}'"), &[]);
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
        &self.api.config
    }

    fn jwt_config(&self) -> &JwtConfig {
        &self.api.jwt
    }

    fn jwt_cache(&self) -> Option<&JwtCache> {
        None
    }
}
