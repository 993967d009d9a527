//! What stands before many a server: it ends TLS and takes WebSocket, and passes on what is inside.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_tungstenite::tokio::accept_hdr_async;
use async_tungstenite::tungstenite::handshake::server::{Request, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use ws_stream_tungstenite::WsStream;

use super::authority::Signed;

/// What it takes.
#[derive(Default)]
pub(crate) struct FrontOptions<'a> {
    /// TLS with this certificate.
    pub(crate) tls: Option<&'a Signed>,
    /// WebSocket at this path.
    pub(crate) websocket: Option<&'static str>,
}

/// A front that stands until it is dropped.
pub(crate) struct Front {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Front {
    /// Puts a front before a port.
    pub(crate) fn start(upstream: u16, options: &FrontOptions<'_>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = runtime.block_on(bound).unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = options.tls.map(acceptor);
        runtime.spawn(serve(listener, upstream, acceptor, options.websocket));
        Self {
            address,
            _runtime: runtime,
        }
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

fn acceptor(signed: &Signed) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(&signed.certificate).unwrap();
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&signed.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

async fn serve(
    listener: TcpListener,
    upstream: u16,
    acceptor: Option<TlsAcceptor>,
    websocket: Option<&'static str>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // An error is the client's end of the connection.
            match acceptor {
                None => pass(stream, upstream, websocket).await,
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => pass(stream, upstream, websocket).await,
                    Err(_) => None,
                },
            }
        });
    }
}

async fn pass<S: AsyncRead + AsyncWrite + Send + Unpin>(
    mut stream: S,
    upstream: u16,
    websocket: Option<&'static str>,
) -> Option<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await;
    let mut server = server.ok()?;
    let Some(path) = websocket else {
        copy_bidirectional(&mut stream, &mut server).await.ok()?;
        return Some(());
    };
    #[expect(clippy::result_large_err, reason = "the trait has it so")]
    let greet = |request: &Request, mut response: Response| {
        assert_eq!(request.uri().path(), path);
        assert_eq!(request.headers()["sec-websocket-protocol"], "mqtt");
        let protocol = "mqtt".parse().unwrap();
        let headers = response.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", protocol);
        Ok(response)
    };
    let socket = accept_hdr_async(stream, greet).await.ok()?;
    copy_bidirectional(&mut WsStream::new(socket), &mut server)
        .await
        .ok()?;
    Some(())
}
