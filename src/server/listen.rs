//! The listener: connections with limits of number and time, https, and an orderly shutdown.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig as Rustls, crypto};
use tower::ServiceExt as _;
use tracing::{debug, info, warn};

use crate::error::{Error, ErrorKind, Result};

use super::Server;
use super::config::TlsConfig;

/// Headers of one request, and bytes of them.
const MAX_HEADERS: usize = 100;
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// Pause after the system refused a connection, for example because there are no file descriptors left.
const BREATH: Duration = Duration::from_millis(50);
/// How often idle judges are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How long traces are sent at the end: what is left of the time for requests to end, but within these bounds.
const FLUSH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// The answer to a connection above the limit.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 1\r\nconnection: close\r\n\
content-length: 66\r\n\r\ntoo many connections (server.max_connections): try again in 1 s.\r\n";

impl Server {
    /// Serves on a socket until `stop` ends; then lets requests end for `server.drain_ms`, and closes the judges. Loads the judges
    /// meanwhile, unless they are loaded on demand.
    ///
    /// # Errors
    /// If the socket may not be served without keys, the certificate cannot be read, or a judge cannot be opened.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<()> {
        let io = |error: io::Error| Error::new(ErrorKind::Io, format!("the socket: {error}"));
        let address = listener.local_addr().map_err(io)?;
        let config = self.config();
        if self.0.clients.is_open() && !config.anonymous && !address.ip().is_loopback() {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                format!(
                    "{address} can be reached from other machines, but the server has no keys: set server.keys or \
                     server.keys_file, or set server.anonymous if something else keeps strangers away"
                ),
            ));
        }
        let tls = config.tls.as_ref().map(acceptor).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        info!("listening on {scheme}://{address}");
        let connections = Arc::new(Connections::new(config.max_connections));
        let mut tasks = JoinSet::new();
        let router = self.router();
        // Continues the jobs of an earlier server.
        self.start_jobs();
        let mut stop = pin!(stop);
        let mut loading = pin!(async { if config.load_on_demand { Ok(()) } else { self.load().await } });
        let mut loaded = false;
        let mut look = tokio::time::interval(LOOK);
        let failed = loop {
            tokio::select! {
                () = &mut stop => break None,
                result = &mut loading, if !loaded => match result {
                    Ok(()) => loaded = true,
                    Err(error) => break Some(error),
                },
                Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
                _ = look.tick(), if config.unload_after_s > 0 => {
                    self.judges().unload_idle(Duration::from_secs(config.unload_after_s));
                }
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let connection = Connection {
                            server: self.clone(), router: router.clone(), connections: connections.clone(), tls: tls.clone(),
                        };
                        tasks.spawn(connection.run(stream, peer));
                    }
                    Err(error) => {
                        warn!("a connection cannot be accepted: {error}");
                        tokio::time::sleep(BREATH).await;
                    }
                },
            }
        };
        drop(listener);
        let stopped = Instant::now();
        self.0.draining.send_replace(true);
        info!(connections = tasks.len(), "shutting down");
        if failed.is_none() {
            let drained = async { while tasks.join_next().await.is_some() {} };
            let drained = tokio::time::timeout(Duration::from_millis(config.drain_ms), drained).await.is_ok();
            if !drained {
                warn!(
                    connections = tasks.len(),
                    "some requests did not end in time (server.drain_ms): they are cut off"
                );
            }
        }
        tasks.shutdown().await;
        self.end_jobs().await;
        let left = Duration::from_millis(config.drain_ms).saturating_sub(stopped.elapsed()).clamp(FLUSH.0, FLUSH.1);
        let server = self.clone();
        let _ = tokio::task::spawn_blocking(move || {
            server.close();
            server.0.traces.end(left);
        })
        .await;
        info!("ended");
        failed.map_or(Ok(()), Err)
    }
}

/// Reads certificate and key.
fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor> {
    let invalid = |what: String| Error::new(ErrorKind::InvalidConfig, what);
    let (certificate, key) = (config.certificate.display(), config.key.display());
    let chain: Vec<_> = CertificateDer::pem_file_iter(&config.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| invalid(format!("server.tls.certificate {certificate}: {error}")))?;
    if chain.is_empty() {
        return Err(invalid(format!("server.tls.certificate {certificate}: it holds no certificate")));
    }
    let secret =
        PrivateKeyDer::from_pem_file(&config.key).map_err(|error| invalid(format!("server.tls.key {key}: {error}")))?;
    let mut rustls = Rustls::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(format!("server.tls: {error}")))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| invalid(format!("server.tls: {certificate} and {key}: {error}")))?;
    rustls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(rustls)))
}

/// All connections, and which of them are idle.
struct Connections {
    limit: usize,
    start: Instant,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Activity>>>,
}

