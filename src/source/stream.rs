//! The stream of chunks that an open source is: what every kind writes to and the driver reads.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Chunk, SourceError};
use crate::telemetry::Timestamp;

/// An open source. An error is the last thing that comes out of it; without one, the end of the
/// stream is the end of the input. Dropping it closes the source.
pub(super) struct Stream {
    chunks: mpsc::Receiver<Result<Chunk, SourceError>>,
    open: DropGuard,
}

impl Stream {
    /// What comes next; `None`: the source is closed, and nothing of it is left.
    pub(super) async fn next(&mut self) -> Option<Result<Chunk, SourceError>> {
        self.chunks.recv().await
    }

    /// What was read already and not yet taken.
    pub(super) fn next_ready(&mut self) -> Option<Chunk> {
        self.chunks.try_recv().ok()?.ok()
    }

    /// Closes the source, adds to `rest` what was read already, and returns when nothing of the
    /// source is left.
    pub(super) async fn close(self, rest: &mut Vec<Chunk>) {
        let Self { mut chunks, open } = self;
        drop(open);
        while let Some(chunk) = chunks.recv().await {
            rest.extend(chunk);
        }
    }
}

/// Chunks that may lie between reader and driver. Few: what is not read yet is safe with the
/// system, or holds back the program that writes it.
const DEPTH: usize = 8;

/// How much is read at once.
pub(super) const READ_SIZE: usize = 16 * 1024;

/// Nobody reads the stream any more.
pub(super) struct Closed;

/// Where a kind of source puts what it read. The stream lasts as long as its feeds: they are kept
/// until whatever was open is closed.
#[derive(Clone)]
pub(super) struct Feed {
    chunks: mpsc::Sender<Result<Chunk, SourceError>>,
    closed: CancellationToken,
    started: Instant,
}

impl Feed {
    /// A feed and the stream that comes out of it.
    pub(super) fn new(started: Instant) -> (Self, Stream) {
        let (sender, chunks) = mpsc::channel(DEPTH);
        let closed = CancellationToken::new();
        let stream = Stream {
            chunks,
            open: closed.clone().drop_guard(),
        };
        let feed = Self {
            chunks: sender,
            closed,
            started,
        };
        (feed, stream)
    }

    /// Puts bytes that were read just now. They arrive also when no more are wanted after them.
    pub(super) async fn put(&self, bytes: Bytes) -> Result<(), Closed> {
        let chunk = self.stamp(bytes);
        let sent = self.chunks.send(Ok(chunk)).await;
        self.more_wanted(sent.is_ok())
    }

    /// As [`put`](Self::put), from a thread.
    pub(super) fn put_blocking(&self, bytes: Bytes) -> Result<(), Closed> {
        let chunk = self.stamp(bytes);
        let sent = self.chunks.blocking_send(Ok(chunk));
        self.more_wanted(sent.is_ok())
    }

    /// Ends the stream with an error, for whoever still wants to know.
    pub(super) async fn fail(self, error: SourceError) {
        drop(self.chunks.send(Err(error)).await);
    }

    /// As [`fail`](Self::fail), from a thread.
    pub(super) fn fail_blocking(self, error: SourceError) {
        drop(self.chunks.blocking_send(Err(error)));
    }

    /// Returns when nobody reads the stream any more.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Whether nobody reads the stream any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    fn more_wanted(&self, sent: bool) -> Result<(), Closed> {
        if sent && !self.is_closed() {
            Ok(())
        } else {
            Err(Closed)
        }
    }

    fn stamp(&self, bytes: Bytes) -> Chunk {
        Chunk {
            bytes,
            received: Timestamp::now(),
            monotonic: self.started.elapsed(),
            discontinuity: false,
        }
    }
}

/// Runs what makes a stream as a task, which ends with the stream.
pub(super) fn produce<F>(started: Instant, make: impl FnOnce(Feed) -> F) -> Stream
where
    F: Future<Output = Result<(), SourceError>> + Send + 'static,
{
    let (feed, stream) = Feed::new(started);
    let making = make(feed.clone());
    tokio::spawn(async move {
        let outcome = tokio::select! {
            () = feed.closed() => Ok(()),
            outcome = making => outcome,
        };
        if let Err(error) = outcome {
            feed.fail(error).await;
        }
    });
    stream
}

/// Opens and reads something to its end in a thread of its own.
///
/// The thread belongs to nobody: a read of a terminal or a pipe cannot be cancelled, and a thread
/// of the runtime in such a read would hold up the end of the process until more input comes. This
/// one just ends with the process.
pub(super) fn read_in_thread<R: Read>(
    name: String,
    open: impl FnOnce() -> io::Result<R> + Send + 'static,
    started: Instant,
) -> Result<Stream, SourceError> {
    let (feed, stream) = Feed::new(started);
    let unread = name.clone();
    std::thread::Builder::new()
        .name("source".to_owned())
        .spawn(move || {
            if let Err(error) = open().and_then(|reader| read_to_end(reader, &feed)) {
                feed.fail_blocking(SourceError::Read { name, error });
            }
        })
        .map_err(|error| SourceError::Thread {
            name: unread,
            error,
        })?;
    Ok(stream)
}

fn read_to_end(mut reader: impl Read, feed: &Feed) -> io::Result<()> {
    let mut buffer = vec![0; READ_SIZE];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                let bytes = Bytes::copy_from_slice(&buffer[..count]);
                if feed.put_blocking(bytes).is_err() {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Keeps recorded or made-up bytes in step with the clock.
pub(super) struct Pace {
    due: tokio::time::Instant,
}

impl Pace {
    /// Beyond this a delay is not made up for: the stream was paused, not slow.
    const MAX_LAG: Duration = Duration::from_secs(1);

    /// The first bytes are due now.
    pub(super) fn new() -> Self {
        Self {
            due: tokio::time::Instant::now(),
        }
    }

    /// Moves on by `gap`. Says whether the time for it has come already.
    pub(super) fn advance(&mut self, gap: Duration) -> bool {
        let now = tokio::time::Instant::now();
        self.due += gap;
        if now.saturating_duration_since(self.due) > Self::MAX_LAG {
            self.due = now;
        }
        self.due <= now
    }

    /// Waits until the time has come.
    pub(super) async fn wait(&self) {
        tokio::time::sleep_until(self.due).await;
    }
}
