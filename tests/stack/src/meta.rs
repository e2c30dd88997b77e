//! postgres-meta, which runs SQL for the gateway: the server itself, from npm.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};

use crate::{Port, StackError, gateway};

/// Where `tests/run` installs it.
const SERVER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/npm/node_modules/@supabase/postgres-meta/dist/server/server.js"
);

/// How long it may take to start; a busy machine needs some seconds.
const READY: Duration = Duration::from_secs(60);

/// Ends the server when the pipe on its standard input ends, and that ends with this process,
/// `kill -9` included.
const WATCHDOG: &str = r#""$@" </dev/null & server=$!; cat >/dev/null; kill $server; wait $server"#;

/// The port of the server that is behind `/pg/`; 0 where there is none.
pub(crate) type MetaPort = Arc<AtomicU16>;

/// A running postgres-meta. It ends when this is dropped.
pub(crate) struct Meta {
    process: Child,
    port: MetaPort,
    _ports: [Port; 2],
}

impl Meta {
    /// Starts it on this database, and puts it behind the gateway.
    pub(crate) async fn start(database: &str, gateway: &MetaPort) -> Result<Meta, StackError> {
        let server = Path::new(SERVER);
        if !server.exists() {
            let text = format!("{SERVER} is missing: run tests/run, which installs it");
            return Err(io::Error::new(io::ErrorKind::NotFound, text).into());
        }
        let ports = Port::pair()?;
        let port = ports[0].number();
        let process = Command::new("sh")
            .args(["-c", WATCHDOG, "sh", "node"])
            .arg(PathBuf::from(server))
            .env("PG_META_HOST", "127.0.0.1")
            .env("PG_META_PORT", port.to_string())
            .env("PG_META_DB_URL", database)
            .env("CRYPTO_KEY", "not-a-secret")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let meta = Meta {
            process,
            port: Arc::clone(gateway),
            _ports: ports,
        };
        let started = Instant::now();
        while reqwest::get(format!("http://127.0.0.1:{port}/"))
            .await
            .is_err()
        {
            if started.elapsed() > READY {
                let log = "postgres-meta does not respond".to_owned();
                return Err(StackError::NotReady { log });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        gateway.store(port, Ordering::Release);
        Ok(meta)
    }
}

impl Drop for Meta {
    fn drop(&mut self) {
        self.port.store(0, Ordering::Release);
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Passes a request on, as the gateway does once it has checked the key.
pub(crate) async fn pass_on(State(port): State<MetaPort>, request: Request) -> Response {
    let port = port.load(Ordering::Acquire);
    if port == 0 {
        return gateway::no_route().await;
    }
    match forward(port, request).await {
        Ok(response) => response,
        Err(_) => gateway::no_upstream(),
    }
}

async fn forward(
    port: u16,
    request: Request,
) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 64 * 1024 * 1024).await?;
    let path = parts.uri.path();
    let mut sent = reqwest::Client::new()
        .request(parts.method, format!("http://127.0.0.1:{port}{path}"))
        .body(body);
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        sent = sent.header(header::CONTENT_TYPE, kind);
    }
    let answer = sent.send().await?;
    let status: StatusCode = answer.status();
    let mut response = Response::new(Body::from(answer.bytes().await?));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}
