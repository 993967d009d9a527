//! The listening side.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use axum::serve::{Listener, ListenerExt};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, unix};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::Impatient;
use super::guard::Guard;
use super::routes::{self, Endless};
use super::seats::{Answering, Seat, Seats};
use super::socket::Socket;
use crate::config;
use crate::monitor::{Asker, Observer};

/// How long requests under way may take at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is kept of a connection at most: the head of a request, and what its peer has not taken yet.
const BUFFER: usize = 64 << 10;

/// Why there is no API.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for the HTTP API: {error}; {}", advice(.error))]
    Bind {
        /// `api.listen`.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program, perhaps another fieldgate, listens there: end it or change api.listen"
        }
        io::ErrorKind::AddrNotAvailable => "the address is none of this machine: change api.listen",
        io::ErrorKind::PermissionDenied => "take a port above 1023 for api.listen",
        _ => "check api.listen",
    }
}

/// A server that has its address and answers nobody yet.
#[derive(Debug)]
pub struct Server {
    listening: Listening,
    guard: Guard,
}

#[derive(Debug)]
enum Listening {
    At(TcpListener, SocketAddr),
    On(Socket),
}

impl Server {
    /// Takes the configured address, so that a wrong one is noticed before anything else starts.
    pub async fn bind(config: &config::Api) -> Result<Self, ApiError> {
        let failed = |error| ApiError::Bind {
            address: config.listen,
            error,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let guard = Guard::new(address, config.token.clone(), config.allow_send);
        Ok(Self {
            listening: Listening::At(listener, address),
            guard,
        })
    }

    /// Where it listens, in words.
    pub fn address(&self) -> String {
        match &self.listening {
            Listening::At(_, address) => address.to_string(),
            Listening::On(socket) => socket.file.0.display().to_string(),
        }
    }

    /// Takes a socket in the file system, for whoever the mode of its file lets in. Must be called
    /// within a tokio runtime.
    pub fn bind_socket(path: PathBuf) -> io::Result<Self> {
        Ok(Self {
            listening: Listening::On(Socket::bind(path)?),
            guard: Guard::of_socket(),
        })
    }

    /// Answers until `stop`; requests under way then have a moment left.
    pub async fn serve(self, observer: Arc<dyn Observer>, stop: CancellationToken) {
        let router = routes::router(observer, self.guard, stop.clone());
        match self.listening {
            Listening::At(listener, address) => {
                tracing::info!(%address, "The HTTP API listens.");
                let listener = listener.tap_io(|stream| {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(error = %error, "A connection keeps its send delay.");
                    }
                });
                serve(listener, SocketAddr::to_string, router, stop).await;
            }
            Listening::On(Socket { listener, file }) => {
                tracing::info!(path = %file.0.display(), "Whoever asks on this machine is answered on a socket.");
                let asker = |_: &unix::SocketAddr| "this machine".to_owned();
                serve(listener, asker, router, stop).await;
            }
        }
    }
}

/// Answers who comes, until `stop`.
async fn serve<L: Listener>(
    mut listener: L,
    asker: impl Fn(&L::Addr) -> String,
    router: Router,
    stop: CancellationToken,
) {
    let seats = Seats::default();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, peer) = listener.accept() => {
                let (router, seat) = (router.clone(), seats.take());
                let asker = Asker::Peer(asker(&peer));
                connections.spawn(converse(stream, router, (seat, asker), stop.clone()));
            }
            Some(_) = connections.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    let _late = tokio::time::timeout(FAREWELL, ended).await;
}

/// Answers what comes over one connection, until either side has had enough.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    router: Router,
    (seat, asker): (Seat, Asker),
    stop: CancellationToken,
) {
    let seat = Arc::new(seat);
    let service = Seated {
        router: TowerToHyperService::new(router),
        seat: Arc::clone(&seat),
        asker,
    };
    let mut connection = pin!(
        http1::Builder::new()
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(Impatient::new(stream)), service)
    );
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = seat.left() => return,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "A connection to the HTTP API failed.");
    }
}

/// The routes, as one connection asks for them: its seat knows what it is doing, and they know who asks.
struct Seated {
    router: TowerToHyperService<Router>,
    seat: Arc<Seat>,
    asker: Asker,
}

impl Service<Request<Incoming>> for Seated {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.asker.clone());
        let answering = self.seat.answering();
        let response = self.router.call(request);
        Box::pin(async move {
            let response = response.await?;
            if response.extensions().get::<Endless>().is_some() {
                answering.has_no_end();
            }
            Ok(response.map(|body| Answer {
                body,
                _answering: answering,
            }))
        })
    }
}

/// The body of an answer, which is under way until it is dropped.
struct Answer {
    body: Body,
    _answering: Answering,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
