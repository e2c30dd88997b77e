//! Serves the page and the socket, to the windows of this daemon only.
//!
//! Every page in a browser on this computer, and every program of another user, can reach a
//! port on loopback. So everything is below a token that only the windows know. `Host` stops
//! DNS rebinding, `Origin` stops other pages.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{
        Path, Request, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use ctx0_schema::{Ipc, MAX_MESSAGE_BYTES};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use subtle::ConstantTimeEq;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use uuid::Uuid;

/// How long a connection may take to send the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a window may take to read a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How many requests of one window run at the same time.
const RUNNING: usize = 16;

/// How many requests of one window may be unanswered. One that sends more is disconnected.
const UNANSWERED: usize = 256;

/// What is read of a message. Larger ones than `MAX_MESSAGE_BYTES` are refused by name; larger
/// ones than this end the connection as well.
const MAX_READ_BYTES: usize = 4 * MAX_MESSAGE_BYTES;

/// The page: name, type and text.
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
        "banner-model.js",
        "text/javascript",
        include_str!("web/banner-model.js"),
    ),
    (
        "banner-view.js",
        "text/javascript",
        include_str!("web/banner-view.js"),
    ),
    (
        "banner-style.js",
        "text/javascript",
        include_str!("web/banner-style.js"),
    ),
    (
        "schema-update-banner.js",
        "text/javascript",
        include_str!("web/schema-update-banner.js"),
    ),
];

/// Lets a window in. 122 random bits, unless it was passed.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4().simple().to_string())
    }

    /// Takes at least 32 letters and digits, which need no escaping in an address.
    pub(crate) fn parse(text: String) -> Option<Self> {
        let valid = text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        valid.then_some(Self(text))
    }

    /// Compares in constant time.
    fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

/// The server on loopback.
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

    /// The address to open in a browser.
    pub(crate) fn address(&self) -> String {
        let Gate { host, token } = &self.gate;
        format!("http://{host}/{}/", token.0)
    }

    /// Serves until it is dropped.
    pub(crate) async fn run(self, ipc: Ipc) {
        let router = Router::new()
            .route("/{token}/", get(|| async { file("") }))
            .route(
                "/{token}",
                get(|Path(token): Path<String>| async move {
                    Redirect::permanent(&format!("/{token}/"))
                }),
            )
            .route("/{token}/ipc", get(connect))
            .route(
                "/{token}/{file}",
                get(|Path((_, name)): Path<(String, String)>| async move { file(&name) }),
            )
            .with_state(ipc)
            .layer(middleware::from_fn_with_state(Arc::new(self.gate), guard));
        let service = TowerToHyperService::new(router);
        // Dropped with this future, and all connections with it.
        let mut connections = JoinSet::new();
        loop {
            let connected = tokio::select! {
                connected = self.listener.accept() => connected,
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, _)) = connected else {
                // Out of file descriptors, say: others have to be closed first.
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service.clone())
                .with_upgrades();
            connections.spawn(async move {
                // A broken connection does not concern the other windows.
                let _ = connection.await;
            });
        }
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
        // A browser sends the origin with everything but plain navigation. An app that is no
        // browser sends none, and got the token from the process that started the daemon.
        let own = format!("http://{}", self.host);
        let origin = headers
            .get_all(header::ORIGIN)
            .iter()
            .all(|origin| origin.as_bytes() == own.as_bytes());
        host && origin && self.token.is(token)
    }

    /// Allows the files above and nothing else, no page around this one, and no trace of the address.
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
            "Wrong or outdated address. Use the one the daemon printed.\n",
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
        .max_frame_size(MAX_READ_BYTES)
        .max_message_size(MAX_READ_BYTES)
        .on_upgrade(|socket| serve(socket, ipc))
}

/// Serves one window: all events, and its requests, which may overtake each other.
///
/// Always reads on, so that a close or a ping is heard however many requests are waiting.
async fn serve(mut window: WebSocket, ipc: Ipc) {
    let mut events = ipc.events();
    let running = Arc::new(Semaphore::new(RUNNING));
    // Dropped with the window: its requests end, and a preview that nobody else waits for.
    let mut responses = JoinSet::new();
    loop {
        let text = tokio::select! {
            // The events of a run come before its response.
            biased;
            Some(event) = events.next() => event,
            Some(response) = responses.join_next() => match response {
                Ok(Some(response)) => response,
                // A notification has no response.
                Ok(None) | Err(_) => continue,
            },
            message = window.recv() => match message {
                Some(Ok(Message::Text(_))) if responses.len() >= UNANSWERED => {
                    return end(window, close_code::POLICY, "too many requests").await;
                }
                Some(Ok(Message::Text(text))) => {
                    let (ipc, running) = (ipc.clone(), Arc::clone(&running));
                    responses.spawn(async move {
                        let _permit = running.acquire_owned().await.ok()?;
                        ipc.handle(&text).await
                    });
                    continue;
                }
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_))) | None => return,
                Some(Err(_)) => {
                    // Most likely a message over the limit, of which the rest is not read.
                    let refusal = ipc.handle(&" ".repeat(MAX_MESSAGE_BYTES + 1)).await;
                    let _ = window.send(Message::text(refusal.unwrap_or_default())).await;
                    return end(window, close_code::SIZE, "message too large").await;
                }
            },
        };
        if !matches!(
            timeout(SEND_TIMEOUT, window.send(Message::text(text))).await,
            Ok(Ok(()))
        ) {
            return;
        }
    }
}

async fn end(mut window: WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let _ = timeout(SEND_TIMEOUT, window.send(Message::Close(Some(frame)))).await;
}
