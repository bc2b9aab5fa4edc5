//! Answers that come in pieces: events (SSE) and lines (NDJSON).

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Pieces that wait for a client that reads slowly.
const WAITING: usize = 64;
/// After this much silence, a comment shows that the connection is alive.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Takes the pieces of one answer. Sending fails if the client has disconnected.
pub(super) struct Pieces(mpsc::Sender<Bytes>);

/// The client has disconnected.
#[derive(Debug)]
pub(super) struct Gone;

impl Pieces {
    pub(super) async fn send(&self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(bytes.into()).await.map_err(|_| Gone)
    }

    /// An event with JSON.
    pub(super) async fn event(&self, name: &str, data: &impl Serialize) -> Result<(), Gone> {
        // JSON on one line holds no line break.
        let data = serde_json::to_string(data).map_err(|_| Gone)?;
        let name = if name.is_empty() { String::new() } else { format!("event: {name}\n") };
        self.send(format!("{name}data: {data}\n\n")).await
    }

    pub(super) async fn comment(&self) -> Result<(), Gone> {
        self.send(": alive\n\n").await
    }

    /// A line of JSON.
    pub(super) async fn line(&self, data: &impl Serialize) -> Result<(), Gone> {
        let mut line = serde_json::to_vec(data).map_err(|_| Gone)?;
        line.push(b'\n');
        self.send(line).await
    }
}

/// The body. When it is dropped, because the client disconnects, the work that writes it ends.
struct Flow {
    pieces: mpsc::Receiver<Bytes>,
    work: AbortHandle,
}

impl hyper::body::Body for Flow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// An answer that `work` writes piece by piece.
pub(super) fn answer<W: Future<Output = Result<(), Gone>> + Send + 'static>(
    kind: &'static str,
    work: impl FnOnce(Pieces) -> W,
) -> Response {
    let (sender, pieces) = mpsc::channel(WAITING);
    let work = tokio::spawn(work(Pieces(sender))).abort_handle();
    // nginx would hold the pieces back otherwise.
    let headers = [(header::CONTENT_TYPE.as_str(), kind), ("x-accel-buffering", "no")];
    (headers, Body::new(Flow { pieces, work })).into_response()
}
