use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Fault, FaultProxy, Page, Record};
use crate::Port;

#[tokio::test]
async fn an_unscripted_request_passes() {
    let (upstream, proxy) = start().await;
    let heard = exchange(&proxy, &post("/rpc/apply?a=1", "hello")).await;
    assert_eq!(heard.status(), 200);
    assert_eq!(heard.body(), ANSWER);
    assert_eq!(heard.end, End::Closed);
    assert_eq!(upstream.bodies(), ["hello"]);
    assert_eq!(
        proxy.records(),
        [Record {
            fault: Fault::Pass,
            method: "POST".to_owned(),
            path: "/rpc/apply?a=1".to_owned(),
            delivered: 1,
            upstream: vec![200],
        }]
    );
}

#[tokio::test]
async fn the_url_keeps_the_path_of_upstream() {
    let proxy = FaultProxy::start("http://127.0.0.1:9/prefix/")
        .await
        .expect("a proxy");
    assert!(proxy.url().starts_with("http://127.0.0.1:"));
    assert!(proxy.url().ends_with("/prefix"));
}

#[tokio::test]
async fn an_upstream_that_is_no_http_url_is_refused() {
    for upstream in [
        "",
        "127.0.0.1:9",
        "https://127.0.0.1:9",
        "http://",
        "no url",
    ] {
        let error = FaultProxy::start(upstream).await.expect_err(upstream);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{upstream}");
    }
}

#[tokio::test]
async fn an_absent_upstream_cuts_the_client_off() {
    let port = Port::reserve().expect("a port");
    let proxy = FaultProxy::start(&format!("http://127.0.0.1:{}", port.number()))
        .await
        .expect("a proxy");
    assert_cut_off(&exchange(&proxy, &get("/")).await);
    assert_eq!(proxy.records()[0].delivered, 0);
}

#[tokio::test]
async fn an_upstream_that_dies_while_it_answers_cuts_the_client_off() {
    for begun in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n",
    ] {
        let proxy = before_one_answer(begun).await;
        assert_cut_off(&exchange(&proxy, &get("/")).await);
        proxy.settle().await;
        assert_eq!(proxy.records()[0].delivered, 1, "{begun}");
        assert_eq!(proxy.records()[0].upstream, [0; 0], "{begun}");
    }
}

#[tokio::test]
async fn a_chunked_request_passes_whole() {
    let (upstream, proxy) = start().await;
    let request = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n6;x=y\r\n world\r\n0\r\ntrailer: 1\r\n\r\n";
    assert_eq!(exchange(&proxy, request).await.body(), ANSWER);
    assert_eq!(upstream.bodies(), ["hello world"]);
}

#[tokio::test]
async fn an_answer_passes_whole_however_its_end_is_marked() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nhello world",
    ] {
        let proxy = before_one_answer(answer).await;
        let heard = exchange(&proxy, &get("/")).await;
        assert_eq!(heard.body(), "hello world", "{answer}");
        assert_eq!(heard.length(), Some(11), "{answer}");
        assert_eq!(heard.end, End::Closed, "{answer}");
    }
}

#[tokio::test]
async fn answers_without_a_body_pass() {
    let (_upstream, proxy) = start().await;
    for (request, status) in [
        ("HEAD / HTTP/1.1\r\nhost: x\r\n\r\n", 200),
        (get("/204").as_str(), 204),
        (get("/304").as_str(), 304),
    ] {
        let heard = exchange(&proxy, request).await;
        assert_eq!(heard.status(), status, "{request}");
        assert_eq!(heard.body(), "", "{request}");
        assert_eq!(heard.end, End::Closed, "{request}");
    }
}

#[tokio::test]
async fn a_large_body_passes_whole() {
    let (upstream, proxy) = start().await;
    let body = "0123456789".repeat(1_200_000);
    let heard = exchange(&proxy, &post("/", &body)).await;
    assert_eq!(heard.body(), ANSWER);
    assert!(upstream.bodies() == [body]);
}

