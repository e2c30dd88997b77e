//! Who is talked to: servers with a private certificate authority, and those that prove nothing.

use std::{
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ctx0_schema::{ConfigError, Error, SchemaVersionManager};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::NamedTempFile;
use tokio::{io::AsyncWriteExt, sync::oneshot};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer},
    server::TlsStream,
};

use crate::support::{
    build, config, converse, every_text, http, listen, manager, migrations, once,
};

#[tokio::test]
async fn a_private_authority_is_trusted_where_its_file_is_named() {
    for protocol in ["http/1.1", "h2"] {
        let authority = Authority::new();
        let server = authority.serve("localhost", protocol).await;
        let manager = build(config(&server.url).ca_file(authority.file()));
        manager.check_for_updates().await.unwrap();
        manager.check_for_updates().await.unwrap();
        assert_eq!(server.connections(), 1, "it is used again");
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_beside_others_in_one_file() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = authority.serve("localhost", "http/1.1").await;
    let texts = [
        other.pem.as_str(),
        "a note between them\r\n",
        &authority.pem,
    ];
    let file = file_with(texts.concat().replace('\n', "\r\n"));
    let manager = build(config(&server.url).ca_file(file.path()));
    manager.check_for_updates().await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_prove_who_it_is_gets_no_request_and_no_second_chance() {
    let (authority, other) = (Authority::new(), Authority::new());
    let ours = authority.serve("localhost", "http/1.1").await;
    let elsewhere = authority.serve("db.example.org", "http/1.1").await;
    let expired = authority.serve_expired().await;
    for (server, config) in [
        (&ours, config(&ours.url)),
        (&ours, config(&ours.url).ca_file(other.file())),
        (&elsewhere, config(&elsewhere.url).ca_file(authority.file())),
        (&expired, config(&expired.url).ca_file(authority.file())),
    ] {
        let before = server.connections();
        let manager = build(config.retry_deadline(Duration::from_secs(60)));
        let started = Instant::now();
        for error in [
            manager.check_for_updates().await.unwrap_err(),
            manager.apply_all_pending().await.unwrap_err().error,
        ] {
            assert!(matches!(error, Error::Tls { .. }), "{error:?}");
            assert!(!error.is_retryable());
            assert!(error.to_string().contains("CTX0_CA_FILE"), "{error}");
            assert!(every_text(&error).to_lowercase().contains("certificate"));
        }
        assert!(started.elapsed() < Duration::from_secs(30));
        assert_eq!(server.connections() - before, 2, "one for each call");
        assert_eq!(server.requests(), 0);
    }
}

#[tokio::test]
async fn a_server_without_tls_is_reported_as_such() {
    let address = listen(|mut stream| async move {
        let _ = stream.write_all(&http("400 Bad Request", &[], "")).await;
    })
    .await;
    let manager = manager(&format!("https://{address}"));
    let error = manager.check_for_updates().await.unwrap_err();
    assert!(matches!(error, Error::NotTls { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_leaves_during_the_handshake_is_unreachable() {
    let address = listen(|stream| async move { drop(stream) }).await;
    let url = format!("https://{address}");
    let error = build(once(config(&url)))
        .check_for_updates()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_never_ends_the_handshake_is_unreachable() {
    let address = listen(|stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let limit = Duration::from_millis(200);
    let url = format!("https://{address}");
    let manager = build(once(config(&url)).connect_timeout(limit));
    let error = manager.check_for_updates().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let error = config("https://localhost")
        .ca_file(&path)
        .build()
        .unwrap_err();
    assert!(matches!(&error, ConfigError::CaFile { .. }), "{error:?}");
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    let error = config("https://localhost")
        .ca_file(folder.path())
        .build()
        .unwrap_err();
    assert!(matches!(&error, ConfigError::CaFile { .. }), "{error:?}");
}

#[test]
fn a_file_without_a_certificate_is_named() {
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for text in ["", "garbage", "\0\0", key, "BEGIN CERTIFICATE"] {
        let file = file_with(text);
        let error = config("https://localhost")
            .ca_file(file.path())
            .build()
            .unwrap_err();
        assert!(
            matches!(&error, ConfigError::CaFileEmpty { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(file.path().to_str().unwrap()));
    }
}

#[test]
fn a_file_with_a_damaged_certificate_is_refused_before_any_request() {
    let whole = Authority::new().pem;
    for text in [
        "-----BEGIN CERTIFICATE-----\n".to_owned(),
        "-----BEGIN CERTIFICATE-----\ngarbage!\n-----END CERTIFICATE-----\n".to_owned(),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
        whole[..whole.len() / 2].to_owned(),
        whole.replace("MII", "AAA"),
    ] {
        for url in ["https://localhost", "http://localhost"] {
            let file = file_with(&text);
            let config = config(url).ca_file(file.path()).build();
            let made = config
                .map_err(Error::from)
                .and_then(|config| SchemaVersionManager::new(&config, migrations()));
            assert!(matches!(made, Err(Error::Config(_))), "{url} {text}");
        }
    }
}

fn file_with(text: impl AsRef<[u8]>) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_ref()).unwrap();
    file
}

/// A certificate authority that only its own file vouches for.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    file: NamedTempFile,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "A private authority");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let file = file_with(&pem);
        let issuer = Issuer::new(params, key);
        Self { issuer, pem, file }
    }

    pub(crate) fn file(&self) -> &Path {
        self.file.path()
    }

    /// Serves an empty ledger as `https://localhost`, with a certificate for this name, over
    /// `http/1.1` or `h2`.
    pub(crate) async fn serve(&self, name: &str, protocol: &'static str) -> Server {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        self.serve_with(params, protocol).await
    }

    async fn serve_expired(&self) -> Server {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.serve_with(params, "http/1.1").await
    }

    async fn serve_with(&self, params: CertificateParams, protocol: &'static str) -> Server {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = aws_lc_rs::default_provider().into();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        config.alpn_protocols = vec![protocol.into()];
        Server::start(TlsAcceptor::from(Arc::new(config)), protocol).await
    }
}

/// A server over TLS, on a thread of its own: what it logs is not what the client logs.
pub(crate) struct Server {
    pub(crate) url: String,
    counts: Arc<Counts>,
    /// Ends the thread when it is dropped.
    _running: oneshot::Sender<()>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

impl Server {
    async fn start(acceptor: TlsAcceptor, protocol: &'static str) -> Self {
        let counts = Arc::new(Counts::default());
        let (tell_port, port) = oneshot::channel();
        let (running, stopped) = oneshot::channel::<()>();
        let counted = Arc::clone(&counts);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let address = listen(move |stream| {
                    let (acceptor, counts) = (acceptor.clone(), Arc::clone(&counted));
                    async move {
                        counts.connections.fetch_add(1, Ordering::SeqCst);
                        if let Ok(stream) = acceptor.accept(stream).await {
                            answer(stream, protocol, &counts).await;
                        }
                    }
                })
                .await;
                tell_port.send(address.port()).unwrap();
                let _ = stopped.await;
            });
        });
        let url = format!("https://localhost:{}", port.await.unwrap());
        Self {
            url,
            counts,
            _running: running,
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }
}

/// Answers every request with an empty ledger.
async fn answer(stream: TlsStream<tokio::net::TcpStream>, protocol: &str, counts: &Counts) {
    let count = || counts.requests.fetch_add(1, Ordering::SeqCst);
    if protocol != "h2" {
        converse(stream, || {
            count();
            http("200 OK", &[], "[]")
        })
        .await;
        return;
    }
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        count();
        let head = respond.send_response(Default::default(), false);
        head.unwrap().send_data("[]".into(), true).unwrap();
    }
}
