//! postgres-meta, which runs SQL for the gateway: the server itself, from npm.

use std::{
    io,
    path::Path,
    process::{Child, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use tokio::{
    process::Command,
    sync::{OnceCell, RwLock},
};

use crate::{Port, StackError, gateway};

/// Where `tests/run` installs it.
const SERVER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/npm/node_modules/@supabase/postgres-meta/dist/server/server.js"
);

/// How long it may take to start: it loads thousands of files, and a busy machine needs minutes.
const READY: Duration = Duration::from_secs(300);

/// Ends the server when the pipe on its standard input ends, and that ends with this process,
/// `kill -9` included.
const WATCHDOG: &str = r#""$@" </dev/null & server=$!; cat >/dev/null; kill $server; wait $server"#;

/// The key of `x-connection-encrypted`, by which a request names its database.
const KEY: &str = "not-a-secret";

/// As Studio makes that header.
const ENCRYPT: &str = "const [database, key] = process.argv.slice(1);
    console.log(require('crypto-js').AES.encrypt(database, key).toString())";

/// What is behind the `/pg/` of a stack.
pub(crate) type Served = Arc<RwLock<Option<Meta>>>;

/// postgres-meta on one database.
pub(crate) struct Meta {
    server: &'static Server,
    /// The database, as the header has it.
    database: HeaderValue,
}

impl Meta {
    /// Starts the server, unless another stack of this process has one already: its start costs
    /// seconds.
    pub(crate) async fn on(database: &str) -> Result<Meta, StackError> {
        static SERVER: OnceCell<Server> = OnceCell::const_new();
        let server = SERVER.get_or_try_init(Server::start).await?;
        let encrypted = node()?
            .args(["-e", ENCRYPT, database, KEY])
            .output()
            .await?;
        if !encrypted.status.success() {
            return Err(StackError::Program {
                program: "node".to_owned(),
                status: encrypted.status,
                output: String::from_utf8_lossy(&encrypted.stderr).into_owned(),
            });
        }
        let database = HeaderValue::from_bytes(encrypted.stdout.trim_ascii());
        let database = database.map_err(io::Error::other)?;
        Ok(Meta { server, database })
    }
}

/// Node, which finds the server's packages.
fn node() -> Result<Command, StackError> {
    let server = Path::new(SERVER);
    if !server.exists() {
        let text = format!("{SERVER} is missing: run tests/run, which installs it");
        return Err(io::Error::new(io::ErrorKind::NotFound, text).into());
    }
    let mut node = Command::new("node");
    node.current_dir(server.parent().expect("a folder"));
    Ok(node)
}

/// The server. It ends with this process.
struct Server {
    /// Its standard input is what it ends with.
    _watchdog: Child,
    ports: [Port; 2],
}

impl Server {
    async fn start() -> Result<Server, StackError> {
        node()?;
        let ports = Port::pair()?;
        let port = ports[0].number();
        let mut watchdog = std::process::Command::new("sh")
            .args(["-c", WATCHDOG, "sh", "node", SERVER])
            .env("PG_META_HOST", "127.0.0.1")
            .env("PG_META_PORT", port.to_string())
            .env("CRYPTO_KEY", KEY)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let started = Instant::now();
        while reqwest::get(format!("http://127.0.0.1:{port}/"))
            .await
            .is_err()
        {
            if started.elapsed() > READY {
                drop(watchdog.stdin.take());
                watchdog.wait()?;
                let log = "postgres-meta does not respond".to_owned();
                return Err(StackError::NotReady { log });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Server {
            _watchdog: watchdog,
            ports,
        })
    }
}

/// Passes a request on, as the gateway does once it has checked the key.
pub(crate) async fn pass_on(State(served): State<Served>, request: Request) -> Response {
    match &*served.read().await {
        Some(meta) => match forward(meta, request).await {
            Ok(response) => response,
            Err(_) => gateway::no_upstream(),
        },
        None => gateway::no_route().await,
    }
}

async fn forward(
    meta: &Meta,
    request: Request,
) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 64 * 1024 * 1024).await?;
    let (port, path) = (meta.server.ports[0].number(), parts.uri.path());
    let mut sent = reqwest::Client::new()
        .request(parts.method, format!("http://127.0.0.1:{port}{path}"))
        .header("x-connection-encrypted", &meta.database)
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
