//! The listening side.

use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::connection::BoundedListener;
use super::guard::Guard;
use super::routes;
use crate::config;
use crate::monitor::Observer;

/// How long requests under way may take at the end.
const FAREWELL: Duration = Duration::from_secs(1);

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
    listener: TcpListener,
    address: SocketAddr,
    guard: Guard,
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
        let guard = Guard::new(address, config.token.clone());
        Ok(Self {
            listener,
            address,
            guard,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`; requests under way then have a moment left.
    pub fn serve(
        self,
        observer: Arc<dyn Observer>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let router = routes::router(observer, self.guard, stop.clone());
        let listener = BoundedListener::new(self.listener);
        tracing::info!(address = %self.address, "The HTTP API listens.");
        async move {
            let serve = axum::serve(listener, router)
                .with_graceful_shutdown(stop.clone().cancelled_owned())
                .into_future();
            let patience = async {
                stop.cancelled().await;
                tokio::time::sleep(FAREWELL).await;
            };
            tokio::select! {
                result = serve => if let Err(error) = result {
                    tracing::error!(error = %error, "The HTTP API failed.");
                },
                () = patience => {}
            }
        }
    }
}
