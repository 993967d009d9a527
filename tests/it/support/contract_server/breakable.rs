//! Connections that can end in the middle of an answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// As much of an answer as goes out: the client knows that one began and never sees it whole.
const HALF_AN_ANSWER: usize = "HTTP/1.1 204 No Con".len();

/// Whether the next answer is cut.
#[derive(Default)]
pub(super) struct Break(AtomicBool);

impl Break {
    pub(super) fn next_answer(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What is wrapped, and when it breaks.
pub(super) struct Breakable<T> {
    inner: T,
    cut: Arc<Break>,
}

impl<T> Breakable<T> {
    pub(super) fn new(inner: T, cut: Arc<Break>) -> Self {
        Self { inner, cut }
    }
}

impl Listener for Breakable<TcpListener> {
    type Io = Breakable<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (connection, peer) = Listener::accept(&mut self.inner).await;
        (Breakable::new(connection, Arc::clone(&self.cut)), peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

impl AsyncRead for Breakable<TcpStream> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Breakable<TcpStream> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.cut.0.swap(false, Ordering::SeqCst) {
            return Pin::new(&mut self.inner).poll_write(context, bytes);
        }
        let half = &bytes[..HALF_AN_ANSWER.min(bytes.len())];
        // A few bytes always fit into an idle connection.
        drop(Pin::new(&mut self.inner).poll_write(context, half));
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
