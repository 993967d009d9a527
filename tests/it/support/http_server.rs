//! A server of HTTP, whatever it serves.

use std::fmt::Debug;
use std::net::Ipv4Addr;

use axum::Router;
use axum::serve::Listener;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Answers on a port that the system gives, until it is dropped.
pub(super) struct HttpServer {
    port: u16,
    /// Ends the server with it.
    runtime: Option<Runtime>,
}

impl HttpServer {
    /// Starts one; `wrap` has the say in what its connections are like.
    pub(super) fn start<L>(router: Router, wrap: impl FnOnce(TcpListener) -> L) -> Self
    where
        L: Listener<Addr: Debug>,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = runtime.block_on(listener).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = wrap(listener);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            port,
            runtime: Some(runtime),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
