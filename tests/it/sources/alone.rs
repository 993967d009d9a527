//! Sources against real pseudo-terminals, programs and files.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fieldgate::config::{
    ControlLine, FlowControl, LineEnding, Port, PortSelector, Reset, Simulator, Source, Speed,
    StopBits,
};
use fieldgate::monitor::{
    Directive, LinkId, LinkState, LinkStatus, MAX_TEXT, Monitor, Order, SourceMonitor, TrafficKind,
};
use fieldgate::source::{self, Chunk, Console, ConsoleError, End, SourceError};
use fieldgate::telemetry::Format;
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Whatever does not happen in this time does not happen.
const DEADLINE: Duration = Duration::from_secs(30);

/// Far above what a stop takes, far below the two seconds that a stubborn program gets.
const PROMPT: Duration = Duration::from_secs(1);

/// A source that runs.
struct Running {
    chunks: mpsc::Receiver<Chunk>,
    monitor: SourceMonitor,
    directive: watch::Sender<Directive>,
    console: Arc<Console>,
    task: JoinHandle<Result<End, SourceError>>,
}

impl Running {
    fn start(config: Source) -> Self {
        Self::start_with_room(config, 16)
    }

    fn start_with_room(config: Source, room: usize) -> Self {
        let (out, chunks) = mpsc::channel(room);
        let directive = watch::Sender::new(Directive::default());
        let monitor = Arc::new(Monitor::default()).source(&LinkId::source());
        let console = Arc::new(Console::new(&config, monitor.clone()));
        let task = tokio::spawn({
            let (monitor, told) = (monitor.clone(), directive.subscribe());
            let console = Arc::clone(&console);
            async move { source::run(&config, &Format::Board, out, monitor, told, console).await }
        });
        Self {
            chunks,
            monitor,
            directive,
            console,
            task,
        }
    }

    fn order(&self, order: Order) {
        self.directive
            .send_modify(|directive| directive.obey(order));
    }

    fn link(&self) -> LinkStatus {
        self.monitor.link(&LinkId::source()).unwrap()
    }

    /// Waits until the link's state has this word.
    async fn wait_for(&self, word: &str) -> LinkStatus {
        let start = Instant::now();
        loop {
            let link = self.link();
            if link.state.word() == word {
                return link;
            }
            assert!(start.elapsed() < DEADLINE, "not {word} but {link:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the source backs off, and says why it does.
    async fn failure(&self) -> String {
        match self.wait_for("backing off").await.state {
            LinkState::BackingOff { reason, .. } => reason,
            state => panic!("{state:?}"),
        }
    }

    async fn chunk(&mut self) -> Chunk {
        let chunk = timeout(DEADLINE, self.chunks.recv()).await;
        chunk.expect("bytes in time").expect("more bytes")
    }

    /// Reads on until so many bytes are there.
    async fn read(&mut self, length: usize) -> Vec<Chunk> {
        let (mut chunks, mut read) = (Vec::new(), 0);
        while read < length {
            let chunk = self.chunk().await;
            read += chunk.bytes.len();
            chunks.push(chunk);
        }
        chunks
    }

    /// Reads on until a line is complete.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        while !line.ends_with('\n') {
            line.push_str(std::str::from_utf8(&self.chunk().await.bytes).unwrap());
        }
        line
    }

    /// Reads to the end of the stream.
    async fn rest(&mut self) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        while let Some(chunk) = timeout(DEADLINE, self.chunks.recv()).await.unwrap() {
            chunks.push(chunk);
        }
        chunks
    }

    async fn ended(self) -> Result<End, SourceError> {
        let end = timeout(DEADLINE, self.task).await.expect("ends in time");
        let link = self.monitor.link(&LinkId::source()).unwrap();
        assert_eq!(link.state, LinkState::Ended);
        end.unwrap()
    }

    /// Shuts down and says how long that took.
    async fn stop(self) -> Duration {
        let start = Instant::now();
        self.directive
            .send_modify(|directive| directive.retired = true);
        assert_eq!(self.ended().await.unwrap(), End::Cancelled);
        start.elapsed()
    }
}

fn bytes(chunks: &[Chunk]) -> Vec<u8> {
    chunks
        .iter()
        .flat_map(|chunk| chunk.bytes.to_vec())
        .collect()
}

fn text(chunks: &[Chunk]) -> String {
    String::from_utf8(bytes(chunks)).unwrap()
}