#[tokio::test]
async fn a_delayed_request_reaches_upstream_late() {
    let (upstream, proxy) = start().await;
    let time = Duration::from_millis(100);
    proxy.script([Fault::Delay(time)]);
    let begun = Instant::now();
    let heard = exchange(&proxy, &get("/")).await;
    assert_eq!(heard.body(), ANSWER);
    let arrival = upstream.arrivals()[0];
    assert!(arrival - begun >= time);
}

#[tokio::test]
async fn a_refused_request_never_reaches_upstream() {
    let (upstream, proxy) = start().await;
    proxy.script([Fault::Refuse]);
    assert_cut_off(&exchange(&proxy, &get("/")).await);
    proxy.settle().await;
    assert_eq!(upstream.seen(), 0);
    assert_eq!(proxy.records()[0].method, "");
    assert_eq!(proxy.records()[0].delivered, 0);
}

#[tokio::test]
async fn a_reset_before_sending_never_reaches_upstream() {
    let (upstream, proxy) = start().await;
    proxy.script([Fault::ResetBeforeSending]);
    assert_cut_off(&exchange(&proxy, &post("/rpc", "hello")).await);
    proxy.settle().await;
    assert_eq!(upstream.seen(), 0);
    assert_eq!(proxy.records()[0].path, "/rpc");
    assert_eq!(proxy.records()[0].delivered, 0);
}

#[tokio::test]
async fn a_reset_after_the_request_leaves_upstream_at_work() {
    let (upstream, proxy) = start().await;
    proxy.script([Fault::ResetAfterRequest]);
    upstream.hold();
    assert_cut_off(&exchange(&proxy, &post("/", "hello")).await);
    upstream.until_seen(1).await;
    assert_eq!(upstream.finished(), 0);
    upstream.release();
    proxy.settle().await;
    assert_eq!((upstream.seen(), upstream.finished()), (1, 1));
    assert_eq!(proxy.records()[0].upstream, [200]);
}

#[tokio::test]
async fn a_reset_after_the_answer_comes_when_upstream_has_finished() {
    let (upstream, proxy) = start().await;
    proxy.script([Fault::ResetAfterAnswer]);
    assert_cut_off(&exchange(&proxy, &get("/")).await);
    assert_eq!((upstream.seen(), upstream.finished()), (1, 1));
    assert_eq!(proxy.records()[0].upstream, [200]);
}

#[tokio::test]
async fn a_reset_in_the_answer_leaves_half_of_the_body() {
    let (upstream, proxy) = start().await;
    proxy.script([Fault::ResetInAnswer]);
    let heard = exchange(&proxy, &get("/")).await;
    assert_eq!(heard.body(), &ANSWER[..ANSWER.len() / 2]);
    assert_eq!(heard.length(), Some(ANSWER.len()));
    assert_eq!(heard.end, End::Reset);
    assert_eq!((upstream.seen(), upstream.finished()), (1, 1));
}

#[tokio::test]
async fn a_gateway_status_keeps_the_request_from_upstream() {
    let (upstream, proxy) = start().await;
    for (status, page, kind) in [
        (502, Page::Html, "text/html"),
        (503, Page::Text, "text/plain"),
        (504, Page::Empty, ""),
    ] {
        proxy.script([Fault::Status(status, page)]);
        let heard = exchange(&proxy, &post("/", "hello")).await;
        assert_eq!(heard.status(), status);
        assert_eq!(heard.field("content-type").unwrap_or_default(), kind);
        assert_eq!(heard.length(), Some(heard.body().len()));
        assert_eq!(heard.body().is_empty(), page == Page::Empty);
        assert_eq!(heard.body().starts_with('<'), page == Page::Html);
        assert_eq!(heard.end, End::Closed);
    }
    proxy.settle().await;
    assert_eq!(upstream.seen(), 0);
}

#[tokio::test]
async fn a_gateway_status_after_the_request_leaves_upstream_at_work() {
    let (upstream, proxy) = start().await;
    proxy.script([Fault::StatusAfterRequest(503, Page::Text)]);
    upstream.hold();
    let heard = exchange(&proxy, &get("/")).await;
    assert_eq!(heard.status(), 503);
    upstream.until_seen(1).await;
    assert_eq!(upstream.finished(), 0);
    upstream.release();
    proxy.settle().await;
    assert_eq!((upstream.seen(), upstream.finished()), (1, 1));
    assert_eq!(proxy.records()[0].upstream, [200]);
}

