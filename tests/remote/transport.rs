//! How the servers are reached: TLS with a private certificate, HTTP/2, proxies.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use dicast::config::{Secret, Secrets};
use dicast::{ErrorKind, Judge};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::server::{Dialect, Server};
use crate::{assert_verdict, config, request};

/// A proxy in front of a server: it speaks HTTP/1.1 and HTTP/2, with TLS if it has a certificate.
struct Front {
    address: SocketAddr,
    versions: Arc<Mutex<Vec<Version>>>,
    connections: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

impl Front {
    fn new(server: &Server, tls: Option<TlsAcceptor>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (versions, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let behind = Behind { url: server.url.clone(), client: reqwest::Client::new(), versions: versions.clone() };
        let count = connections.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (behind, tls) = (behind.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => behind.serve(stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                behind.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, versions, connections, _runtime: runtime }
    }

    fn all_are(&self, version: Version) -> bool {
        let versions = self.versions.lock().unwrap();
        !versions.is_empty() && versions.iter().all(|&seen| seen == version)
    }
}

#[derive(Clone)]
struct Behind {
    url: String,
    client: reqwest::Client,
    versions: Arc<Mutex<Vec<Version>>>,
}

impl Behind {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| {
            let behind = self.clone();
            async move { Ok::<_, Infallible>(behind.pass_on(request).await) }
        });
        let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
    }

    async fn pass_on(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.versions.lock().unwrap().push(request.version());
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let sent = self.client.request(head.method, format!("{}{}", self.url, head.uri.path())).body(body);
        let answer = sent.send().await.unwrap();
        let mut response = Response::builder().status(answer.status());
        if let Some(kind) = answer.headers().get("content-type") {
            response = response.header("content-type", kind);
        }
        response.body(Full::new(answer.bytes().await.unwrap())).unwrap()
    }
}

/// A self-signed certificate for `localhost`, and its key; in a folder that is removed with it.
struct Certificate {
    folder: PathBuf,
}

impl Certificate {
    fn new(name: &str) -> Self {
        Self::made(name, "CA:FALSE")
    }

    fn made(name: &str, constraints: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("dicast-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let made = Self { folder };
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", &format!("basicConstraints=critical,{constraints}")])
            .arg("-keyout")
            .arg(made.folder.join("key.pem"))
            .arg("-out")
            .arg(made.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        made
    }

    fn path(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    fn acceptor(&self, alpn: &[&str]) -> TlsAcceptor {
        let chain = CertificateDer::pem_file_iter(self.path()).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(self.folder.join("key.pem")).unwrap();
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn trusting(url: &str, ca: Option<&Path>) -> dicast::Result<Judge> {
    let mut config = config(url);
    config.remote.ca_file = ca.map(Path::to_owned);
    Judge::open(config)
}

#[test]
fn https_needs_a_certificate_that_is_vouched_for() {
    let server = Server::new(Dialect::Vllm);
    let (certificate, other) = (Certificate::new("tls"), Certificate::new("tls-other"));
    for (alpn, version) in [(&["h2", "http/1.1"][..], Version::HTTP_2), (&["http/1.1"], Version::HTTP_11)] {
        let front = Front::new(&server, Some(certificate.acceptor(alpn)));
        let url = format!("https://localhost:{}", front.address.port());
        let judge = trusting(&url, Some(&certificate.path())).unwrap();
        for number in 0..4 {
            assert_verdict(number, &judge.judge(&request(number)).unwrap());
        }
        assert!(front.all_are(version), "{:?}", front.versions);
        front.versions.lock().unwrap().clear();
        for ca in [None, Some(other.path())] {
            let error = trusting(&url, ca.as_deref()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Network, "{error}");
            assert!(error.message().contains("localhost") && error.message().contains("certificate"), "{error}");
        }
        // It is valid for localhost only.
        let error = trusting(&format!("https://{}", front.address), Some(&certificate.path())).unwrap_err();
        assert!(error.message().contains("certificate"), "{error}");
        assert!(front.versions.lock().unwrap().is_empty(), "a request went out over a connection that is not safe");
    }
}

#[test]
fn a_certificate_of_an_authority_is_no_servers_and_the_error_says_so() {
    let certificate = Certificate::made("tls-authority", "CA:TRUE");
    let front = Front::new(&Server::new(Dialect::Vllm), Some(certificate.acceptor(&["http/1.1"])));
    let url = format!("https://localhost:{}", front.address.port());
    let error = trusting(&url, Some(&certificate.path())).unwrap_err();
    assert!(error.message().contains("-addext basicConstraints=critical,CA:FALSE"), "{error}");
}

#[test]
fn files_that_hold_no_certificate_are_named() {
    let folder = std::env::temp_dir().join(format!("dicast-ca-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let empty = folder.join("empty.pem");
    std::fs::write(&empty, "no certificate\n").unwrap();
    for path in [empty, folder.join("missing.pem")] {
        let error = trusting("https://localhost:1", Some(&path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.message().contains("remote.ca_file") && error.message().contains("pem"), "{error}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn http2_without_tls_uses_one_connection() {
    let server = Server::new(Dialect::Vllm);
    let front = Front::new(&server, None);
    let mut config = config(&format!("http://{}", front.address));
    config.remote.http2 = true;
    let judge = Judge::open(config).unwrap();
    let requests: Vec<_> = (0..16).map(request).collect();
    for (number, outcome) in judge.judge_batch(&requests).into_iter().enumerate() {
        assert_verdict(number, &outcome.unwrap());
    }
    assert!(front.all_are(Version::HTTP_2), "{:?}", front.versions);
    assert_eq!(front.connections.load(Ordering::Relaxed), 1);
}

#[test]
fn everything_goes_through_the_proxy() {
    // The name has no address: only the proxy can resolve it.
    let proxy = Server::new(Dialect::Vllm);
    let mut config = config("http://judge.invalid:8000");
    config.remote.proxy = Some(Secret::new(proxy.url.replace("http://", "http://me:sesame@")));
    config.remote.api_keys = Secrets::new(["a-key".to_owned()]);
    let judge = Judge::open(config).unwrap();
    assert_verdict(3, &judge.judge(&request(3)).unwrap());
    let seen = proxy.seen();
    assert!(!seen.is_empty());
    for asked in seen {
        assert!(asked.path.starts_with("http://judge.invalid:8000/"), "{}", asked.path);
        // "me:sesame" in base 64.
        assert_eq!(asked.headers["proxy-authorization"], "Basic bWU6c2VzYW1l");
        assert_eq!(asked.headers["authorization"], "Bearer a-key");
    }
}

#[test]
fn a_proxy_that_is_not_there_is_an_error_without_its_password() {
    let mut config = config("http://judge.invalid:8000");
    config.remote.proxy = Some(Secret::new("http://me:sesame@127.0.0.1:1"));
    let error = Judge::open(config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    assert!(!error.to_string().contains("sesame"), "{error}");
}
