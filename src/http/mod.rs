//! What the HTTP clients have in common: how much of an answer is read, and through whom it comes.

pub mod proxy;

use std::time::Duration;

use reqwest::{ClientBuilder, Response, Url, redirect};
use tokio::time::Instant;

pub use proxy::Proxy;

/// The most that is read of an answer that is only words: an error, a health, an acknowledgement.
pub const MAX_WORDS: usize = 64 << 10;

/// How long the rest of such an answer may take once its head is there.
const WORDS_PATIENCE: Duration = Duration::from_secs(2);

/// A client that reads what is sent to it as it is, follows nobody, and goes through no proxy but the
/// one that is named.
pub fn client(proxy: Option<&Proxy>) -> ClientBuilder {
    // HTTP/2 allows for heads of megabytes.
    let client = reqwest::Client::builder()
        .http1_only()
        .redirect(redirect::Policy::none())
        .no_proxy();
    match proxy {
        Some(proxy) => client.proxy(proxy.intercept()),
        None => client,
    }
}

/// A path below a base address, which may have a path of its own.
pub fn url_below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

/// As much of a body as was read.
#[derive(Debug, Default)]
pub struct Body {
    /// What came.
    pub bytes: Vec<u8>,
    /// Whether that is all: it neither went on beyond the bound nor broke off.
    pub is_whole: bool,
}

impl Body {
    /// What came, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Reads at most `most` bytes of a body, for at most `patience`. The connection is closed when it has
/// more to say.
pub async fn read_body(mut response: Response, most: usize, patience: Duration) -> Body {
    let deadline = Instant::now() + patience;
    let mut body = Body::default();
    loop {
        match tokio::time::timeout_at(deadline, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let room = most - body.bytes.len();
                body.bytes
                    .extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return body;
                }
            }
            Ok(Ok(None)) => {
                body.is_whole = true;
                return body;
            }
            Ok(Err(_)) | Err(_) => return body,
        }
    }
}

/// Reads a body of which only the words are wanted.
pub async fn read_words(response: Response) -> Body {
    read_body(response, MAX_WORDS, WORDS_PATIENCE).await
}