#[tokio::test]
async fn a_truncated_answer_closes_cleanly_before_its_end() {
    let (upstream, proxy) = start().await;
    for (path, whole) in [("/", ANSWER.len()), ("/empty", 1)] {
        proxy.script([Fault::Truncated]);
        let heard = exchange(&proxy, &get(path)).await;
        assert_eq!(heard.length(), Some(whole));
        assert_eq!(heard.body().len(), whole / 2);
        assert_eq!(heard.end, End::Closed);
    }
    assert_eq!((upstream.seen(), upstream.finished()), (2, 2));
}

#[tokio::test]
async fn an_oversized_answer_is_as_large_as_ordered() {
    let (upstream, proxy) = start().await;
    proxy.script([Fault::Oversized(1_000_000)]);
    let heard = exchange(&proxy, &get("/")).await;
    assert_eq!(heard.status(), 200);
    assert_eq!(heard.length(), Some(1_000_000));
    assert_eq!(heard.body().len(), 1_000_000);
    assert_eq!(heard.end, End::Closed);
    assert_eq!((upstream.seen(), upstream.finished()), (1, 1));
}

#[tokio::test]
async fn an_endless_answer_lasts_until_the_client_hangs_up() {
    let (upstream, proxy) = start().await;
    proxy.script([Fault::Endless]);
    let mut client = send(&proxy, &get("/")).await;
    let mut begun = vec![0; 4_000_000];
    client.read_exact(&mut begun).await.expect("no end");
    let begun = String::from_utf8(begun).expect("text");
    assert!(begun.contains("\r\ntransfer-encoding: chunked\r\n"));
    assert!(begun.contains("\r\n\r\n2000\r\n    "));
    assert!(!begun.contains("content-length"));
    // What the client gets is no work of upstream's, so nothing is left to wait for.
    proxy.settle().await;
    assert_eq!((upstream.seen(), upstream.finished()), (1, 1));
}

#[tokio::test]
async fn a_duplicate_is_at_upstream_together_with_the_original() {
    let (upstream, proxy) = start().await;
    proxy.script([Fault::Duplicate]);
    upstream.hold();
    let client = send(&proxy, &post("/", "hello")).await;
    upstream.until_seen(2).await;
    assert_eq!(upstream.finished(), 0);
    upstream.release();
    assert_eq!(hear(client).await.body(), ANSWER);
    proxy.settle().await;
    assert_eq!(upstream.bodies(), ["hello", "hello"]);
    assert_eq!(proxy.records()[0].delivered, 2);
    assert_eq!(proxy.records()[0].upstream, [200, 200]);
}

#[tokio::test]
async fn a_late_duplicate_comes_after_the_answer() {
    let (upstream, proxy) = start().await;
    let time = Duration::from_millis(100);
    proxy.script([Fault::LateDuplicate(time)]);
    assert_eq!(exchange(&proxy, &post("/", "hello")).await.body(), ANSWER);
    proxy.settle().await;
    assert_eq!(upstream.bodies(), ["hello", "hello"]);
    let arrivals = upstream.arrivals();
    assert!(arrivals[1] - arrivals[0] >= time);
    assert_eq!(proxy.records()[0].delivered, 2);
    assert_eq!(proxy.records()[0].upstream, [200, 200]);
}

#[tokio::test]
async fn a_late_duplicate_comes_when_it_is_called_for() {
    let (upstream, proxy) = start().await;
    proxy.script([Fault::LateDuplicate(Duration::MAX)]);
    assert_eq!(exchange(&proxy, &post("/", "hello")).await.body(), ANSWER);
    assert_eq!(proxy.records()[0].delivered, 1);
    proxy.deliver_now();
    proxy.settle().await;
    assert_eq!(upstream.bodies(), ["hello", "hello"]);
}

#[tokio::test]
async fn slow_bytes_drip_to_the_end() {
    let (upstream, proxy) = start().await;
    let every = Duration::from_millis(2);
    proxy.script([Fault::SlowBytes { chunk: 10, every }]);
    let begun = Instant::now();
    let heard = exchange(&proxy, &get("/")).await;
    assert_eq!(heard.body(), ANSWER);
    assert_eq!(heard.end, End::Closed);
    let chunks = u32::try_from(heard.text.len().div_ceil(10)).expect("few");
    assert!(begun.elapsed() >= every * chunks);
    assert_eq!((upstream.seen(), upstream.finished()), (1, 1));
}

