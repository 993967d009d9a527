//! Forwards the chunks of an open source, obeys the operator, and opens the source again.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::console::{Console, Request};
use super::stream::Stream;
use super::{Chunk, End, SourceError};
use crate::backoff::Backoff;
use crate::monitor::{Directive, LinkState, SourceMonitor};
use crate::repeated::Topic;
use crate::telemetry::Timestamp;

/// A port that is not there is looked for every five seconds: that needs no line each.
const FAILED: Topic = Topic::of_attempts("source-failed").at_once(1);
const OPENED: Topic = Topic::of_attempts("source-opened");
const STUCK: Topic = Topic::new("source-does-not-close");
const HELD: Topic = Topic::of_attempts("source-held");

/// How long a source may take to let go of what it has open: a program gets two seconds to end
/// before it is killed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);

/// A kind of source that is opened again whenever it ends.
pub(super) trait Reopen {
    /// The longest wait between two attempts.
    const LONGEST_WAIT: Duration;

    /// What is opened, as far as it is known before.
    fn peer(&self) -> String;

    /// Opens it. Dropping the future leaves nothing open.
    fn open(&self, started: Instant) -> impl Future<Output = Result<Open, SourceError>> + Send;
}

/// A source that was opened.
pub(super) struct Open {
    /// What it turned out to be.
    pub(super) peer: String,
    /// What comes from it.
    pub(super) stream: Stream,
    /// What may be asked of it; nobody asks any more once it is to be closed.
    pub(super) requests: mpsc::Sender<Request>,
}

/// What ends the forwarding of a stream.
enum Interruption {
    Shutdown,
    Hold,
    Reconnect,
    Failed(SourceError),
    InputEnded,
}

/// Nobody takes chunks any more, or shutdown was asked for.
struct Stopped;

/// What every kind of source works with.
pub(super) struct Driver {
    out: mpsc::Sender<Chunk>,
    monitor: SourceMonitor,
    directive: watch::Receiver<Directive>,
    console: Arc<Console>,
    /// Reconnects that were asked for and done, or came to nothing.
    reconnects_seen: u64,
    started: Instant,
    interrupted: bool,
}

impl Driver {
    pub(super) fn new(
        out: mpsc::Sender<Chunk>,
        monitor: SourceMonitor,
        directive: watch::Receiver<Directive>,
        console: Arc<Console>,
    ) -> Self {
        let reconnects_seen = directive.borrow().reconnects;
        Self {
            out,
            monitor,
            directive,
            console,
            reconnects_seen,
            started: Instant::now(),
            interrupted: false,
        }
    }

    /// Plays a source that has an end and cannot be opened again.
    pub(super) async fn play(
        mut self,
        peer: &str,
        open: impl FnOnce(Instant) -> Result<Stream, SourceError>,
    ) -> Result<End, SourceError> {
        self.monitor.set_peer(self.monitor.source(), peer);
        self.set(LinkState::Connecting);
        let end = match open(self.started) {
            Ok(stream) => {
                let source = self.monitor.own_name();
                info!(source, peer, "Source opened.");
                self.play_to_end(stream).await
            }
            Err(error) => Err(error),
        };
        self.set(LinkState::Ended);
        end
    }

    async fn play_to_end(&mut self, mut stream: Stream) -> Result<End, SourceError> {
        loop {
            if self.stay_held().await.is_err() {
                return Ok(End::Cancelled);
            }
            self.set(LinkState::Up);
            match self.forward(&mut stream).await {
                Interruption::Hold => {}
                Interruption::Reconnect => {
                    debug!("This kind of source cannot be opened again; it goes on.");
                }
                Interruption::InputEnded => return Ok(End::InputEnded),
                Interruption::Failed(error) => return Err(error),
                Interruption::Shutdown => {
                    // Not waited for: a read of standard input may never return.
                    while let Some(chunk) = stream.next_ready() {
                        if self.send(chunk).await.is_err() {
                            break;
                        }
                    }
                    return Ok(End::Cancelled);
                }
            }
        }
    }

    /// Keeps a source open until shutdown.
    pub(super) async fn keep_open(mut self, kind: &impl Reopen) -> End {
        self.monitor.set_peer(self.monitor.source(), kind.peer());
        let Stopped = self.reopen_forever(kind).await;
        self.set(LinkState::Ended);
        End::Cancelled
    }

    async fn reopen_forever<K: Reopen>(&mut self, kind: &K) -> Stopped {
        let mut backoff = Backoff::new(K::LONGEST_WAIT);
        let mut was_up = false;
        loop {
            if let Err(stopped) = self.stay_held().await {
                return stopped;
            }
            self.set(LinkState::Connecting);
            let opened = tokio::select! {
                biased;
                () = retired(&mut self.directive) => return Stopped,
                opened = kind.open(self.started) => opened,
            };
            let error = match opened {
                Ok(open) => {
                    if was_up {
                        self.monitor.count_reconnect(self.monitor.source());
                    }
                    was_up = true;
                    let opened_at = Instant::now();
                    let interruption = self.use_up(open).await;
                    backoff.connection_ended(opened_at.elapsed(), false);
                    match interruption {
                        Interruption::Shutdown => return Stopped,
                        Interruption::Hold | Interruption::Reconnect => continue,
                        Interruption::Failed(error) => error,
                        Interruption::InputEnded => SourceError::ReaderStopped,
                    }
                }
                Err(error) => error,
            };
            if let Err(stopped) = self.pause(&error, backoff.next_delay()).await {
                return stopped;
            }
        }
    }

