//! The REST layer as a server: a gateway and PostgREST behind one port.

use std::{
    future::{self, Future},
    io,
    net::Ipv4Addr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Request, State},
    middleware,
    response::Response,
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::{
    StackError,
    answer::Refusal,
    api::{Api, Pools},
    embedded, gateway,
    meta::{self, Served},
    sql::Rows,
};

/// How long the first look at the database may take.
const READY: Duration = Duration::from_secs(60);

/// How the REST layer of a stack reaches its database.
#[derive(Clone)]
pub(crate) struct Settings {
    /// How to become the authenticator.
    pub(crate) login: PgConnectOptions,
    /// How to become the superuser, who sees every table as PostgREST does;
    /// `None` where the database serves only one connection at a time.
    pub(crate) upkeep: Option<PgConnectOptions>,
    /// Connections for requests.
    pub(crate) pool: u32,
    /// How long a request waits for a connection.
    pub(crate) pool_timeout: Duration,
    /// When a connection that nobody uses is closed, if ever.
    pub(crate) idle: Option<Duration>,
    /// What stands behind `/pg/`.
    pub(crate) meta: Served,
}

/// A running REST layer. Dropping it is as abrupt as killing PostgREST:
/// requests end unanswered and their connections are cut.
pub(crate) struct Rest {
    api: Arc<Api>,
    home: Home,
}

impl Rest {
    /// Listens on `port`.
    pub(crate) async fn start(settings: Settings, port: u16) -> Result<Rest, StackError> {
        let home = Home::new()?;
        let api = home.run(serve(settings, port)).await??;
        Ok(Rest { api, home })
    }

    /// Waits until the schema has been read for the first time.
    pub(crate) async fn ready(&self) -> Result<(), StackError> {
        let api = Arc::clone(&self.api);
        self.home.run(async move { ready(&api).await }).await?
    }

    /// Reads the schema again.
    pub(crate) async fn reload(&self) -> Result<(), StackError> {
        let api = Arc::clone(&self.api);
        self.home.run(async move { api.load().await }).await?
    }

    /// Runs SQL as `role` on the one connection of the embedded database.
    pub(crate) async fn run_as(&self, role: &'static str, sql: &str) -> Result<Rows, StackError> {
        let (api, sql) = (Arc::clone(&self.api), sql.to_owned());
        let run = async move {
            let mut connection = api.requests().acquire().await?;
            embedded::run_as(&mut connection, role, &sql).await
        };
        Ok(self.home.run(run).await??)
    }

    /// Stops and returns when the port is closed.
    pub(crate) async fn stop(self) -> Result<(), StackError> {
        let stopped = tokio::task::spawn_blocking(move || drop(self)).await;
        Ok(stopped.map_err(io::Error::other)?)
    }
}

/// The REST layers of many projects on one port.
pub(crate) struct Rests {
    /// They run on its threads.
    _home: Home,
}

impl Rests {
    /// Serves each project below its path, and returns when all of them have read their schema.
    pub(crate) async fn start(
        projects: Vec<(String, Settings)>,
        port: u16,
        layers: impl FnOnce(Router) -> Router + Send + 'static,
    ) -> Result<Rests, StackError> {
        let home = Home::new()?;
        let start = async move {
            let listener = listen(port).await?;
            let mut apis = Vec::new();
            let mut all = Router::new();
            for (path, settings) in projects {
                let (api, router) = project(settings)?;
                apis.push(api);
                all = all.nest(&path, router);
            }
            let all = layers(all.fallback(gateway::no_route));
            tokio::spawn(async move { axum::serve(listener, all).await });
            for api in apis {
                ready(&api).await?;
            }
            Ok::<_, StackError>(())
        };
        home.run(start).await??;
        Ok(Rests { _home: home })
    }
}

/// Waits until the schema has been read for the first time.
async fn ready(api: &Api) -> Result<(), StackError> {
    match tokio::time::timeout(READY, api.ready()).await {
        Ok(()) => Ok(()),
        // Another try says why.
        Err(_) => api.load().await,
    }
}

async fn serve(settings: Settings, port: u16) -> Result<Arc<Api>, StackError> {
    let listener = listen(port).await?;
    let (api, router) = project(settings)?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(api)
}

/// What a project serves. It follows its database from now on.
fn project(settings: Settings) -> Result<(Arc<Api>, Router), StackError> {
    let pool = |size: u32| {
        PgPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(settings.pool_timeout)
            .idle_timeout(settings.idle)
            .max_lifetime(None)
    };
    // A prepared statement would fail after a migration has changed its table. With a capacity of 0
    // sqlx would prepare each one and keep it for ever; this way the next one closes it.
    let login = settings.login.statement_cache_capacity(1);
    let pools = match settings.upkeep {
        Some(upkeep) => Pools {
            requests: pool(settings.pool).connect_lazy_with(login),
            // One listens, one reads, and plans each of its queries only once.
            upkeep: Some(
                pool(2)
                    .connect_lazy_with(upkeep.options([("plan_cache_mode", "force_generic_plan")])),
            ),
        },
        None => Pools {
            requests: pool(1)
                .after_connect(|connection, _| Box::pin(embedded::open(connection)))
                .connect_lazy_with(login),
            upkeep: None,
        },
    };
    let api = Arc::new(Api::new(pools)?);
    tokio::spawn(Arc::clone(&api).follow());

    let rest = Router::new()
        .fallback(request)
        .layer(middleware::from_fn(gateway::check))
        .with_state(Arc::clone(&api));
    let sql = Router::new()
        .fallback(meta::pass_on)
        .layer(middleware::from_fn(gateway::check_admin))
        .with_state(settings.meta);
    let router = Router::new()
        .nest("/rest/v1/", rest)
        .nest("/pg/", sql)
        .fallback(gateway::no_route);
    Ok((api, router))
}

/// Listens on a port, also where a listener has just been closed: a process that another thread
/// has forked keeps a copy of it until it starts its program.
async fn listen(port: u16) -> io::Result<TcpListener> {
    let deadline = Instant::now() + READY;
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            listener => return listener,
        }
    }
}

/// Answers a request in a task of its own: PostgREST finishes what it has
/// begun when the client is gone, while axum would drop it.
async fn request(State(api): State<Arc<Api>>, request: Request) -> Response {
    match tokio::spawn(api.answer(request)).await {
        Ok(response) => response,
        Err(error) if error.is_panic() => Refusal::internal().response(),
        // The server is being stopped, and a stopped one answers nobody.
        Err(_) => future::pending().await,
    }
}

/// Threads of its own for the REST layer: a test's runtime may be busy, may
/// have a stopped clock and may end before another test's that uses the stack.
struct Home(Option<Runtime>);

impl Home {
    fn new() -> io::Result<Home> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("ctx0-stack")
            .enable_all()
            .build()
            .map(|runtime| Home(Some(runtime)))
    }

    /// Runs the future here, whichever runtime waits for it.
    async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn(future).await.map_err(io::Error::other),
            None => Err(io::Error::other("the REST layer has stopped")),
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A runtime may not be dropped inside another one, because it waits
        // for its threads.
        if let Some(runtime) = self.0.take() {
            let _ = thread::spawn(move || drop(runtime)).join();
        }
    }
}
