//! What the suites share: keys, migrations, managers, and two kinds of server.

use std::{
    collections::VecDeque,
    env,
    error::Error as StdError,
    iter,
    net::SocketAddr,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ctx0_schema::{
    Config, ConfigBuilder, Error, Migrations, Progress, RunError, RunReport, SchemaVersionManager,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{method, path},
};

/// A key of the newer kind.
pub(crate) const SECRET_KEY: &str = "sb_secret_hush7QkXmZpw3Vt9";

pub(crate) const LEDGER: &str = "/rest/v1/ctx0_schema_versions";
pub(crate) const STATUS: &str = "/rest/v1/rpc/ctx0_schema_status";
pub(crate) const APPLY: &str = "/rest/v1/rpc/ctx0_apply_migration";
pub(crate) const APPLY_SEVERAL: &str = "/rest/v1/rpc/ctx0_apply_migrations";

/// A legacy key of the service role.
pub(crate) fn legacy_key() -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = r#"{"iss":"supabase","role":"service_role","exp":4102444800}"#;
    format!(
        "{}.{}.{}",
        part(r#"{"alg":"HS256","typ":"JWT"}"#),
        part(claims),
        part("a signature that is long enough")
    )
}

/// The three migrations that the suites apply.
pub(crate) fn migrations() -> Migrations {
    let manifest = json!({"currentVersion": 3, "migrations": [
        {"version": 1, "name": "001_notes", "description": "Adds notes", "file": "001_notes.sql"},
        {"version": 2, "name": "002_tags", "description": "Adds tags", "file": "002_tags.sql", "down": "002_tags.down.sql"},
        {"version": 3, "name": "003_index", "description": "Finds them", "file": "003_index.sql"},
    ]});
    Migrations::embedded(&[
        ("manifest.json", &manifest.to_string()),
        (
            "001_notes.sql",
            "create table notes (id int);\n-- und ä\ninsert into notes values (1);\n",
        ),
        ("002_tags.sql", "create table tags (name text);"),
        ("002_tags.down.sql", "drop table tags;"),
        (
            "003_index.sql",
            "select 1;\n\n-- here\ncreate index on tags (nam);\nselect 2;",
        ),
    ])
    .unwrap()
}

/// Rows as the installed functions write them, for versions 1 to `last`.
pub(crate) fn ledger_to(last: u32) -> Value {
    let migrations = migrations();
    let rows = migrations.iter().take(last as usize).map(|migration| {
        json!({
            "id": migration.version(),
            "version": migration.version(),
            "migration_name": migration.name(),
            "description": migration.description(),
            "applied_at": "2026-07-01T10:00:00.123456+00:00",
            "applied_by": "bot0-daemon",
            "checksum": migration.checksum(),
            "execution_ms": 4,
        })
    });
    rows.collect()
}

/// The configuration that a test begins with.
pub(crate) fn config(url: &str) -> ConfigBuilder {
    Config::builder(url, SECRET_KEY)
}

/// A manager with the default limits, which nothing that ends well comes near.
pub(crate) fn manager(url: &str) -> SchemaVersionManager {
    build(config(url))
}

/// A manager that makes every request once, whatever comes of it.
pub(crate) fn hasty(url: &str) -> SchemaVersionManager {
    build(once(config(url)))
}

pub(crate) fn once(config: ConfigBuilder) -> ConfigBuilder {
    config
        .retry_deadline(Duration::ZERO)
        .apply_deadline(Duration::ZERO)
}

pub(crate) fn build(config: ConfigBuilder) -> SchemaVersionManager {
    SchemaVersionManager::new(&config.build().unwrap(), migrations()).unwrap()
}

/// Applies everything, and collects the progress.
pub(crate) async fn apply_all(
    manager: &SchemaVersionManager,
) -> (Result<RunReport, RunError>, Vec<Progress>) {
    let reported = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&reported);
    let apply = manager
        .apply_all_pending()
        .on_progress(move |progress| listener.lock().unwrap().push(progress));
    let result = apply.await;
    let reported = reported.lock().unwrap().clone();
    (result, reported)
}