    /// Forwards a stream until something ends it, then closes it.
    async fn use_up(&mut self, mut open: Open) -> Interruption {
        let (source, peer) = (self.monitor.own_name(), open.peer.clone());
        FAILED.over(self.monitor.name().as_str());
        OPENED.say(self.monitor.name().as_str(), &open.peer, move |sum| {
            info!(source, peer, repeated = sum.words(), "Source opened.");
        });
        self.monitor
            .set_peer(self.monitor.source(), open.peer.as_str());
        self.set(LinkState::Up);
        let console = Arc::clone(&self.console);
        let connection = console.connect(open.requests);
        let interruption = self.forward(&mut open.stream).await;
        drop(connection);
        // What was read before the end still counts, and the port must be free before it can be
        // opened again.
        let mut rest = Vec::new();
        let closed = timeout(CLOSE_TIMEOUT, open.stream.close(&mut rest)).await;
        if closed.is_err() {
            let source = self.monitor.own_name();
            STUCK.say(self.monitor.name().as_str(), "", move |sum| {
                warn!(
                    source,
                    peer = %open.peer,
                    repeated = sum.words(),
                    "The source takes too long to close; it is left behind."
                );
            });
        }
        for chunk in rest {
            if self.send(chunk).await.is_err() {
                return Interruption::Shutdown;
            }
        }
        self.interrupted = true;
        interruption
    }

    /// Says that an attempt failed, and waits for the next one.
    async fn pause(&mut self, error: &SourceError, delay: Duration) -> Result<(), Stopped> {
        let reason = error.to_string();
        self.set(LinkState::BackingOff {
            until: Timestamp::now().plus(delay),
            reason: reason.clone(),
        });
        let source = self.monitor.own_name();
        FAILED.say(self.monitor.name().as_str(), &reason.clone(), move |sum| {
            warn!(
                source,
                error = %reason,
                retry_in = %Seconds(delay),
                repeated = sum.words(),
                "The source does not deliver; it is tried again."
            );
        });
        match timeout(delay, self.interruption()).await {
            Ok(Interruption::Shutdown) => Err(Stopped),
            _ => Ok(()),
        }
    }

    /// Sends what comes out of a stream until something ends that.
    async fn forward(&mut self, stream: &mut Stream) -> Interruption {
        loop {
            tokio::select! {
                biased;
                interruption = self.interruption() => return interruption,
                chunk = stream.next() => match chunk {
                    None => return Interruption::InputEnded,
                    Some(Err(error)) => return Interruption::Failed(error),
                    Some(Ok(chunk)) => if self.send(chunk).await.is_err() {
                        return Interruption::Shutdown;
                    },
                },
            }
        }
    }

    /// Waits for room and sends. During a shutdown it only uses the room that there is.
    async fn send(&mut self, mut chunk: Chunk) -> Result<(), Stopped> {
        let permit = tokio::select! {
            biased;
            permit = self.out.reserve() => permit.map_err(|_| Stopped)?,
            () = retired(&mut self.directive) => return Err(Stopped),
        };
        chunk.discontinuity = std::mem::take(&mut self.interrupted);
        let count = u64::try_from(chunk.bytes.len()).unwrap_or(u64::MAX);
        self.monitor.counters().source_bytes.add(count);
        self.monitor.hear(self.monitor.source(), chunk.received);
        permit.send(chunk);
        Ok(())
    }

    /// Waits for the operator to ask for something.
    async fn interruption(&mut self) -> Interruption {
        let seen = self.reconnects_seen;
        let is_asked = |now: &Directive| now.retired || now.is_held() || now.reconnects != seen;
        let now = tokio::select! {
            biased;
            () = self.out.closed() => return Interruption::Shutdown,
            now = told(&mut self.directive, is_asked) => now,
        };
        if now.retired {
            return Interruption::Shutdown;
        }
        if now.is_held() {
            return Interruption::Hold;
        }
        self.reconnects_seen = now.reconnects;
        Interruption::Reconnect
    }