#[tokio::test]
async fn a_gateway_that_times_out_leaves_upstream_at_work() {
    let (upstream, proxy) = start().await;
    proxy.gateway_timeout(Some(Duration::from_millis(20)));
    upstream.hold();
    let heard = exchange(&proxy, &get("/")).await;
    assert_eq!(heard.status(), 504);
    assert!(heard.body().starts_with('<'));
    upstream.until_seen(1).await;
    assert_eq!(upstream.finished(), 0);
    assert_eq!(proxy.records()[0].upstream, [0; 0]);
    upstream.release();
    proxy.settle().await;
    assert_eq!(upstream.finished(), 1);
    assert_eq!(proxy.records()[0].upstream, [200]);

    proxy.gateway_timeout(None);
    assert_eq!(exchange(&proxy, &get("/")).await.status(), 200);
}

#[tokio::test]
async fn a_request_whose_client_is_gone_is_settled_too() {
    let (upstream, proxy) = start().await;
    proxy.script([Fault::Pass, Fault::Delay(Duration::from_millis(20))]);
    for _ in 0..2 {
        // A blocking client leaves the proxy no time to accept before the client is gone.
        let mut client = std::net::TcpStream::connect(proxy.address).expect("a port");
        client.write_all(get("/").as_bytes()).expect("sent");
    }
    assert_eq!(proxy.records(), []);
    proxy.settle().await;
    assert_eq!((upstream.seen(), upstream.finished()), (2, 2));
}

#[tokio::test]
async fn a_silent_connection_takes_no_fault() {
    let (_upstream, proxy) = start().await;
    proxy.script([Fault::Status(502, Page::Empty)]);
    drop(send(&proxy, "").await);
    proxy.settle().await;
    assert_eq!(proxy.records(), []);
    assert_eq!(exchange(&proxy, &get("/")).await.status(), 502);
}

#[tokio::test]
async fn what_is_no_http_is_cut_off() {
    let (upstream, proxy) = start().await;
    assert_cut_off(&exchange(&proxy, "GET / HTTP/1.1\r\nno field\r\n\r\n").await);
    proxy.settle().await;
    assert_eq!(upstream.seen(), 0);
}

#[tokio::test]
async fn a_script_is_a_queue_that_can_be_cleared() {
    let (_upstream, proxy) = start().await;
    proxy.script([Fault::Status(502, Page::Empty), Fault::Pass]);
    proxy.script([Fault::Status(503, Page::Empty), Fault::Refuse]);
    for expected in [502, 200, 503] {
        assert_eq!(exchange(&proxy, &get("/")).await.status(), expected);
    }
    proxy.clear();
    assert_eq!(exchange(&proxy, &get("/")).await.status(), 200);
    let counts: Vec<_> = proxy.counts().into_iter().collect();
    assert_eq!(counts, [("pass", 2), ("status", 2)]);
}

