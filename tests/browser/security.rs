//! Who is let in, and who is not.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    chromium::Browser,
    daemon::{Daemon, Start, TOKEN},
    project,
};

#[tokio::test]
async fn only_the_key_with_the_own_host_and_origin_opens_the_socket() {
    let daemon = Start::nowhere().token(TOKEN).start().await;
    let host = daemon.host();
    let own = format!("http://{host}");
    let port = host.split(':').next_back().expect("a port");
    let (localhost, rebound) = (format!("localhost:{port}"), format!("evil.example:{port}"));
    let ipc = format!("/{TOKEN}/ipc");
    let wrong = format!("/{}/ipc", "f".repeat(32));
    let longer = format!("/{TOKEN}0/ipc");
    let (other_port, other_scheme) = (format!("http://127.0.0.1:{}", 1), format!("https://{host}"));

    let cases: &[(&str, &str, &[&str], u16)] = &[
        ("a window of its own", &ipc, &[host, &own], 101),
        ("an app that is no browser", &ipc, &[host], 101),
        ("another key", &wrong, &[host, &own], 403),
        ("a longer key", &longer, &[host, &own], 403),
        (
            "a part of the key",
            &format!("/{}/ipc", &TOKEN[..31]),
            &[host, &own],
            403,
        ),
        ("no key", "/ipc", &[host, &own], 403),
        ("an empty key", "//ipc", &[host, &own], 403),
        (
            "a page on the web",
            &ipc,
            &[host, "https://evil.example"],
            403,
        ),
        ("a page on another port", &ipc, &[host, &other_port], 403),
        ("another scheme", &ipc, &[host, &other_scheme], 403),
        ("a sandboxed page", &ipc, &[host, "null"], 403),
        (
            "an origin that begins like its own",
            &ipc,
            &[host, &format!("{own}.evil.example")],
            403,
        ),
        (
            "two origins",
            &ipc,
            &[host, &own, "https://evil.example"],
            403,
        ),
        (
            "a name that was made to point here",
            &ipc,
            &[&rebound, &format!("http://{rebound}")],
            403,
        ),
        (
            "another name of this computer",
            &ipc,
            &[&localhost, &format!("http://{localhost}")],
            403,
        ),
    ];
    for (who, path, names, expected) in cases {
        let (host, origins) = names.split_first().expect("a host");
        let origins: String = origins
            .iter()
            .map(|origin| format!("Origin: {origin}\r\n"))
            .collect();
        let (status, _) = handshake(&daemon, path, &format!("Host: {host}\r\n{origins}")).await;
        assert_eq!(status, *expected, "{who}");
    }
    let (status, _) = handshake(&daemon, &ipc, "").await;
    assert_eq!(status, 403, "no host at all");
}