    /// Waits while the operator holds the source.
    async fn stay_held(&mut self) -> Result<(), Stopped> {
        if !self.directive.borrow().is_held() {
            return Ok(());
        }
        let source = self.monitor.own_name();
        HELD.say(self.monitor.name().as_str(), "held", move |sum| {
            info!(
                source,
                repeated = sum.words(),
                "The source is held until it is released."
            );
        });
        self.set(LinkState::Held);
        let is_over = |now: &Directive| now.retired || !now.is_held();
        tokio::select! {
            biased;
            () = self.out.closed() => return Err(Stopped),
            // Without anybody who could release it, it is released.
            _ = self.directive.wait_for(is_over) => {}
        }
        let now = self.directive.borrow();
        if now.retired {
            return Err(Stopped);
        }
        // A hold is stronger than a reconnect; the wish is not kept for afterwards.
        self.reconnects_seen = now.reconnects;
        drop(now);
        let source = self.monitor.own_name();
        HELD.say(self.monitor.name().as_str(), "released", move |sum| {
            info!(source, repeated = sum.words(), "The source is released.");
        });
        Ok(())
    }

    fn set(&self, state: LinkState) {
        self.monitor.set_link(self.monitor.source(), state);
    }
}

/// Waits until what is told to the source is so; for ever when there is nobody who could tell it.
async fn told(
    directive: &mut watch::Receiver<Directive>,
    is_so: impl FnMut(&Directive) -> bool,
) -> Directive {
    if let Ok(now) = directive.wait_for(is_so).await {
        return now.clone();
    }
    std::future::pending().await
}

/// Waits until the source is told to end.
async fn retired(directive: &mut watch::Receiver<Directive>) {
    told(directive, |now| now.retired).await;
}

/// A duration as it is logged: `4.3s`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}s", self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Write};

    use tokio::task::JoinHandle;

    use super::*;
    use crate::config::Source;
    use crate::monitor::{LinkId, Monitor, Order};
    use crate::source::stream::read_in_thread;

    const DEADLINE: Duration = Duration::from_secs(30);

    /// A source that reads a pipe as it would standard input.
    struct Piped {
        input: PipeWriter,
        chunks: mpsc::Receiver<Chunk>,
        monitor: Arc<Monitor>,
        directive: watch::Sender<Directive>,
        task: JoinHandle<Result<End, SourceError>>,
    }

    fn piped() -> Piped {
        let (reader, input) = std::io::pipe().unwrap();
        let (out, chunks) = mpsc::channel(4);
        let directive = watch::Sender::new(Directive::default());
        let monitor = Arc::new(Monitor::default());
        let reports = monitor.source(&LinkId::source());
        let console = Arc::new(Console::new(&Source::Stdin, reports.clone()));
        let driver = Driver::new(out, reports, directive.subscribe(), console);
        let open = |started| read_in_thread("pipe".to_owned(), || Ok(reader), started);
        Piped {
            input,
            chunks,
            monitor,
            directive,
            task: tokio::spawn(driver.play("pipe", open)),
        }
    }

    impl Piped {
        fn order(&self, order: Order) {
            self.directive
                .send_modify(|directive| directive.obey(order));
        }

        async fn read(&mut self, expected: &[u8]) {
            let mut read = Vec::new();
            while read.len() < expected.len() {
                let chunk = timeout(DEADLINE, self.chunks.recv()).await.unwrap();
                read.extend_from_slice(&chunk.unwrap().bytes);
            }
            assert_eq!(read, expected);
        }

        fn state(&self) -> LinkState {
            self.monitor.link(&LinkId::source()).unwrap().state
        }

        async fn wait_for(&self, state: LinkState) {
            let start = Instant::now();
            while self.state() != state {
                assert!(start.elapsed() < DEADLINE, "never {state:?}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    #[tokio::test]
    async fn input_is_read_to_its_end() {
        let mut piped = piped();
        piped.input.write_all(b"one").unwrap();
        piped.read(b"one").await;
        piped.order(Order::Reconnect);
        piped.input.write_all(b"two").unwrap();
        piped.read(b"two").await;
        assert_eq!(piped.state(), LinkState::Up);
        drop(piped.input);
        let end = timeout(DEADLINE, piped.task).await.unwrap().unwrap();
        assert_eq!(end.unwrap(), End::InputEnded);
        let link = piped.monitor.link(&LinkId::source()).unwrap();
        assert_eq!(link.state, LinkState::Ended);
    }

    #[tokio::test]
    async fn a_read_that_waits_for_input_does_not_hold_up_a_shutdown() {
        let mut piped = piped();
        piped.input.write_all(b"one").unwrap();
        piped.read(b"one").await;
        let start = Instant::now();
        piped.directive.send_modify(|it| it.retired = true);
        let end = timeout(DEADLINE, piped.task).await.unwrap().unwrap();
        assert_eq!(end.unwrap(), End::Cancelled);
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn held_input_waits_until_it_is_released() {
        let mut piped = piped();
        piped.wait_for(LinkState::Up).await;
        piped.order(Order::Hold);
        piped.wait_for(LinkState::Held).await;
        piped.input.write_all(b"later").unwrap();
        let silence = timeout(Duration::from_millis(50), piped.chunks.recv()).await;
        assert!(silence.is_err());
        piped.order(Order::Release);
        piped.read(b"later").await;
        piped.wait_for(LinkState::Up).await;
        drop(piped.input);
        drop(piped.task);
    }
}