/// The state of one connection.
struct Activity {
    requests: AtomicUsize,
    /// Milliseconds from the start of the listener to when the last request ended, or it was opened.
    idle_since: AtomicU64,
    /// Another connection needs the room.
    make_room: Notify,
}

/// A connection that counts; dropping it makes room.
struct Counted {
    connections: Arc<Connections>,
    number: u64,
    activity: Arc<Activity>,
}

impl Connections {
    fn new(limit: usize) -> Self {
        Self { limit, start: Instant::now(), next: AtomicU64::new(0), open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Counts a connection. Above the limit, the connection that was idle longest is closed; `None` if none is idle.
    fn enter(self: &Arc<Self>) -> Option<Counted> {
        let activity = Arc::new(Activity {
            requests: AtomicUsize::new(0),
            idle_since: AtomicU64::new(self.now()),
            make_room: Notify::new(),
        });
        let mut open = self.open();
        if open.len() >= self.limit {
            let idle = open.iter().filter(|(_, activity)| activity.requests.load(Ordering::Relaxed) == 0);
            let longest = idle.min_by_key(|(_, activity)| activity.idle_since.load(Ordering::Relaxed));
            let number = longest.map(|(number, _)| *number)?;
            if let Some(activity) = open.remove(&number) {
                activity.make_room.notify_one();
            }
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        open.insert(number, activity.clone());
        drop(open);
        Some(Counted { connections: self.clone(), number, activity })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connections.open().remove(&self.number);
    }
}

/// A request that counts for its connection until its answer is sent, or nobody wants it.
struct Working(Arc<Activity>, Arc<Connections>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.idle_since.store(self.1.now(), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a connection is served with.
struct Connection {
    server: Server,
    router: Router,
    connections: Arc<Connections>,
    tls: Option<TlsAcceptor>,
}

impl Connection {
    async fn run(self, mut stream: TcpStream, peer: SocketAddr) {
        let config = self.server.config();
        let patience = Duration::from_millis(config.header_timeout_ms);
        let Some(counted) = self.connections.enter() else {
            // The server does not wait for a client that does not read.
            let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(FULL)).await;
            return;
        };
        let _ = stream.set_nodelay(true);
        let write = Duration::from_millis(config.write_timeout_ms);
        match &self.tls {
            None => self.talk(Patient::new(stream, write), &counted).await,
            Some(tls) => match tokio::time::timeout(patience, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.talk(Patient::new(stream, write), &counted).await,
                Ok(Err(error)) => debug!(%peer, "no TLS: {error}"),
                Err(_) => debug!(%peer, "no TLS within the time"),
            },
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, counted: &Counted) {
        let config = self.server.config();
        let patience = Duration::from_millis(config.header_timeout_ms);
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
            .keep_alive_interval(patience)
            .keep_alive_timeout(patience);
        let activity = &counted.activity;
        let service = hyper::service::service_fn(|request: Request<Incoming>| {
            activity.requests.fetch_add(1, Ordering::Relaxed);
            let working = Working(activity.clone(), self.connections.clone());
            let router = self.router.clone();
            async move {
                let response = router.oneshot(request.map(axum::body::Body::new)).await?;
                Ok::<_, Infallible>(response.map(|body| Busy { body, _working: working }))
            }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut draining = self.server.draining();
        let mut asked = false;
        // hyper counts the time of a head from its first byte.
        let mut look = tokio::time::interval(patience);
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        debug!("a connection ended: {error}");
                    }
                    return;
                }
                _ = look.tick() => {
                    let idle = self.connections.now().saturating_sub(activity.idle_since.load(Ordering::Relaxed));
                    if activity.requests.load(Ordering::Relaxed) == 0 && u128::from(idle) >= patience.as_millis() {
                        return;
                    }
                }
                () = activity.make_room.notified() => {
                    if activity.requests.load(Ordering::Relaxed) == 0 {
                        return;
                    }
                }
                _ = draining.wait_for(|draining| *draining), if !asked => {
                    asked = true;
                    // The server does not wait for a connection that has sent nothing.
                    if activity.requests.load(Ordering::Relaxed) == 0 {
                        return;
                    }
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// The body of an answer, which counts as work until it is sent.
struct Busy {
    body: axum::body::Body,
    _working: Working,
}

impl hyper::body::Body for Busy {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// A stream that fails if the other side reads nothing for too long.
struct Patient<S> {
    stream: S,
    patience: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, stuck: None }
    }

    /// The result of a write, and how long there has been no progress.
    fn watched<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stuck = None;
            return polled;
        }
        let patience = self.patience;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match stuck.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watched(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.watched(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.watched(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watched(context, polled)
    }
}
