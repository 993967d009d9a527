//! What goes to a port: text, and the pulse that resets the board.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serialport::TTYPort;
use tokio::sync::mpsc;

use super::lines::{self, Step};
use crate::source::console::{ConsoleError, PATIENCE, Request, Written};
use crate::source::stream::Feed;

/// How soon a port that takes nothing notices that it is to be closed.
const LOOK: Duration = Duration::from_millis(50);

/// The writing side of an open port.
pub(super) struct Output {
    /// A way to the port that never waits, beside the one that is read.
    pub(super) writer: File,
    /// The lines.
    pub(super) port: TTYPort,
    /// The steps that reset the board.
    pub(super) reset: Vec<Step>,
}

/// Does what is asked until the port is to be closed. `feed` tells that, and keeps the stream from
/// ending before the port is closed here, too: it is dropped last.
pub(super) async fn serve(feed: Feed, mut requests: mpsc::Receiver<Request>, mut output: Output) {
    loop {
        let request = tokio::select! {
            biased;
            () = feed.closed() => return,
            request = requests.recv() => request,
        };
        let Some(request) = request else { return };
        let is_wanted = feed.clone();
        let obeyed = tokio::task::spawn_blocking(move || {
            output.obey(request, &is_wanted);
            output
        });
        let Ok(back) = obeyed.await else { return };
        output = back;
    }
}

impl Output {
    fn obey(&mut self, request: Request, feed: &Feed) {
        // Whoever asked may be gone.
        match request {
            Request::Write { bytes, answer } => {
                let deadline = Instant::now() + PATIENCE;
                let is_over = || feed.is_closed() || Instant::now() >= deadline;
                drop(answer.send(write(&mut self.writer, &bytes, is_over)));
            }
            Request::Reset { answer } => {
                let done = lines::go(&mut self.port, &self.reset);
                drop(answer.send(done.map_err(ConsoleError::Lines)));
            }
        }
    }
}

/// Writes all of it, or as much as is taken until it is over.
fn write(writer: &mut (impl Write + AsFd), bytes: &[u8], is_over: impl Fn() -> bool) -> Written {
    let length = bytes.len();
    let mut taken = 0;
    let outcome = loop {
        if taken == length {
            break Ok(());
        }
        match writer.write(&bytes[taken..]) {
            Ok(count @ 1..) => taken += count,
            Ok(0) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => break Err(ConsoleError::Write(error)),
        }
        if taken < length {
            if is_over() {
                break Err(ConsoleError::Stuck { taken, length });
            }
            wait_for_room(writer);
        }
    };
    Written { taken, outcome }
}

fn wait_for_room(writer: &impl AsFd) {
    let mut polled = [PollFd::new(writer.as_fd(), PollFlags::POLLOUT)];
    let timeout = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
    // Whatever this says, writing says it better.
    let _ready = poll(&mut polled, timeout);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    #[test]
    fn what_is_taken_late_arrives_whole_and_what_is_not_is_counted() {
        let (mut writer, mut reader) = UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        let length = bytes.len();
        let stuck = write(&mut writer, &bytes, || true);
        let Err(ConsoleError::Stuck { taken, .. }) = stuck.outcome else {
            panic!("{stuck:?}");
        };
        assert!(0 < taken && taken == stuck.taken && taken < length);

        let reading = thread::spawn(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            read
        });
        let rest = write(&mut writer, &bytes[taken..], || false);
        assert!(rest.outcome.is_ok());
        drop(writer);
        assert!(reading.join().unwrap() == bytes);
    }
}
