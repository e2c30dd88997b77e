//! Proxies and trust as the environment has them, each in a process that has its own.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::spawn_blocking,
};
use wiremock::{Mock, MockServer, matchers::any};

use crate::{
    support::{
        SECRET_KEY, Supabase, build, config, in_its_own_process, json_answer, listen, manager,
        url_of_parent,
    },
    tls::Authority,
};

const CA_FILE: &str = "CTX0_TEST_CA_FILE";

#[tokio::test]
async fn plain_http_to_this_computer_goes_to_no_proxy() {
    if let Some(url) = url_of_parent() {
        manager(&url).current_version().await.unwrap();
        return;
    }
    let supabase = Supabase::at_version(3).await;
    let proxy = MockServer::start().await;
    Mock::given(any())
        .respond_with(json_answer(&json!([])))
        .mount(&proxy)
        .await;
    let proxy_url = proxy.uri();
    let variables = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ];
    run(
        "proxy::plain_http_to_this_computer_goes_to_no_proxy",
        &supabase.uri(),
        variables.map(|name| (name, proxy_url.as_str())),
    )
    .await;
    assert_eq!(supabase.requests().await.len(), 1);
    assert!(proxy.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_proxy_for_https_sees_a_tunnel_and_never_the_key() {
    if let Some(url) = url_of_parent() {
        check_with_ca_file(&url).await;
        return;
    }
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let authority = Authority::new();
        let server = authority.serve("localhost", "http/1.1").await;
        let proxy = Tunnel::start().await;
        run(
            "proxy::a_proxy_for_https_sees_a_tunnel_and_never_the_key",
            &server.url,
            [
                (variable, &proxy.url),
                (CA_FILE, authority.file().to_str().unwrap()),
            ],
        )
        .await;
        assert_eq!(server.requests(), 1);
        let seen = proxy.seen();
        let [(connect, sent)] = &seen[..] else {
            panic!("one connection: {seen:?}")
        };
        let authority = server.url.strip_prefix("https://").unwrap();
        assert!(
            connect.starts_with(&format!("CONNECT {authority} HTTP/1.1\r\n")),
            "{connect}"
        );
        assert!(!connect.to_lowercase().contains("apikey"), "{connect}");
        // 0x16 begins a TLS handshake.
        assert_eq!(sent.first(), Some(&0x16));
        let key = SECRET_KEY.as_bytes();
        let everything = [connect.as_bytes(), sent].concat();
        assert!(!everything.windows(key.len()).any(|window| window == key));
    }
}

#[tokio::test]
async fn a_host_that_needs_no_proxy_is_reached_without() {
    if let Some(url) = url_of_parent() {
        check_with_ca_file(&url).await;
        return;
    }
    let authority = Authority::new();
    let server = authority.serve("localhost", "http/1.1").await;
    let proxy = Tunnel::start().await;
    run(
        "proxy::a_host_that_needs_no_proxy_is_reached_without",
        &server.url,
        [
            ("HTTPS_PROXY", proxy.url.as_str()),
            ("NO_PROXY", "localhost"),
            (CA_FILE, authority.file().to_str().unwrap()),
        ],
    )
    .await;
    assert_eq!((server.requests(), proxy.seen().len()), (1, 0));
}

#[tokio::test]
async fn plain_http_works_where_no_certificate_authority_is_installed() {
    if let Some(url) = url_of_parent() {
        manager(&url).current_version().await.unwrap();
        return;
    }
    let supabase = Supabase::at_version(3).await;
    run(
        "proxy::plain_http_works_where_no_certificate_authority_is_installed",
        &supabase.uri(),
        [
            ("SSL_CERT_FILE", "/dev/null"),
            ("SSL_CERT_DIR", "/dev/null"),
        ],
    )
    .await;
    assert_eq!(supabase.requests().await.len(), 1);
}

async fn check_with_ca_file(url: &str) {
    let file = std::env::var(CA_FILE).unwrap();
    let manager = build(config(url).ca_file(file));
    manager.check_for_updates().await.unwrap();
}

/// Runs the child's part of a test, while the servers of this part go on.
async fn run<const N: usize>(test: &'static str, url: &str, variables: [(&'static str, &str); N]) {
    let url = url.to_owned();
    let variables = variables.map(|(name, value)| (name, value.to_owned()));
    spawn_blocking(move || in_its_own_process(test, &url, &variables))
        .await
        .unwrap();
}

/// What the proxy read of each connection: the request to connect, and what went through then.
type Seen = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A proxy that connects to where it is asked to, and writes down what goes there.
struct Tunnel {
    url: String,
    seen: Seen,
}

impl Tunnel {
    async fn start() -> Self {
        let seen = Seen::default();
        let log = Arc::clone(&seen);
        let address = listen(move |stream| connect(stream, Arc::clone(&log))).await;
        Self {
            url: format!("http://{address}"),
            seen,
        }
    }

    fn seen(&self) -> Vec<(String, Vec<u8>)> {
        self.seen.lock().unwrap().clone()
    }
}

async fn connect(mut client: TcpStream, seen: Seen) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let port = head
        .split([':', ' '])
        .nth(2)
        .unwrap()
        .parse::<u16>()
        .unwrap();
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push((head, Vec::new()));
        seen.len() - 1
    };
    client
        .write_all(b"HTTP/1.1 200 Connected\r\n\r\n")
        .await
        .unwrap();
    let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    });
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
        seen.lock().unwrap()[number]
            .1
            .extend_from_slice(&buffer[..length]);
        if to_server.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    let _ = to_server.shutdown().await;
    let _ = back.await;
}
