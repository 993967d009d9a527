//! The stream of chunks that an open source is: what every kind writes to and the driver reads.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Chunk, SourceError};
use crate::telemetry::Timestamp;

/// An open source. An error is the last thing that comes out of it; without one, the end of the
/// stream is the end of the input. Closing or dropping it closes the source, which keeps its sender
/// until it has let go of whatever it had open.
pub(super) type Stream = mpsc::Receiver<Result<Chunk, SourceError>>;

/// Chunks that may lie between reader and driver. Few: what is not read yet is safe with the
/// system, or holds back the program that writes it.
const DEPTH: usize = 8;

/// How much is read at once.
pub(super) const READ_SIZE: usize = 64 * 1024;

/// Nobody reads the stream any more.
pub(super) struct Closed;

/// Where a kind of source puts what it read.
#[derive(Clone)]
pub(super) struct Feed {
    chunks: mpsc::Sender<Result<Chunk, SourceError>>,
    started: Instant,
}

impl Feed {
    /// A feed and the stream that comes out of it.
    pub(super) fn new(started: Instant) -> (Self, Stream) {
        let (chunks, stream) = mpsc::channel(DEPTH);
        (Self { chunks, started }, stream)
    }

    /// Puts bytes that were read just now.
    pub(super) async fn put(&self, bytes: Bytes) -> Result<(), Closed> {
        let chunk = self.stamp(bytes);
        self.chunks.send(Ok(chunk)).await.map_err(|_| Closed)
    }

    /// As [`put`](Self::put), from a thread.
    pub(super) fn put_blocking(&self, bytes: Bytes) -> Result<(), Closed> {
        let chunk = self.stamp(bytes);
        self.chunks.blocking_send(Ok(chunk)).map_err(|_| Closed)
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
        self.chunks.closed().await;
    }

    /// Whether nobody reads the stream any more.
    pub(super) fn is_closed(&self) -> bool {
        self.chunks.is_closed()
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
    let thread_name = name.clone();
    let thread = std::thread::Builder::new().name("source".to_owned());
    let spawned = thread.spawn(move || {
        if let Err(error) = open().and_then(|reader| read_to_end(reader, &feed)) {
            feed.fail_blocking(SourceError::Read { name, error });
        }
    });
    match spawned {
        Ok(_) => Ok(stream),
        Err(error) => Err(SourceError::Thread {
            name: thread_name,
            error,
        }),
    }
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