/// A board on a cable: the far end of a pseudo-terminal, and the name of the near end.
/// No program that another test starts meanwhile keeps it open.
fn board() -> (PtyMaster, PathBuf) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let board = posix_openpt(flags).unwrap();
    grantpt(&board).unwrap();
    unlockpt(&board).unwrap();
    let name = ptsname_r(&board).unwrap();
    (board, name.into())
}

fn serial(path: &Path) -> Source {
    Source::Serial(Port::new(PortSelector::Path(path.to_owned())))
}

fn shell(script: &str) -> Source {
    Source::Command {
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        line_ending: LineEnding::Lf,
    }
}

fn file(path: &Path, speed: Speed) -> Source {
    Source::File {
        path: path.to_owned(),
        speed,
    }
}

fn simulator(rate: f64, count: Option<u64>) -> Source {
    Source::Simulator(Simulator {
        nodes: 3,
        rate,
        seed: Some(11),
        damage: 0.1,
        count,
    })
}

#[tokio::test]
async fn a_port_goes_on_when_it_comes_back_under_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("ttyBOARD");
    let (mut first, path) = board();
    symlink(path, &name).unwrap();
    let mut running = Running::start(serial(&name));
    running.wait_for("up").await;
    assert_eq!(running.link().peer, format!("serial {}", name.display()));
    first.write_all(b"{\"ts\":1\x00\xff").unwrap();
    let chunks = running.read(9).await;
    assert_eq!(bytes(&chunks), b"{\"ts\":1\x00\xff");
    assert!(!chunks[0].discontinuity);
    assert_eq!(running.monitor.counters().source_bytes.get(), 9);

    drop(first);
    let reason = running.failure().await;
    assert!(reason.contains("was lost"), "{reason}");
    let (mut second, path) = board();
    fs::remove_file(&name).unwrap();
    symlink(path, &name).unwrap();
    running.wait_for("up").await;
    assert_eq!(running.link().reconnects, 1);
    second.write_all(b"two").unwrap();
    second.write_all(b"three").unwrap();
    let chunks = running.read(8).await;
    assert_eq!(text(&chunks), "twothree");
    assert!(chunks[0].discontinuity);
    assert!(chunks[1..].iter().all(|chunk| !chunk.discontinuity));
    assert!(running.stop().await < PROMPT);
}

#[tokio::test]
async fn a_missing_port_is_named_and_a_reconnect_cuts_the_pause_short() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("ttyBOARD");
    let running = Running::start(serial(&name));
    let reason = running.failure().await;
    assert!(reason.contains("ttyBOARD does not exist"), "{reason}");
    let (_board, path) = board();
    symlink(path, &name).unwrap();
    let asked = Instant::now();
    running.order(Order::Reconnect);
    running.wait_for("up").await;
    assert!(asked.elapsed() < PROMPT, "{:?}", asked.elapsed());
    assert_eq!(running.link().reconnects, 0);
    running.stop().await;
}

#[tokio::test]
async fn a_port_belongs_to_one_program_until_it_is_held() {
    let (mut board, path) = board();
    let mut first = Running::start(serial(&path));
    first.wait_for("up").await;
    let second = Running::start(serial(&path));
    let reason = second.failure().await;
    assert!(reason.contains("in use by another program"), "{reason}");
    assert!(second.stop().await < PROMPT);

    first.order(Order::Hold);
    first.wait_for("held").await;
    let second = Running::start(serial(&path));
    second.wait_for("up").await;
    second.stop().await;

    first.order(Order::Release);
    first.wait_for("up").await;
    board.write_all(b"on").unwrap();
    let chunks = first.read(2).await;
    assert!(chunks[0].discontinuity);
    first.stop().await;
}

#[tokio::test]
async fn a_reconnect_opens_an_open_port_anew() {
    let (mut board, path) = board();
    let mut running = Running::start(serial(&path));
    running.wait_for("up").await;
    running.order(Order::Reconnect);
    let start = Instant::now();
    while running.link().reconnects == 0 {
        assert!(start.elapsed() < DEADLINE);
        tokio::task::yield_now().await;
    }
    running.wait_for("up").await;
    board.write_all(b"on").unwrap();
    assert!(running.chunk().await.discontinuity);
    assert_eq!(running.link().last_error, None);
    running.stop().await;
}