#[tokio::test]
async fn files_are_below_the_key_as_well_and_tell_the_browser_to_be_strict() {
    let daemon = Start::nowhere().token(TOKEN).start().await;
    let host = format!("Host: {}\r\n", daemon.host());
    for path in [
        "/",
        "/terminal.js",
        "/favicon.ico",
        "/0/terminal.js",
        "/../0/",
    ] {
        let answer = get(&daemon, path, &host).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{path}: {answer}");
        assert!(!answer.contains("schema-update-banner"), "{path}");
    }
    for (file, kind) in [
        ("", "text/html"),
        ("terminal.js", "text/javascript"),
        ("terminal.css", "text/css"),
    ] {
        let answer = get(&daemon, &format!("/{TOKEN}/{file}"), &host)
            .await
            .to_lowercase();
        for said in [
            "http/1.1 200",
            &format!("content-type: {kind}; charset=utf-8"),
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
        ] {
            assert!(answer.contains(said), "{file}: {said} is not in {answer}");
        }
        assert!(!answer.contains("unsafe-inline") && !answer.contains("access-control-allow"));
    }
    let answer = get(&daemon, &format!("/{TOKEN}/main.rs"), &host).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let answer = get(&daemon, &format!("/{TOKEN}/"), "Host: evil.example\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_by_name_and_far_over_it_ends_the_connection() {
    let daemon = Start::nowhere().token(TOKEN).start().await;
    let mut window = connect(&daemon).await;
    window.send(TEXT, &" ".repeat(100_000)).await;
    assert!(window.receive_text("-32600").await.contains("64 KiB"));
    window.send(TEXT, CHANGE_LOG).await;
    window.receive_text("001_ctx0_schema").await;
    // A text of 16 MiB, of which only the beginning is sent.
    let mut frame = vec![0x80 | TEXT, 0xff];
    frame.extend((16_u64 << 20).to_be_bytes());
    frame.extend([0; 4]);
    window.0.write_all(&frame).await.expect("it is sent");
    window.receive_text("-32600").await;
    let (opcode, reason) = window.receive().await;
    assert_eq!(opcode, CLOSE);
    assert_eq!(reason[..2], 1009_u16.to_be_bytes());
    // Others are still served.
    connect(&daemon).await;
}

#[tokio::test]
async fn however_many_requests_wait_a_ping_is_answered_and_a_flood_is_ended() {
    // Its answers take half a minute.
    let daemon = Start::nowhere().token(TOKEN).start().await;
    let mut window = connect(&daemon).await;
    for id in 0..200 {
        let request = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"schema:status"}}"#);
        window.send(TEXT, &request).await;
    }
    window.send(PING, "still there?").await;
    assert_eq!(window.receive().await, (PONG, b"still there?".to_vec()));
    for id in 200..300 {
        let request = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"schema:status"}}"#);
        window.send(TEXT, &request).await;
    }
    let (opcode, reason) = window.receive().await;
    assert_eq!(opcode, CLOSE);
    assert_eq!(reason[..2], 1008_u16.to_be_bytes());
}

#[tokio::test]
async fn a_connection_that_never_finishes_its_headers_is_closed() {
    let daemon = Start::nowhere().token(TOKEN).start().await;
    for sent in ["", "GET / HTTP/1.1\r\nHost: "] {
        let mut socket = TcpStream::connect(daemon.host())
            .await
            .expect("a connection");
        socket.write_all(sent.as_bytes()).await.expect("it is sent");
        let mut rest = String::new();
        socket.read_to_string(&mut rest).await.expect("an end");
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 408"),
            "{rest}"
        );
    }
}

