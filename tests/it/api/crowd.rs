//! Many who begin and do not finish, beside one who does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Gateway;
use crate::support::{PATIENCE, poll, request};

/// More than the API has seats.
const CROWD: usize = 100;

fn connect(port: u16, begin: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // Whoever has lost the seat already cannot write any more.
    drop(stream.write_all(begin.as_bytes()));
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Whether the gateway has closed the connection; what it said before is skipped.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

fn is_alive(gateway: &Gateway) {
    let before = Instant::now();
    let answer = request(gateway.port, "GET", "/healthz", &[], b"").unwrap();
    assert_eq!(answer.status, 200);
    assert!(before.elapsed() < Duration::from_secs(5), "{before:?}");
}

#[test]
fn who_finishes_is_answered_however_many_others_do_not() {
    let head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n";
    let body = "POST /api/v1/commands HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n\
         Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n{";
    let stream =
        "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n\r\n";
    for begin in ["", "G", head, body, stream] {
        let gateway = Gateway::start_with("token = \"s3cret\"", "");
        let crowd: Vec<_> = (0..CROWD).map(|_| connect(gateway.port, begin)).collect();
        for _ in 0..3 {
            is_alive(&gateway);
        }
        drop(crowd);
    }
}

/// Slow: these ten seconds pass.
#[test]
fn a_head_has_ten_seconds_and_a_body_too() {
    let gateway = Gateway::start("");
    let long_head = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ";
    let long_body = "POST /api/v1/commands HTTP/1.1\r\nHost: localhost\r\n\
                     Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n";
    let start = Instant::now();
    let mut slow = [("", ""), (long_head, " "), (long_body, " ")]
        .map(|(begin, more)| (connect(gateway.port, begin), more, None));
    let ended = poll(PATIENCE, || {
        for (stream, more, end) in &mut slow {
            if end.is_none() {
                // A byte now and then is no progress.
                drop(stream.write_all(more.as_bytes()));
                *end = is_closed(stream).then(|| start.elapsed());
            }
        }
        slow.iter().all(|(.., end)| end.is_some()).then_some(())
    });
    let ends = slow.map(|(.., end)| end);
    assert!(ended.is_some(), "{ends:?}");
    for end in ends.into_iter().flatten() {
        assert!(
            end >= Duration::from_secs(9) && end < Duration::from_secs(14),
            "{end:?}"
        );
    }
    is_alive(&gateway);
}