#[tokio::test]
async fn a_port_is_framed_as_configured() {
    use nix::sys::termios::{ControlFlags, InputFlags, tcgetattr};

    let (board, name) = board();
    let mut port = Port::new(PortSelector::Path(name));
    port.stop_bits = StopBits::Two;
    port.flow_control = FlowControl::Software;
    port.dtr = ControlLine::Leave;
    let running = Running::start(Source::Serial(port));
    running.wait_for("up").await;
    let settings = tcgetattr(&board).unwrap();
    assert!(settings.control_flags.contains(ControlFlags::CSTOPB));
    assert!(!settings.control_flags.contains(ControlFlags::HUPCL));
    assert!(settings.input_flags.contains(InputFlags::IXON));
    running.stop().await;
}

#[tokio::test]
async fn what_is_sent_arrives_with_its_line_ending_and_stands_in_the_traffic() {
    let (mut board, name) = board();
    let mut port = Port::new(PortSelector::Path(name));
    port.line_ending = LineEnding::CrLf;
    let running = Running::start(Source::Serial(port));
    running.wait_for("up").await;
    for text in ["led on", "", "grüße"] {
        running.console.send(text).await.unwrap();
        let expected = format!("{text}\r\n");
        let mut read = vec![0; expected.len()];
        board.read_exact(&mut read).unwrap();
        assert_eq!(read, expected.as_bytes());
    }
    let sent = running.monitor.activity.traffic.since(0);
    let sent: Vec<_> = sent
        .iter()
        .map(|it| (it.entry.kind, &*it.entry.bytes))
        .collect();
    let expected = ["led on\r\n", "\r\n", "grüße\r\n"];
    assert_eq!(
        sent,
        expected.map(|text| (TrafficKind::Sent, text.as_bytes()))
    );
    let too_long = running.console.send(&"x".repeat(MAX_TEXT + 1)).await;
    assert!(matches!(too_long, Err(ConsoleError::TooLong)));
    running.stop().await;
}

