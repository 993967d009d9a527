//! The way to the broker: TCP, with TLS and WebSocket upon it as the configuration says.

use std::io;
use std::sync::Arc;

use async_tungstenite::tokio::client_async_with_config;
use async_tungstenite::tungstenite;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tungstenite::protocol::WebSocketConfig;
use ws_stream_tungstenite::WsStream;

use super::codec::LONGEST;
use super::event::Ending;
use crate::causes::causes;
use crate::config::{Mqtt, Transport};
use crate::sink::mqtt::failure::ended_by;
use crate::sink::{Failure, dial};

/// What WebSocket calls MQTT.
const SUBPROTOCOL: &str = "mqtt";

/// Bytes of a WebSocket that are read at once.
const READ_BUFFER: usize = 8 * 1024;

/// A connection, whatever it is made of.
pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Connects.
pub(super) async fn connect(
    config: &Mqtt,
    tls: Option<Arc<ClientConfig>>,
) -> Result<Box<dyn Socket>, Ending> {
    let host = config.bare_host();
    let tcp = dial::connect(host, config.port).await;
    let tcp = tcp.map_err(|error| ended_by(&error))?;
    tcp.set_nodelay(true).map_err(|error| ended_by(&error))?;
    let socket: Box<dyn Socket> = match tls {
        None => Box::new(tcp),
        Some(tls) => {
            let name = ServerName::try_from(host.to_owned()).map_err(|error| {
                let reason = format!("no certificate can be for {host}: {error}");
                Ending::other(Failure::Refused(reason))
            })?;
            let encrypted = TlsConnector::from(tls).connect(name, tcp).await;
            Box::new(encrypted.map_err(|error| ended_by(&error))?)
        }
    };
    match &config.transport {
        Transport::Tcp | Transport::Tls(_) => Ok(socket),
        Transport::WebSocket { .. } | Transport::SecureWebSocket { .. } => {
            let opened = open_websocket(&config.url(), socket).await;
            opened.map_err(|error| explain_websocket(&error))
        }
    }
}

async fn open_websocket(
    url: &str,
    socket: Box<dyn Socket>,
) -> Result<Box<dyn Socket>, tungstenite::Error> {
    let mut request = url.into_client_request()?;
    let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
    request
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    // Also fails when the server does not agree to the subprotocol.
    let (websocket, _response) =
        client_async_with_config(request, socket, Some(websocket_limits())).await?;
    Ok(Box::new(WsStream::new(websocket)))
}

/// What a broker sends is read in pieces of at most a few packets.
fn websocket_limits() -> WebSocketConfig {
    let most = Some(4 * usize::from(LONGEST));
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(most)
        .max_frame_size(most)
}

fn explain_websocket(error: &tungstenite::Error) -> Ending {
    match causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()) {
        Some(error) => ended_by(error),
        None => Ending::unavailable(format!("Websocket: {error}")),
    }
}
