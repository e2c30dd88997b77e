//! A server for many projects that repeats, over TLS, what one of them responded.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Response, StatusCode},
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer,
        server::NoServerSessionStorage,
    },
};

use super::Result;

/// What is responded to each path.
type Responses = HashMap<String, Response<Bytes>>;

pub(super) struct Responder {
    url: String,
    ca_file: PathBuf,
    requests: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Known {
    responses: Arc<Responses>,
    requests: Arc<AtomicUsize>,
}

impl Responder {
    pub(super) async fn start(responses: Responses, folder: &Path) -> Result<Self> {
        let (tls, ca) = tls()?;
        let ca_file = folder.join("ca.pem");
        fs::write(&ca_file, ca)?;
        let requests = Arc::<AtomicUsize>::default();
        let known = Known {
            responses: Arc::new(responses),
            requests: Arc::clone(&requests),
        };
        let service = TowerToHyperService::new(Router::new().fallback(respond).with_state(known));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                let (tls, service) = (tls.clone(), service.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = tls.accept(stream).await {
                        // It ends when the client leaves.
                        let _ = http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    }
                });
            }
        });
        Ok(Self {
            url,
            ca_file,
            requests,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// How many there were since the last time.
    pub(super) fn take_requests(&self) -> usize {
        self.requests.swap(0, Ordering::Relaxed)
    }
}

async fn respond(State(known): State<Known>, request: Request) -> Response<Body> {
    known.requests.fetch_add(1, Ordering::Relaxed);
    let path = request.uri().path();
    let path = path.find("/rest/").map_or(path, |start| &path[start..]);
    match known.responses.get(path) {
        Some(response) => response.clone().map(Body::from),
        // Only a look at a running change, if a response took long.
        None => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

/// A server's side of TLS, and the authority that its certificate is from. Each connection is negotiated
/// in full, as with servers that have nothing to do with each other.
fn tls() -> Result<(TlsAcceptor, String)> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let pem = authority.self_signed(&key)?.pem();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &issuer)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok((TlsAcceptor::from(Arc::new(config)), pem))
}
