//! Many projects: databases of one cluster behind one port, each with a REST layer of its own.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::Response,
    middleware::{self, Next},
};

use crate::{
    Port, Rows, StackError,
    cluster::Cluster,
    meta::Served,
    rest::{Rests, Settings},
    sql,
};

/// Each project has one connection that listens, and for a request one, or two where it changes the schema.
/// Some are left for looking behind the API.
const CONNECTIONS: u32 = 3;
const CONNECTIONS_BESIDE: u32 = 50;

/// A connection that nobody has used for so long is closed, so that not all projects hold all of theirs.
const IDLE: Duration = Duration::from_secs(2);

/// Projects on databases of one real PostgreSQL. They stop when it is dropped.
pub struct Many {
    /// Ends before the databases do.
    _rests: Rests,
    cluster: Cluster,
    port: Port,
    projects: usize,
    exchanges: Exchanges,
}

type Exchanges = Arc<Mutex<Vec<Exchange>>>;

/// A request and its response.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The path of the request below the project's URL, such as `/rest/v1/notes`.
    pub path: String,
    /// The whole response.
    pub response: Response<Bytes>,
}

impl Many {
    /// Starts this many projects, in each of which this SQL was run.
    ///
    /// # Errors
    ///
    /// As for [`Stack::postgres`](crate::Stack::postgres), and when the database refuses the SQL.
    pub async fn start(projects: usize, setup: &str) -> Result<Many, StackError> {
        let number = u32::try_from(projects).unwrap_or(u32::MAX);
        let connections = number
            .saturating_mul(CONNECTIONS)
            .saturating_add(CONNECTIONS_BESIDE);
        let cluster = Cluster::start(vec![format!("max_connections={connections}")]).await?;
        sql::run(&cluster.options("postgres"), setup).await?;
        // The first database is their template, to which nobody is connected but who copies it.
        let admin = cluster.options("supabase_admin");
        let mut served = Vec::new();
        for project in 0..projects {
            let name = name(project);
            let create = format!(
                "create database {name} template postgres owner postgres strategy file_copy"
            );
            sql::run(&admin, &create).await?;
            let settings = Settings {
                login: cluster.options("authenticator").database(&name),
                upkeep: Some(admin.clone().database(&name)),
                pool: 10,
                pool_timeout: Duration::from_secs(60),
                idle: Some(IDLE),
                meta: Served::default(),
            };
            served.push((format!("/{name}"), settings));
        }
        let exchanges = Exchanges::default();
        let port = Port::reserve()?;
        let seen = Arc::clone(&exchanges);
        let rests = Rests::start(served, port.number(), |router| record(router, seen)).await?;
        Ok(Many {
            _rests: rests,
            cluster,
            port,
            projects,
            exchanges,
        })
    }

    /// The URLs of the projects. [`SECRET_KEY`](crate::SECRET_KEY) opens each of them.
    pub fn urls(&self) -> Vec<String> {
        let port = self.port.number();
        (0..self.projects)
            .map(|project| format!("http://127.0.0.1:{port}/{}", name(project)))
            .collect()
    }

    /// Runs SQL in one of the projects behind its API, under the role `postgres`.
    ///
    /// # Errors
    ///
    /// When the database refuses it.
    pub async fn sql(&self, project: usize, sql: &str) -> Result<Rows, StackError> {
        let options = self.cluster.options("postgres").database(&name(project));
        Ok(sql::run(&options, sql).await?)
    }

    /// What was requested since the last time, in the order of the responses.
    pub fn take_exchanges(&self) -> Vec<Exchange> {
        let mut exchanges = self
            .exchanges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut exchanges)
    }
}

impl fmt::Debug for Many {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Many")
            .field("projects", &self.projects)
            .finish_non_exhaustive()
    }
}

fn name(project: usize) -> String {
    format!("project_{project}")
}

/// Notes each exchange.
fn record(router: Router, exchanges: Exchanges) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let exchanges = Arc::clone(&exchanges);
        async move {
            let path = request.uri().path();
            let path = path.find("/rest/").map_or(path, |start| &path[start..]);
            let path = path.to_owned();
            let (parts, body) = next.run(request).await.into_parts();
            // What is cut short reaches the client as an empty body, which it refuses.
            let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
            let response = Response::from_parts(parts, body);
            let mut all = exchanges.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(Exchange {
                path,
                response: response.clone(),
            });
            response.map(Body::from)
        }
    }))
}
