//! PostgREST's part of the stack: it follows the database's schema and answers
//! requests.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::Method,
    response::Response,
};
use postrust_auth::JwtConfig;
use postrust_core::AppConfig;
use sqlx::{PgPool, postgres::PgListener};
use tokio::sync::{Mutex, watch};

use crate::{
    StackError,
    answer::{Corrected, Refusal, correct},
    call::Call,
    keys,
    schema::Schema,
    transaction::hide_nulls,
};

/// The largest request body: PostgREST has no limit, a test needs some.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// How a REST layer reaches its database.
pub(crate) struct Pools {
    /// For requests.
    pub(crate) requests: PgPool,
    /// For the schema cache and for `listen`, so that a full pool of requests
    /// does not hold them up. `None` where there is but one connection: then
    /// each call of a function is followed by a look at the schema.
    pub(crate) upkeep: Option<PgPool>,
}

/// The REST layer of one stack.
pub(crate) struct Api {
    pools: Pools,
    config: AppConfig,
    jwt: JwtConfig,
    /// `None` while the database is away.
    schema: watch::Sender<Option<Arc<Schema>>>,
    /// Held while the schema is read.
    loading: Mutex<()>,
}

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
            loading: Mutex::default(),
        })
    }

    pub(crate) fn config(&self) -> &AppConfig {
        &self.config
    }

    pub(crate) fn jwt(&self) -> &JwtConfig {
        &self.jwt
    }

    /// The connections of requests.
    pub(crate) fn requests(&self) -> &PgPool {
        &self.pools.requests
    }

    /// The schema, unless the database is away.
    pub(crate) fn schema(&self) -> Option<Arc<Schema>> {
        self.schema.borrow().clone()
    }

    /// Waits until the database has been seen.
    pub(crate) async fn ready(&self) {
        // The sender lives in `self`, so this ends in no other way.
        let _ = self.schema.subscribe().wait_for(Option::is_some).await;
    }

    /// Waits until the database is away.
    pub(crate) async fn gone(&self) {
        let _ = self.schema.subscribe().wait_for(Option::is_none).await;
    }

    /// Reads the schema again; requests see the new one when this returns.
    pub(crate) async fn load(&self) -> Result<(), StackError> {
        // One at a time, or an older state could replace a newer one.
        let _turn = self.loading.lock().await;
        let pool = self.pools.upkeep.as_ref().unwrap_or(&self.pools.requests);
        let schema = Schema::load(pool, &self.config).await?;
        self.schema.send_replace(Some(schema));
        Ok(())
    }

    /// Follows the database for ever: reads its schema when it appears and
    /// when it says `notify pgrst`, and knows when it is gone.
    pub(crate) async fn follow(self: Arc<Api>) {
        loop {
            // Whatever fails is retried, and meanwhile every request gets an
            // error, as from PostgREST.
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
        let (wanted, mut want) = watch::channel(());
        let listen = async {
            while let Some(notification) = listener.try_recv().await? {
                if matches!(notification.payload(), "" | "reload schema") {
                    wanted.send_replace(());
                }
            }
            Ok(())
        };
        // Once for all that come while it reads.
        let read = async {
            while want.changed().await.is_ok() {
                self.load().await?;
            }
            Ok(())
        };
        tokio::select! {
            gone = listen => gone,
            failed = read => failed,
        }
    }

    /// Answers one request as PostgREST would.
    pub(crate) async fn answer(self: Arc<Api>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let Ok(mut body) = to_bytes(body, MAX_BODY).await else {
            return Refusal::invalid_body().response();
        };
        let calls_function = parts.uri.path().starts_with("/rpc/") && parts.method == Method::POST;
        if calls_function {
            body = hide_nulls(&body);
        }
        loop {
            let Some(schema) = self.schema() else {
                return Refusal::database_down().response();
            };
            let call = Call::new(
                Arc::clone(&self),
                schema,
                &parts.method,
                &parts.uri,
                &parts.headers,
            )
            .await;
            let request = Request::from_parts(parts.clone(), Body::from(body.clone()));
            let response = postrust_engine::handle(&call, request).await;
            if calls_function && self.pools.upkeep.is_none() {
                // Where nobody listens, a migration's own notification is lost. A schema that
                // cannot be read stays as it was.
                let _ = self.load().await;
            }
            match correct(response, call.context(&parts.uri)) {
                // PostgREST before version 16 starts a transaction again that
                // lost against another one, without end, without a pause, and
                // whether or not the client still waits.
                Corrected::Again => tokio::task::yield_now().await,
                Corrected::Answer(response) => return response.map(Body::from),
            }
        }
    }
}