#[tokio::test]
async fn a_board_that_takes_nothing_holds_up_neither_who_sends_nor_a_shutdown() {
    let (mut board, name) = board();
    let mut running = Running::start(serial(&name));
    running.wait_for("up").await;
    let text = "x".repeat(MAX_TEXT);
    let refusal = loop {
        match running.console.send(&text).await {
            Ok(()) => {}
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, ConsoleError::Stuck { .. }), "{refusal}");
    // What it says is read all the same.
    board.write_all(b"busy").unwrap();
    assert_eq!(running.read(4).await[0].bytes, "busy");
    let console = Arc::clone(&running.console);
    let waiting = tokio::spawn(async move { console.send("more").await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(running.stop().await < PROMPT);
    let answer = timeout(DEADLINE, waiting).await.unwrap().unwrap();
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn a_reset_says_why_it_cannot_be() {
    let (_board, name) = board();
    let mut port = Port::new(PortSelector::Path(name));
    let none = Running::start(Source::Serial(port.clone()));
    none.wait_for("up").await;
    let refused = none.console.reset().await;
    assert!(matches!(refused, Err(ConsoleError::ResetNotConfigured)));
    none.stop().await;

    port.reset = Reset::Esp;
    let without_lines = Running::start(Source::Serial(port));
    without_lines.wait_for("up").await;
    let refused = without_lines.console.reset().await;
    assert!(
        matches!(refused, Err(ConsoleError::Lines(_))),
        "{refused:?}"
    );
    without_lines.order(Order::Hold);
    without_lines.wait_for("held").await;
    let refused = without_lines.console.reset().await;
    assert!(matches!(refused, Err(ConsoleError::NotOpen)));
    without_lines.stop().await;

    let program = Running::start(shell("cat"));
    let refused = program.console.reset().await;
    assert!(matches!(refused, Err(ConsoleError::NoPort)));
    program.stop().await;
}

#[tokio::test]
async fn a_program_reads_what_is_sent_on_its_standard_input() {
    let mut running = Running::start(shell("while read -r line; do echo \"got $line\"; done"));
    running.wait_for("up").await;
    running.console.send("status").await.unwrap();
    assert_eq!(running.line().await, "got status\n");
    assert!(running.stop().await < PROMPT);

    let mut deaf = Running::start(shell("exec <&-; echo deaf; exec sleep 1000"));
    assert_eq!(deaf.line().await, "deaf\n");
    let refused = deaf.console.send("status").await;
    assert!(
        matches!(refused, Err(ConsoleError::Write(_))),
        "{refused:?}"
    );
    assert!(deaf.monitor.activity.traffic.since(0).is_empty());
    deaf.stop().await;

    let simulator = Running::start(simulator(1.0, None));
    let refused = simulator.console.send("status").await;
    assert!(matches!(refused, Err(ConsoleError::TakesNoInput)));
    simulator.stop().await;
}

#[tokio::test]
async fn a_board_that_is_not_there_is_named() {
    let selector = PortSelector::SerialNumber("fieldgate-test".to_owned());
    let running = Running::start(Source::Serial(Port::new(selector)));
    let reason = running.failure().await;
    assert!(
        reason.contains("USB serial number fieldgate-test"),
        "{reason}"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_program_that_dies_is_started_again() {
    let mut running = Running::start(shell("echo one; echo no probe found >&2; exit 3"));
    assert_eq!(running.line().await, "one\n");
    let reason = running.failure().await;
    assert!(
        reason.contains("program sh ended with exit status: 3"),
        "{reason}"
    );
    assert!(reason.ends_with(": no probe found"), "{reason}");
    running.order(Order::Reconnect);
    let again = running.chunk().await;
    assert!(again.discontinuity);
    assert!(running.link().reconnects >= 1);
    running.stop().await;
}

#[tokio::test]
async fn a_clean_exit_is_no_end_and_the_last_output_is_not_lost() {
    let mut running = Running::start(shell(
        "i=0; while [ $i -lt 20000 ]; do echo a line; i=$((i+1)); done",
    ));
    let expected = "a line\n".repeat(20_000);
    let chunks = running.read(expected.len()).await;
    assert_eq!(text(&chunks), expected);
    let reason = running.failure().await;
    assert!(reason.contains("exit status: 0"), "{reason}");
    running.stop().await;
}

#[tokio::test]
async fn what_a_dead_program_started_ends_as_well() {
    let mut running = Running::start(shell("sleep 1000 & echo $!; exit 4"));
    let child = running.line().await;
    assert!(running.failure().await.contains("exit status: 4"));
    assert_gone(&child).await;
    running.stop().await;
}

#[tokio::test]
async fn a_program_that_closes_its_output_is_ended() {
    let mut running = Running::start(shell("echo $$; exec sleep 1000 >&-"));
    let program = running.line().await;
    assert!(running.failure().await.contains("SIGTERM"));
    assert_gone(&program).await;
    running.stop().await;
}

#[tokio::test]
async fn a_shutdown_ends_the_program_and_its_children() {
    let mut running = Running::start(shell("sleep 1000 & echo $!; wait"));
    let child = running.line().await;
    assert!(is_alive(&child));
    assert!(running.stop().await < PROMPT);
    assert_gone(&child).await;
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed() {
    let mut running = Running::start(shell("trap '' TERM; echo $$; while :; do sleep 0.05; done"));
    let program = running.line().await;
    let took = running.stop().await;
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert_gone(&program).await;
}

#[tokio::test]
async fn a_held_program_is_ended_until_it_is_released() {
    let mut running = Running::start(shell("echo $$; exec sleep 1000"));
    let first = running.line().await;
    running.order(Order::Hold);
    running.wait_for("held").await;
    assert!(!is_alive(&first));
    running.order(Order::Release);
    let second = running.line().await;
    assert_ne!(first, second);
    running.stop().await;
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let running = Running::start(Source::Command {
        argv: vec!["fieldgate-test-no-such-program".to_owned()],
        line_ending: LineEnding::Lf,
    });
    let reason = running.failure().await;
    assert!(
        reason.contains("fieldgate-test-no-such-program was not found"),
        "{reason}"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_file_is_read_to_its_end() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dirty.bin"));
    let mut running = Running::start(file(path, Speed::Max));
    let recorded = fs::read(path).unwrap();
    assert_eq!(bytes(&running.rest().await), recorded);
    assert_eq!(
        running.monitor.counters().source_bytes.get(),
        recorded.len() as u64
    );
    assert_eq!(running.ended().await.unwrap(), End::InputEnded);

    let mut running = Running::start(file(path, Speed::Factor(1e9)));
    assert_eq!(bytes(&running.rest().await), recorded);
    assert_eq!(running.ended().await.unwrap(), End::InputEnded);
}

#[tokio::test]
async fn a_recording_is_replayed_at_its_own_spacing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recording");
    let recording = "boot\n{\"ts\":1000}\n{\"ts\":3000}\n{\"ts\":500}\n{\"ts\":1500}\n";
    fs::write(&path, recording).unwrap();
    let mut running = Running::start(file(&path, Speed::Factor(10.0)));
    let chunks = running.rest().await;
    assert_eq!(text(&chunks), recording);
    assert_eq!(chunks.len(), 5);
    // Reading begins after the source was started, and nothing comes early.
    assert!(chunks[2].monotonic >= Duration::from_millis(200));
    assert!(chunks[3].monotonic >= chunks[2].monotonic);
    assert!(chunks[4].monotonic >= Duration::from_millis(300));
    assert_eq!(running.ended().await.unwrap(), End::InputEnded);
}

#[tokio::test]
async fn a_replay_stops_in_the_middle_of_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recording");
    fs::write(&path, "{\"ts\":0}\n{\"ts\":200000}\n").unwrap();
    let mut running = Running::start(file(&path, Speed::Factor(1.0)));
    assert_eq!(running.line().await, "{\"ts\":0}\n");
    assert!(running.stop().await < PROMPT);
}

#[tokio::test]
async fn a_missing_file_is_an_error_that_names_it() {
    for speed in [Speed::Max, Speed::Factor(1.0)] {
        let running = Running::start(file(Path::new("/no/such/recording"), speed));
        let error = running.ended().await.unwrap_err().to_string();
        assert!(error.contains("/no/such/recording"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }
}

#[tokio::test]
async fn the_simulator_counts_and_repeats_itself() {
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut running = Running::start(simulator(20_000.0, Some(2_000)));
        let stream = bytes(&running.rest().await);
        assert_eq!(running.ended().await.unwrap(), End::InputEnded);
        streams.push(stream);
    }
    assert_eq!(streams[0], streams[1]);
    let mut generator = source::Generator::new(3, 0.1, 11);
    let mut expected = bytes::BytesMut::new();
    for _ in 0..2_000 {
        generator.write_next(Duration::from_micros(50), &mut expected);
    }
    assert_eq!(streams[0], expected);
}

#[tokio::test]
async fn the_simulator_keeps_its_rate() {
    let mut running = Running::start(simulator(100.0, Some(31)));
    let chunks = running.rest().await;
    let last = chunks.last().unwrap().monotonic;
    assert!(last >= Duration::from_millis(300), "{last:?}");
}

#[tokio::test]
async fn a_held_simulator_pauses() {
    let mut running = Running::start_with_room(simulator(1000.0, None), 1);
    running.chunk().await;
    running.order(Order::Hold);
    // It may be waiting for room with one chunk in hand, and has put another into it.
    let wait = tokio::time::sleep(DEADLINE);
    tokio::pin!(wait);
    while running.link().state != LinkState::Held {
        tokio::select! {
            _ = running.chunks.recv() => {}
            () = &mut wait => panic!("never held"),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
    }
    while running.chunks.try_recv().is_ok() {}
    let counted = running.monitor.counters().source_bytes.get();
    let silence = timeout(Duration::from_millis(50), running.chunks.recv()).await;
    assert!(silence.is_err());
    assert_eq!(running.monitor.counters().source_bytes.get(), counted);
    running.order(Order::Release);
    running.chunk().await;
    running.stop().await;
}

#[tokio::test]
async fn a_full_pipeline_does_not_hold_up_a_shutdown() {
    let (mut board, path) = board();
    for config in [
        simulator(1e9, None),
        shell("while :; do echo on and on; done"),
        serial(&path),
    ] {
        let running = Running::start_with_room(config, 1);
        running.wait_for("up").await;
        for _ in 0..20 {
            board.write_all(b"x").unwrap();
        }
        let start = Instant::now();
        while running.chunks.is_empty() {
            assert!(start.elapsed() < DEADLINE);
            tokio::task::yield_now().await;
        }
        assert!(running.stop().await < PROMPT);
    }
}

#[tokio::test]
async fn a_source_ends_with_whoever_takes_its_bytes() {
    let (_board, path) = board();
    for config in [simulator(10.0, None), serial(&path), shell("sleep 1000")] {
        let mut running = Running::start(config);
        running.wait_for("up").await;
        running.chunks.close();
        assert_eq!(running.ended().await.unwrap(), End::Cancelled);
    }
}

fn pid(line: &str) -> Pid {
    Pid::from_raw(line.trim().parse().unwrap())
}

/// Whether a process runs; one that only waits to be buried does not.
fn is_alive(line: &str) -> bool {
    let pid = pid(line);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let dead = stat
        .rsplit(") ")
        .next()
        .is_none_or(|state| state.starts_with('Z'));
    kill(pid, None).is_ok() && !dead
}

async fn assert_gone(line: &str) {
    let start = Instant::now();
    while is_alive(line) {
        assert!(start.elapsed() < DEADLINE, "process {line} still runs");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
