//! Minutes of steady work with servers that come and go: run it with `scripts/soak`.

use std::time::{Duration, Instant};

use crate::outage_influx::{assert_same_as_journal, config};
use crate::support::{Fieldgate, Load, MESSAGES, Mosquitto, PATIENCE, Tally, Tap, VictoriaMetrics};

/// Packets a second: three times what a full serial line carries.
const RATE: u64 = 200;

/// Longer than any pause between two attempts, and a backlog after it.
const LAST_PATIENCE: Duration = Duration::from_mins(3);

/// What the gateway may hold more at the end than when it had settled.
const GROWTH_KIB: u64 = 8 * 1024;

/// What a gateway holds at one moment.
#[derive(Debug, Clone, Copy)]
struct Holding {
    resident_kib: u64,
    open_files: usize,
}

impl Holding {
    fn of(gateway: &mut Fieldgate) -> Self {
        let process = format!("/proc/{}", gateway.pid());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        Self {
            resident_kib: line.split_whitespace().nth(1).unwrap().parse().unwrap(),
            open_files: std::fs::read_dir(format!("{process}/fd")).unwrap().count(),
        }
    }
}

/// When something random happens next.
fn soon(seconds: std::ops::Range<f64>) -> Instant {
    let span = seconds.end - seconds.start;
    Instant::now() + Duration::from_secs_f64(seconds.start + span * fastrand::f64())
}

/// A server that is taken down and brought up at random.
struct Unreliable<S> {
    server: S,
    is_up: bool,
    next: Instant,
    outages: u32,
    down: fn(&mut S),
    up: fn(&mut S),
}

impl<S> Unreliable<S> {
    fn new(server: S, down: fn(&mut S), up: fn(&mut S)) -> Self {
        Self {
            server,
            is_up: true,
            next: soon(5.0..15.0),
            outages: 0,
            down,
            up,
        }
    }

    fn live(&mut self) {
        if Instant::now() < self.next {
            return;
        }
        if self.is_up {
            (self.down)(&mut self.server);
            self.outages += 1;
            self.next = soon(0.2..8.0);
        } else {
            (self.up)(&mut self.server);
            self.next = soon(3.0..25.0);
        }
        self.is_up = !self.is_up;
    }

    fn bring_up(&mut self) {
        if !self.is_up {
            (self.up)(&mut self.server);
        }
    }
}

#[test]
#[ignore = "takes minutes: scripts/soak runs it"]
fn soak() {
    let minutes = std::env::var("SOAK_MINUTES").map_or(1.0, |text| text.parse().unwrap());
    let span = Duration::from_secs_f64(60.0 * minutes);
    let mut broker = Unreliable::new(Mosquitto::start(), Mosquitto::kill, Mosquitto::start_again);
    // Killed, it would lose what it had taken in the last second: its loss, but not to be told
    // from the gateway's.
    let mut database = Unreliable::new(
        VictoriaMetrics::start(),
        VictoriaMetrics::stop,
        VictoriaMetrics::start_again,
    );
    let tap = Tap::start(broker.server.port());
    let mut gateway = Fieldgate::new(&config(&tap.url(), &database.server)).start();
    gateway.wait_for_log_count("Connected.", 2, PATIENCE);
    let load = Load::start(gateway.take_stdin(), 1, RATE);

    let start = Instant::now();
    let mut holdings = Vec::new();
    // Settled, in the middle, at the end.
    for share in [0.1, 0.5, 1.0] {
        while start.elapsed() < span.mul_f64(share) {
            broker.live();
            database.live();
            std::thread::sleep(Duration::from_millis(50));
        }
        holdings.push(Holding::of(&mut gateway));
    }
    broker.bring_up();
    database.bring_up();
    let (stdin, next) = load.stop();
    drop(stdin);
    assert!(gateway.wait_exit(LAST_PATIENCE).success());

    let sessions = tap.record().sessions();
    let published = Tally::of_publishes(&sessions);
    let packets = next - 1;
    println!(
        "Packets:            {packets} in {:.0} s",
        start.elapsed().as_secs_f64()
    );
    println!("Messages sent:      {}", packets * MESSAGES as u64);
    println!(
        "Distinct at broker: {}",
        Tally::of_acknowledged(&sessions).distinct()
    );
    println!("Repeated at broker: {}", published.duplicates);
    println!(
        "Broker killed:      {} times, {} connections",
        broker.outages,
        sessions.len()
    );
    println!("Database stopped:   {} times", database.outages);
    for (when, holding) in ["settled", "middle", "end"].iter().zip(&holdings) {
        let Holding {
            resident_kib,
            open_files,
        } = holding;
        println!("Memory, {when:8}    {resident_kib} KiB, {open_files} open files");
    }
    println!("{}", gateway.logged("Stopped."));

    Tally::of_acknowledged(&sessions).assert_complete("acknowledged", 1..next);
    assert_eq!(published.overtaken, 0, "out of order");
    assert_same_as_journal(&database.server, &gateway);
    assert!(!gateway.logged("Stopped.").contains("dropped"));
    assert_eq!(gateway.count_log("panicked"), 0);
    let (settled, end) = (holdings[0], holdings[2]);
    assert!(
        end.resident_kib <= settled.resident_kib + GROWTH_KIB,
        "memory grew: {holdings:?}"
    );
    // Of each server a connection more or less.
    assert!(
        end.open_files <= settled.open_files + 4,
        "open files grew: {holdings:?}"
    );
    println!("Nothing was lost.");
}