#[tokio::test]
async fn a_dropped_proxy_closes_its_port_and_leaves_upstream_at_work() {
    let (upstream, proxy) = start().await;
    proxy.script([Fault::ResetAfterRequest]);
    upstream.hold();
    assert_cut_off(&exchange(&proxy, &get("/")).await);
    let address = proxy.address;
    drop(proxy);
    upstream.release();
    upstream.until_finished(1).await;
    // The port closes when the task that accepts is gone, shortly after the request to close.
    within_reason(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// An upstream that tells what it saw and can hold back its answers.
struct Upstream {
    url: String,
    seen: watch::Sender<Vec<(Instant, String)>>,
    finished: watch::Sender<usize>,
    held: watch::Sender<bool>,
}

impl Upstream {
    async fn start() -> Arc<Upstream> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let upstream = Arc::new(Upstream {
            url: format!("http://{}", listener.local_addr().expect("an address")),
            seen: watch::Sender::default(),
            finished: watch::Sender::default(),
            held: watch::Sender::default(),
        });
        let router = Router::new()
            .fallback(Upstream::answer)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&upstream));
        tokio::spawn(async move { axum::serve(listener, router).await });
        upstream
    }

    async fn answer(State(upstream): State<Arc<Upstream>>, uri: Uri, body: String) -> Response {
        upstream
            .seen
            .send_modify(|seen| seen.push((Instant::now(), body)));
        let mut held = upstream.held.subscribe();
        held.wait_for(|held| !held).await.expect("an upstream");
        upstream.finished.send_modify(|finished| *finished += 1);
        match uri.path() {
            "/204" => StatusCode::NO_CONTENT.into_response(),
            "/304" => StatusCode::NOT_MODIFIED.into_response(),
            "/empty" => StatusCode::CREATED.into_response(),
            _ => ANSWER.into_response(),
        }
    }

    fn hold(&self) {
        self.held.send_replace(true);
    }

    fn release(&self) {
        self.held.send_replace(false);
    }

    fn seen(&self) -> usize {
        self.seen.borrow().len()
    }

    async fn until_seen(&self, count: usize) {
        let mut seen = self.seen.subscribe();
        let _ = within_reason(seen.wait_for(|seen| seen.len() == count)).await;
    }

    fn arrivals(&self) -> Vec<Instant> {
        self.seen.borrow().iter().map(|(time, _)| *time).collect()
    }

    fn bodies(&self) -> Vec<String> {
        let seen = self.seen.borrow();
        seen.iter().map(|(_, body)| body.clone()).collect()
    }

    fn finished(&self) -> usize {
        *self.finished.borrow()
    }

    async fn until_finished(&self, count: usize) {
        let mut finished = self.finished.subscribe();
        let _ = within_reason(finished.wait_for(|finished| *finished == count)).await;
    }
}

async fn start() -> (Arc<Upstream>, FaultProxy) {
    let upstream = Upstream::start().await;
    let proxy = FaultProxy::start(&upstream.url).await.expect("a proxy");
    (upstream, proxy)
}

/// A proxy in front of an upstream that reads one request, writes these bytes and hangs up.
async fn before_one_answer(bytes: &'static str) -> FaultProxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let (mut upstream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            upstream.read_buf(&mut request).await.expect("a request");
        }
        upstream.write_all(bytes.as_bytes()).await.expect("written");
    });
    FaultProxy::start(&url).await.expect("a proxy")
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// What a client hears, byte for byte, and how the connection ended.
struct Heard {
    text: String,
    end: End,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

impl Heard {
    fn status(&self) -> u16 {
        let code = self.text.split(' ').nth(1).expect("a status line");
        code.parse().expect("a status")
    }

    fn field(&self, name: &str) -> Option<&str> {
        let (head, _) = self.text.split_once("\r\n\r\n").expect("a head");
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(field, value)| (field == name).then_some(value))
    }

    /// The length of the body as the head announces it.
    fn length(&self) -> Option<usize> {
        self.field("content-length")
            .map(|length| length.parse().expect("a length"))
    }

    fn body(&self) -> &str {
        let (_, body) = self.text.split_once("\r\n\r\n").expect("a head");
        body
    }
}

async fn exchange(proxy: &FaultProxy, request: &str) -> Heard {
    hear(send(proxy, request).await).await
}

async fn send(proxy: &FaultProxy, request: &str) -> TcpStream {
    let mut client = TcpStream::connect(proxy.address).await.expect("a port");
    client.write_all(request.as_bytes()).await.expect("sent");
    client
}

async fn hear(mut client: TcpStream) -> Heard {
    let mut bytes = Vec::new();
    let end = match within_reason(client.read_to_end(&mut bytes)).await {
        Ok(_) => End::Closed,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Reset,
        Err(error) => panic!("{error}"),
    };
    let text = String::from_utf8(bytes).expect("text");
    Heard { text, end }
}

fn assert_cut_off(heard: &Heard) {
    assert_eq!((heard.text.as_str(), &heard.end), ("", &End::Reset));
}

/// Ends a test that would wait for ever.
async fn within_reason<T>(future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, future).await.expect("an end")
}

const ANSWER: &str = r#"{"outcome":"applied","version":2,"execution_ms":12}"#;