#[tokio::test]
async fn the_address_without_its_last_slash_leads_to_the_page() {
    let daemon = Start::nowhere().token(TOKEN).start().await;
    let host = format!("Host: {}\r\n", daemon.host());
    let answer = get(&daemon, &format!("/{TOKEN}"), &host).await;
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    assert!(
        answer.contains(&format!("location: /{TOKEN}/\r\n")),
        "{answer}"
    );
    let answer = get(&daemon, &format!("/{}", "f".repeat(32)), &host).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[tokio::test]
async fn a_page_of_another_origin_gets_nowhere_even_with_the_address() {
    let project = project::at_version_1().await;
    let daemon = Start::on(&project).start().await;
    let other = Elsewhere::serve().await;
    let browser = Browser::start().await;
    let window = browser.open(&other.address).await;
    let attack = "
        const [address] = arguments;
        const outcome = (promise) => promise.then((value) => value, (error) => error.name);
        const socket = new WebSocket(address.replace('http', 'ws') + 'ipc');
        const opened = new Promise((resolve) => {
          socket.onopen = () => resolve('opened');
          socket.onerror = () => resolve('refused');
        });
        const frame = document.createElement('iframe');
        frame.src = address;
        document.body.append(frame);
        const framed = new Promise((resolve) => (frame.onload = () => resolve(frame.contentDocument === null)));
        const script = document.createElement('script');
        script.src = address + 'terminal.js';
        script.crossOrigin = 'anonymous';
        const loaded = new Promise((resolve) => {
          script.onload = () => resolve('loaded');
          script.onerror = () => resolve('refused');
        });
        document.body.append(script);
        return Promise.all([
          opened,
          outcome(fetch(address).then((answer) => answer.text())),
          loaded,
          framed,
        ]);";
    let outcome = window.js_alone(attack, &[json!(daemon.address)]).await;
    assert_eq!(outcome, json!(["refused", "TypeError", "refused", true]));
    let console = window.console().await.join("\n");
    assert!(console.contains("frame-ancestors"), "{console}");
    assert_eq!(project.ledger().await, [1]);
}

#[tokio::test]
async fn the_page_can_neither_run_what_is_not_its_own_nor_reach_elsewhere() {
    let daemon = Start::nowhere().start().await;
    let other = Elsewhere::serve().await;
    let browser = Browser::start().await;
    let window = browser.open(&daemon.address).await;
    let attempts = "
        const [elsewhere] = arguments;
        window.forbidden = new Set();
        document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => forbidden.add(effectiveDirective));
        const append = (name, properties) => {
          try {
            document.body.append(Object.assign(document.createElement(name), properties));
            return 'appended';
          } catch (error) {
            return error.name;
          }
        };
        append('style', { textContent: 'body { display: none }' });
        append('img', { src: elsewhere });
        append('iframe', { src: elsewhere });
        append('form', { action: elsewhere });
        [...document.forms].at(-1).submit();
        fetch(elsewhere).catch(() => {});
        return [
          append('p', { innerHTML: '<b>bold</b>' }),
          append('script', { text: 'window.hurt = 1' }),
          append('script', { src: elsewhere }),
        ];";
    let outcome = window.js_alone(attempts, &[json!(other.address)]).await;
    assert_eq!(outcome, json!(["TypeError", "TypeError", "TypeError"]));
    window
        .until("['connect-src', 'form-action', 'frame-src', 'img-src', 'require-trusted-types-for', 'style-src-elem'].every((name) => forbidden.has(name))")
        .await;
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const CHANGE_LOG: &str = r#"{"jsonrpc":"2.0","id":1,"method":"schema:changeLog"}"#;

/// A WebSocket, frame by frame.
struct Socket(TcpStream);

async fn connect(daemon: &Daemon) -> Socket {
    let host = format!("Host: {}\r\n", daemon.host());
    let (status, socket) = handshake(daemon, &format!("/{TOKEN}/ipc"), &host).await;
    assert_eq!(status, 101);
    Socket(socket)
}

impl Socket {
    /// Sends a frame with a mask of zeros.
    async fn send(&mut self, opcode: u8, text: &str) {
        let mut frame = vec![0x80 | opcode];
        match text.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0xff);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).await.expect("it is sent");
    }

    /// The next frame that is no event.
    async fn receive(&mut self) -> (u8, Vec<u8>) {
        loop {
            let opcode = self.0.read_u8().await.expect("a frame") & 0x0f;
            let length = match self.0.read_u8().await.expect("a length") {
                126 => usize::from(self.0.read_u16().await.expect("a length")),
                127 => self.0.read_u64().await.expect("a length") as usize,
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.expect("a payload");
            if opcode != TEXT || !String::from_utf8_lossy(&payload).contains(r#""method":"#) {
                return (opcode, payload);
            }
        }
    }

    async fn receive_text(&mut self, containing: &str) -> String {
        let (opcode, payload) = self.receive().await;
        let text = String::from_utf8(payload).expect("a text");
        assert!(
            opcode == TEXT && text.contains(containing),
            "{opcode} {text}"
        );
        text
    }
}

/// An opening of a WebSocket as a browser writes it: the status of the answer, and the rest.
async fn handshake(daemon: &Daemon, path: &str, headers: &str) -> (u16, TcpStream) {
    let mut socket = TcpStream::connect(daemon.host())
        .await
        .expect("a connection");
    let request = format!(
        "GET {path} HTTP/1.1\r\n{headers}Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket
        .write_all(request.as_bytes())
        .await
        .expect("it is sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(socket.read_u8().await.expect("an answer"));
    }
    let answer = String::from_utf8(answer).expect("a text");
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect("a status"), socket)
}

async fn get(daemon: &Daemon, path: &str, headers: &str) -> String {
    let mut socket = TcpStream::connect(daemon.host())
        .await
        .expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    socket
        .write_all(request.as_bytes())
        .await
        .expect("it is sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer");
    answer
}

/// Another server on this computer, with a page of its own.
struct Elsewhere {
    address: String,
}

impl Elsewhere {
    async fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}/", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            let page = axum::response::Html("<!doctype html><title>Elsewhere</title><body>");
            let router = axum::Router::new().fallback(async move || page);
            axum::serve(listener, router).await
        });
        Self { address }
    }
}
