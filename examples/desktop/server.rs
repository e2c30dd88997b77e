//! The page and the socket, for the windows of this daemon and nobody else.
//!
//! Any page that a browser on this computer shows, and any program of another user, can reach
//! a port on loopback. So everything lies below a key that only the windows know; a name that
//! was made to point here (DNS rebinding) is refused by `Host`, another page by `Origin`.

use std::{net::Ipv4Addr, sync::Arc};

use axum::{
    Router,
    extract::{
        Path, Request, State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use ctx0_schema::{Ipc, MAX_MESSAGE_BYTES};
use subtle::ConstantTimeEq;
use tokio::{net::TcpListener, task::JoinSet};
use uuid::Uuid;

/// How many requests of one window are answered at once.
const REQUESTS: usize = 16;

/// The page, as name, type and text.
const FILES: &[(&str, &str, &str)] = &[
    ("", "text/html", include_str!("web/index.html")),
    ("icon.svg", "image/svg+xml", include_str!("web/icon.svg")),
    ("terminal.css", "text/css", include_str!("web/terminal.css")),
    (
        "terminal.js",
        "text/javascript",
        include_str!("web/terminal.js"),
    ),
    (
        "schema-client.js",
        "text/javascript",
        include_str!("web/schema-client.js"),
    ),
    (
        "schema-update-banner.js",
        "text/javascript",
        include_str!("web/schema-update-banner.js"),
    ),
];

/// The key to the windows. 122 random bits, unless it was passed.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4().simple().to_string())
    }

    /// Takes one of at least 32 letters and digits, which need no quoting in an address.
    pub(crate) fn parse(text: String) -> Option<Self> {
        let valid = text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        valid.then_some(Self(text))
    }

    /// Compares without telling by its time how much of it was right.
    fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

/// A daemon's place on loopback.
pub(crate) struct Server {
    listener: TcpListener,
    gate: Gate,
}

impl Server {
    pub(crate) async fn bind(port: u16, token: Token) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let host = listener.local_addr()?.to_string();
        Ok(Self {
            listener,
            gate: Gate { host, token },
        })
    }

    /// What is opened in a browser.
    pub(crate) fn address(&self) -> String {
        let Gate { host, token } = &self.gate;
        format!("http://{host}/{}/", token.0)
    }

    /// Serves until it is dropped.
    pub(crate) async fn run(self, ipc: Ipc) -> std::io::Result<()> {
        let router = Router::new()
            .route("/{token}/", get(|| async { file("") }))
            .route("/{token}/ipc", get(connect))
            .route(
                "/{token}/{file}",
                get(|Path((_, name)): Path<(String, String)>| async move { file(&name) }),
            )
            .with_state(ipc)
            .layer(middleware::from_fn_with_state(Arc::new(self.gate), guard));
        axum::serve(self.listener, router).await
    }
}

/// Who is let in.
struct Gate {
    host: String,
    token: Token,
}

impl Gate {
    fn lets_in(&self, path: &str, headers: &HeaderMap) -> bool {
        let token = path.split('/').nth(1).unwrap_or_default();
        let host = headers
            .get(header::HOST)
            .is_some_and(|host| host.as_bytes() == self.host.as_bytes());
        // A browser names the origin of everything but plain navigation. What is no browser
        // names none, and has the key from whoever started it.
        let own = format!("http://{}", self.host);
        let origin = headers
            .get_all(header::ORIGIN)
            .iter()
            .all(|origin| origin.as_bytes() == own.as_bytes());
        host && origin && self.token.is(token)
    }

    /// Nothing but the files above, no other page around it, and no trace of the address.
    fn close_behind(&self, headers: &mut HeaderMap) {
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws://{}; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
            self.host
        );
        let fixed = [
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
    }
}

async fn guard(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let mut response = if gate.lets_in(request.uri().path(), request.headers()) {
        next.run(request).await
    } else {
        (
            StatusCode::FORBIDDEN,
            "This is not the address that the daemon printed.\n",
        )
            .into_response()
    };
    gate.close_behind(response.headers_mut());
    response
}

fn file(name: &str) -> Response {
    match FILES.iter().find(|(file, _, _)| *file == name) {
        Some((_, kind, text)) => (
            [(header::CONTENT_TYPE, format!("{kind}; charset=utf-8"))],
            *text,
        )
            .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn connect(State(ipc): State<Ipc>, upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .max_frame_size(MAX_MESSAGE_BYTES)
        .max_message_size(MAX_MESSAGE_BYTES)
        .on_upgrade(|socket| serve(socket, ipc))
}

/// Serves one window: its requests, each in its own time, and all events.
async fn serve(mut window: WebSocket, ipc: Ipc) {
    let mut events = ipc.events();
    let mut answers = JoinSet::new();
    loop {
        let text = tokio::select! {
            // What happened in a run is told before its answer.
            biased;
            Some(event) = events.next() => event,
            Some(answer) = answers.join_next() => match answer {
                Ok(Some(answer)) => answer,
                // A notification, which wants no answer.
                Ok(None) | Err(_) => continue,
            },
            message = window.recv(), if answers.len() < REQUESTS => match message {
                Some(Ok(Message::Text(text))) => {
                    let ipc = ipc.clone();
                    answers.spawn(async move { ipc.handle(&text).await });
                    continue;
                }
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
        };
        if window.send(Message::text(text)).await.is_err() {
            return;
        }
    }
}
