//! As much of HTTP/1.1 as a client that sends whole bodies needs.

use std::fmt;
use std::io::{self, BufRead, Read};

/// A request, its body decompressed.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: url::Url,
    pub(super) authorization: Option<String>,
    pub(super) gzip: bool,
    pub(super) body: String,
    /// Whether the client sends no more on this connection.
    pub(super) last: bool,
}

/// An answer.
pub(super) struct Response {
    status: u16,
    headers: Vec<String>,
    body: String,
}

impl Request {
    /// Reads the next one; `None` at the end of the connection.
    pub(super) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let Some(start) = read_line(reader)? else {
            return Ok(None);
        };
        let mut headers = Vec::new();
        while let Some(line) = read_line(reader)?.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(|| invalid("header"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let header = |name: &str| {
            let found = headers.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone())
        };
        let length = header("content-length").map(|text| text.parse::<usize>());
        let mut body = vec![
            0;
            length
                .transpose()
                .map_err(|_| invalid("length"))?
                .unwrap_or(0)
        ];
        reader.read_exact(&mut body)?;
        let gzip = header("content-encoding").is_some_and(|encoding| encoding == "gzip");
        let mut words = start.split(' ');
        let mut word = || words.next().ok_or_else(|| invalid("request line"));
        Ok(Some(Self {
            method: word()?.to_owned(),
            target: url::Url::parse("http://localhost")
                .and_then(|base| base.join(word().unwrap_or_default()))
                .map_err(|_| invalid("target"))?,
            last: word()? == "HTTP/1.0" || header("connection").is_some_and(|it| it == "close"),
            authorization: header("authorization"),
            gzip,
            body: decode(&body, gzip)?,
        }))
    }
}

impl Response {
    pub(super) fn new(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// An error as InfluxDB words it.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "code": code, "message": message });
        Self::new(status, &body.to_string()).with_header("Content-Type", "application/json")
    }

    pub(super) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(format!("{name}: {value}"));
        self
    }
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            status,
            headers,
            body,
        } = self;
        write!(f, "HTTP/1.1 {status} Answer\r\n")?;
        for header in headers {
            write!(f, "{header}\r\n")?;
        }
        if *status != 204 {
            write!(f, "Content-Length: {}\r\n", body.len())?;
        }
        write!(f, "\r\n{body}")
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let count = reader.read_line(&mut line)?;
    Ok((count > 0).then(|| line.trim_end().to_owned()))
}

fn decode(body: &[u8], gzip: bool) -> io::Result<String> {
    let mut text = String::new();
    if body.is_empty() {
        // A request without content has none to decompress, whatever its headers say.
    } else if gzip {
        flate2::read::GzDecoder::new(body).read_to_string(&mut text)?;
    } else {
        { body }.read_to_string(&mut text)?;
    }
    Ok(text)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("invalid {what}"))
}
