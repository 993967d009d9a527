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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread::JoinHandle;

    use super::*;

    /// Answers one request with a head and then with one chunk again and again, for as long as it is
    /// read; returns how many bytes went out.
    fn answer_without_end(head: &'static str, chunk: &'static str) -> (Url, JoinHandle<usize>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let _request = connection.read(&mut [0; 4_096]).unwrap();
            connection.write_all(head.as_bytes()).unwrap();
            let mut sent = 0;
            let text = chunk.repeat(1_000);
            while !text.is_empty() && connection.write_all(text.as_bytes()).is_ok() {
                sent += text.len();
            }
            // Until the client hangs up.
            drop(connection.read(&mut [0]));
            sent
        });
        (Url::parse(&url).unwrap(), server)
    }

    const CHUNKED: &str = "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[tokio::test]
    async fn no_more_is_read_than_the_bound() {
        for (head, chunk) in [
            (CHUNKED, "5\r\nwords\r\n"),
            (
                "HTTP/1.1 500 No\r\nContent-Length: 2000000000\r\n\r\n",
                "words",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", "words"),
        ] {
            let (url, server) = answer_without_end(head, chunk);
            let client = client(None).build().unwrap();
            let response = client.get(url).send().await.unwrap();
            let body = read_words(response).await;
            assert_eq!(
                (body.bytes.len(), body.is_whole),
                (MAX_WORDS, false),
                "{head}"
            );
            assert!(body.text().starts_with("wordswords"));
            // It ends because nobody reads on; the rest is in the system's buffers.
            let sent = tokio::task::spawn_blocking(|| server.join().unwrap())
                .await
                .unwrap();
            assert!(sent < 16 << 20, "{sent} bytes");
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_words_that_do_not_come() {
        let (url, _server) = answer_without_end(CHUNKED, "");
        let client = client(None).build().unwrap();
        let response = client.get(url).send().await.unwrap();
        let start = Instant::now();
        let body = read_body(response, MAX_WORDS, Duration::from_millis(50)).await;
        assert_eq!((body.bytes.len(), body.is_whole), (0, false));
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn a_head_without_end_is_an_error() {
        let (url, server) = answer_without_end("HTTP/1.1 200 OK\r\n", "X-Words: words\r\n");
        let client = client(None).build().unwrap();
        assert!(client.get(url).send().await.is_err());
        let sent = tokio::task::spawn_blocking(|| server.join().unwrap())
            .await
            .unwrap();
        assert!(sent < 16 << 20, "{sent} bytes");
    }

    #[test]
    fn a_path_of_the_base_address_stays() {
        for (base, expected) in [
            ("http://host", "http://host/health"),
            ("http://host/", "http://host/health"),
            ("http://host/a", "http://host/a/health"),
            ("http://host/a/b//", "http://host/a/b/health"),
            ("http://host/a%20b", "http://host/a%20b/health"),
        ] {
            let base = Url::parse(base).unwrap();
            assert_eq!(url_below(&base, "/health").as_str(), expected);
        }
    }
}
