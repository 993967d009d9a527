//! Requests over a socket in the file system.

use std::path::Path;

use hyper014::client::conn;
use hyper014::header::{HOST, HeaderValue};
use reqwest::{Body, Request, Response};
use tokio::net::UnixStream;

/// Sends a request over a connection of its own, which ends with the answer.
pub(super) async fn send(path: &Path, request: Request) -> Result<Response, String> {
    let timeout = request.timeout().copied();
    let stream = UnixStream::connect(path).await;
    let stream = stream.map_err(|error| format!("{error}; is the gateway running?"))?;
    let words = |error: hyper014::Error| error.to_string();
    let (mut sender, connection) = conn::handshake(stream).await.map_err(words)?;
    tokio::spawn(connection);
    let request = hyper014::Request::<Body>::try_from(request);
    let request = request.map_err(|error| error.to_string())?;
    // Bodies are short and all there.
    let whole = |body: Body| body.as_bytes().unwrap_or_default().to_vec().into();
    let mut request = request.map(whole);
    let host = HeaderValue::from_static("localhost");
    request.headers_mut().insert(HOST, host);
    let answer = sender.send_request(request);
    let answer = match timeout {
        Some(timeout) => tokio::time::timeout(timeout, answer)
            .await
            .map_err(|_| "no answer in time".to_owned())?,
        None => answer.await,
    };
    answer.map(Response::from).map_err(words)
}