/// Everything that a log or a person can get to see of an error.
pub(crate) fn every_text(error: &(dyn StdError + 'static)) -> String {
    iter::successors(Some(error), |error| (*error).source())
        .map(|error| format!("{error}\n{error:?}\n{error:#?}\n"))
        .collect()
}

/// The name of an error's variant.
pub(crate) fn variant(error: &Error) -> String {
    let text = format!("{error:?}");
    text.chars().take_while(char::is_ascii_alphabetic).collect()
}

/// A stand-in for Supabase.
pub(crate) struct Supabase(pub(crate) MockServer);

impl Supabase {
    pub(crate) async fn start() -> Self {
        Self(MockServer::start().await)
    }

    /// One whose ledger says that versions 1 to `last` are there.
    pub(crate) async fn at_version(last: u32) -> Self {
        Self::with_ledger(ledger_to(last)).await
    }

    pub(crate) async fn with_ledger(rows: Value) -> Self {
        let supabase = Self::start().await;
        supabase.on("GET", LEDGER, [json_answer(&rows)]).await;
        supabase
    }

    pub(crate) fn uri(&self) -> String {
        self.0.uri()
    }

    /// Gives these answers one after another, and the last one again and again.
    pub(crate) async fn on(
        &self,
        verb: &str,
        at: &str,
        answers: impl IntoIterator<Item = ResponseTemplate>,
    ) {
        let answers = Mutex::new(answers.into_iter().collect::<VecDeque<_>>());
        let next = move |_: &Request| {
            let mut answers = answers.lock().unwrap();
            match answers.len() {
                1 => answers[0].clone(),
                _ => answers.pop_front().unwrap(),
            }
        };
        Mock::given(method(verb))
            .and(path(at))
            .respond_with(next)
            .mount(&self.0)
            .await;
    }

    /// Gives these outcomes one after another, and the last one again and again.
    pub(crate) async fn on_apply(&self, outcomes: impl IntoIterator<Item = Value>) {
        let answers: Vec<_> = outcomes
            .into_iter()
            .map(|body| json_answer(&body))
            .collect();
        self.on("POST", APPLY, answers).await;
    }

    pub(crate) async fn requests(&self) -> Vec<Request> {
        self.0.received_requests().await.unwrap()
    }

    /// The arguments of every call of `ctx0_apply_migration`.
    pub(crate) async fn applies(&self) -> Vec<Value> {
        let requests = self.requests().await;
        let applies = requests
            .iter()
            .filter(|request| request.url.path() == APPLY);
        applies
            .map(|request| request.body_json().unwrap())
            .collect()
    }
}

/// What PostgREST answers, with its headers.
pub(crate) fn json_answer(body: &Value) -> ResponseTemplate {
    let mut answer = ResponseTemplate::new(200).insert_header("Server", "postgrest/14.12");
    if let Some(rows) = body.as_array() {
        let range = match rows.len() {
            0 => "*/0".to_owned(),
            rows => format!("0-{}/{rows}", rows - 1),
        };
        answer = answer.insert_header("Content-Range", range);
    }
    answer.set_body_raw(body.to_string(), "application/json; charset=utf-8")
}

/// What PostgREST answers when something is wrong.
pub(crate) fn refusal(status: u16, code: &str, message: &str) -> ResponseTemplate {
    let body = json!({"code": code, "details": null, "hint": null, "message": message});
    ResponseTemplate::new(status).set_body_raw(body.to_string(), "application/json; charset=utf-8")
}

/// A server that knows no HTTP: each connection is handed to `talk`. Returns its address.
pub(crate) async fn listen<F, T>(talk: F) -> SocketAddr
where
    F: Fn(TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(talk(stream));
        }
    });
    address
}

/// A server that sends what a test says, whether that is HTTP or not.
pub(crate) struct Parrot {
    pub(crate) url: String,
    requests: Arc<AtomicUsize>,
}

impl Parrot {
    /// Says these bytes to one request after another, and the last ones again and again. It
    /// closes the connection each time.
    pub(crate) async fn saying(answers: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let answers: Vec<Vec<u8>> = answers
            .into_iter()
            .map(|answer| answer.as_ref().to_vec())
            .collect();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let address = listen(move |mut stream| {
            let (answers, counter) = (answers.clone(), Arc::clone(&counter));
            async move {
                if read_request(&mut stream).await.is_some() {
                    let number = counter.fetch_add(1, Ordering::SeqCst);
                    let answer = &answers[number.min(answers.len() - 1)];
                    // The client may leave before the end, which is its good right.
                    let _ = stream.write_all(answer).await;
                    let _ = stream.shutdown().await;
                }
            }
        })
        .await;
        let url = format!("http://{address}");
        Self { url, requests }
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// The bytes of a whole answer.
pub(crate) fn http(status: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        answer += header;
        answer += "\r\n";
    }
    [answer.as_bytes(), b"\r\n", body].concat()
}

/// Reads one request off a connection, head and body; nothing when the client has closed it.
pub(crate) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return Some(String::from_utf8(bytes).unwrap());
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Answers every request of a connection, as long as it lasts.
pub(crate) async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn() -> Vec<u8>,
) {
    while read_request(&mut stream).await.is_some() {
        if stream.write_all(&answer()).await.is_err() {
            return;
        }
    }
}

/// Runs one test of this suite in a process of its own, which has `url` and these variables in
/// its environment: the only way to set them while other tests run.
pub(crate) fn in_its_own_process(test: &str, url: &str, variables: &[(&str, String)]) {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, url);
    for name in PROXY_VARIABLES {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    let output = command.envs(variables.iter().cloned()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// The URL to use, in such a process.
pub(crate) fn url_of_parent() -> Option<String> {
    env::var(CHILD).ok()
}

const CHILD: &str = "CTX0_TEST_URL_OF_PARENT";
const PROXY_VARIABLES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];
