//! Several boards at one gateway: each has all of its own, and what befalls one is nothing to the others.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::numbered::ANY_VALUE;
use crate::support::{
    Fieldgate, Message, Mosquitto, PATIENCE, Pty, Signal, Subscriber, poll, request,
};

/// Between two packets of a board.
const INTERVAL: Duration = Duration::from_millis(20);

/// Packets of a board that is never away.
const PACKETS: u64 = 250;

/// The value that a board measures in its packet with this number: no other board ever does.
fn value(board: usize, number: u64) -> u64 {
    board as u64 * 100_000 + number
}

fn frame(board: usize, number: u64) -> String {
    let value = value(board, number);
    let ts = 20 * number;
    format!(
        "{{\"ts\":{ts},\"id\":\"N2\",\"n1\":{{\"t\":{value},\"h\":{value}}},\"sts\":{{\"rx\":{number},\"err\":0}}}}\r\n"
    )
}

/// What a board is and sends. All but the first know no clock of their own.
#[derive(Clone, Copy)]
enum Kind {
    Board,
    Damaged,
    Json,
    Plotter,
    LineProtocol,
    Rtl433,
}

impl Kind {
    /// The keys of its source.
    fn keys(self) -> &'static str {
        match self {
            Self::Board | Self::Damaged => "",
            Self::Json => {
                "format = \"json\"\nnode.name = \"node1\"\nmetrics = [\"temperature\", \"humidity\"]"
            }
            Self::Plotter => {
                "format = \"plotter\"\nnode.name = \"node1\"\nmetrics = [\"temperature\", \"humidity\"]"
            }
            Self::LineProtocol => "format = \"line-protocol\"",
            Self::Rtl433 => "preset = \"rtl_433\"",
        }
    }

    /// The topic of its temperatures, below that of the source.
    fn topic(self) -> &'static str {
        match self {
            Self::Rtl433 => "Nexus-TH_2_184/temperature_C",
            _ => "node1/temperature",
        }
    }

    fn frame(self, board: usize, number: u64) -> String {
        let value = value(board, number);
        match self {
            Self::Board => frame(board, number),
            Self::Damaged => damaged_frame(board, number),
            Self::Json => {
                format!("{{\n  \"temperature\": {value},\n  \"humidity\": {value}\n}}\r\n")
            }
            Self::Plotter => format!("temperature:{value},humidity:{value}\r\n"),
            Self::LineProtocol => format!("node1 temperature={value},humidity={value}\n"),
            Self::Rtl433 => format!(
                "{{\"time\" : \"2026-03-01 12:00:00\", \"model\" : \"Nexus-TH\", \"id\" : 184, \
                 \"channel\" : 2, \"temperature_C\" : {value}.000, \"humidity\" : 55}}\n"
            ),
        }
    }
}

/// Two of three frames, the middle one without its end, as a cable that comes loose sends them.
fn damaged_frame(board: usize, number: u64) -> String {
    let frame = frame(board, number);
    match number % 3 {
        1 => frame[..frame.len() - 30].to_owned(),
        _ => frame,
    }
}

fn config(boards: &[(&str, &Pty)], broker: &Mosquitto) -> String {
    let mut text = format!(
        "[mqtt]\nbroker_url = \"{}\"\ntopic_prefix = \"iiot/{{source}}\"\n\
         [api]\nlisten = \"127.0.0.1:0\"\n{ANY_VALUE}",
        broker.url()
    );
    for (name, pty) in boards {
        let port = pty.path();
        write!(
            text,
            "[[source]]\nname = \"{name}\"\nport = \"{}\"\n",
            port.display()
        )
        .unwrap();
    }
    text
}

/// The same, of boards of these kinds.
fn config_of(boards: &[(&str, &Pty)], kinds: &[Kind], broker: &Mosquitto) -> String {
    let mut text = config(boards, broker);
    for ((name, _), kind) in boards.iter().zip(kinds) {
        let name = format!("name = \"{name}\"\n");
        text = text.replace(&name, &format!("{name}{}\n", kind.keys()));
    }
    text
}

/// What arrived of a board's temperatures, in its order. Nothing else may have.
fn temperatures(messages: &[Message], board: usize) -> Vec<u64> {
    temperatures_of(Kind::Board, messages, board)
}

fn temperatures_of(kind: Kind, messages: &[Message], board: usize) -> Vec<u64> {
    let topic = format!("iiot/b{board}/{}", kind.topic());
    let of_board = messages.iter().filter(|message| message.topic == topic);
    let values: Vec<u64> = of_board.map(|it| it.payload.parse().unwrap()).collect();
    let own = value(board, 0)..value(board + 1, 0);
    assert!(values.iter().all(|it| own.contains(it)), "{values:?}");
    values
}

fn values_of(board: usize, numbers: impl Iterator<Item = u64>) -> Vec<u64> {
    numbers.map(|number| value(board, number)).collect()
}

struct Api(u16);

impl Api {
    fn of(gateway: &mut Fieldgate) -> Self {
        let line = gateway.wait_for_log("The HTTP API listens", PATIENCE);
        Self(line.rsplit(':').next().unwrap().trim().parse().unwrap())
    }

    fn source(&self, name: &str) -> Option<Value> {
        let answer = request(self.0, "GET", "/api/v1/snapshot", &[], b"").unwrap();
        let snapshot: Value = serde_json::from_str(&answer.body).unwrap();
        let sources = snapshot["sources"].as_array().unwrap().clone();
        let link = format!("source {name}");
        sources.into_iter().find(|it| it["source"] == *link)
    }

    fn wait_for_state(&self, name: &str, state: &str) {
        let reached = poll(PATIENCE, || {
            (self.source(name)?["link"]["state"] == *state).then_some(())
        });
        reached.unwrap_or_else(|| panic!("{name} is never {state}: {:?}", self.source(name)));
    }

    fn command(&self, command: &str, link: &str) -> u16 {
        let body = format!("{{\"command\":\"{command}\",\"link\":\"{link}\"}}");
        let json = [("Content-Type", "application/json")];
        let answer = request(self.0, "POST", "/api/v1/commands", &json, body.as_bytes());
        answer.unwrap().status
    }
}

/// Boards of every format, one of which sends damaged frames, and two of which are unplugged and come back.
struct Bench {
    boards: Vec<Pty>,
    sent: [u64; 8],
    subscriber: Subscriber,
}

impl Bench {
    const KINDS: [Kind; 8] = [
        Kind::Board,
        Kind::Json,
        Kind::Plotter,
        Kind::LineProtocol,
        Kind::Rtl433,
        Kind::Damaged,
        Kind::Board,
        Kind::Json,
    ];
    const DAMAGED: usize = 5;
    const AWAY: [usize; 2] = [6, 7];

    /// Packets within which one arrives that no fault of another board holds up, with room for a machine that
    /// runs the other tests as well: three seconds.
    const LATE: usize = 150;

    /// Each board that is there sends its next packet.
    fn send(&mut self, are_away: bool) {
        for (board, port) in self.boards.iter_mut().enumerate() {
            let may_be_away = Self::AWAY.contains(&board);
            if may_be_away && are_away || !may_be_away && self.sent[board] == PACKETS {
                continue;
            }
            self.sent[board] += 1;
            let text = Self::KINDS[board].frame(board, self.sent[board]);
            port.write(text.as_bytes());
        }
    }

    /// Plugs those in again or pulls them out.
    fn plug(&mut self, change: fn(&mut Pty)) {
        for board in Self::AWAY {
            change(&mut self.boards[board]);
        }
    }

    /// All that can arrive of a board that stays.
    fn expected(&self, board: usize) -> Vec<u64> {
        let all = 1..=self.sent[board];
        values_of(
            board,
            all.filter(|it| board != Self::DAMAGED || it % 3 != 1),
        )
    }

    fn found(messages: &[Message], board: usize) -> Vec<u64> {
        temperatures_of(Self::KINDS[board], messages, board)
    }

    fn assert_none_is_late(&self) {
        let messages = self.subscriber.messages();
        for board in (0..8).filter(|board| !Self::AWAY.contains(board)) {
            let (found, expected) = (Self::found(&messages, board), self.expected(board));
            assert!(
                found.len() + Self::LATE >= expected.len(),
                "board {board}: {}",
                found.len()
            );
        }
    }

    /// All of those that stayed, and of the others all but what lay in the port when it was pulled out.
    fn assert_all_arrives(&self) {
        let messages = self
            .subscriber
            .wait_until("all readings", PATIENCE, |messages| {
                (0..8).all(|board| {
                    let found = Self::found(messages, board);
                    if Self::AWAY.contains(&board) {
                        found.contains(&value(board, self.sent[board]))
                    } else {
                        found.len() >= self.expected(board).len()
                    }
                })
            });
        for (board, sent) in self.sent.iter().enumerate() {
            let found = Self::found(&messages, board);
            if Self::AWAY.contains(&board) {
                let is_all = found.is_sorted() && found.len() as u64 >= sent - 5;
                assert!(is_all, "board {board} of {sent}: {found:?}");
            } else {
                assert_eq!(found, self.expected(board), "board {board}");
            }
        }
    }
}

#[test]
fn what_befalls_one_board_is_nothing_to_the_others() {
    let broker = Mosquitto::start();
    let mut bench = Bench {
        boards: (0..8).map(|_| Pty::open()).collect(),
        sent: [0; 8],
        subscriber: Subscriber::start(broker.port(), "iiot/#"),
    };
    let names: Vec<String> = (0..8).map(|board| format!("b{board}")).collect();
    let boards = names.iter().map(String::as_str).zip(&bench.boards);
    let config = config_of(&boards.collect::<Vec<_>>(), &Bench::KINDS, &broker);
    let mut gateway = Fieldgate::new(&config).start();
    gateway.wait_for_log_count("Source opened.", 8, PATIENCE);

    let began = Instant::now();
    let mut is_back = false;
    // Until the two that were away have sent enough since.
    let mut back_for = 0;
    for tick in 1.. {
        match tick {
            80 => bench.plug(Pty::close),
            120 => bench.plug(Pty::reopen),
            _ => {}
        }
        is_back = is_back || tick > 120 && gateway.count_log("Source opened.") >= 10;
        back_for += u64::from(is_back);
        bench.send(tick >= 80 && !is_back);
        if tick % 25 == 0 {
            bench.assert_none_is_late();
        }
        if back_for >= 50 && bench.sent[0] == PACKETS {
            break;
        }
        assert!(
            began.elapsed() < 3 * PATIENCE,
            "the boards are not opened again"
        );
        let next = began + INTERVAL * tick;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    bench.assert_all_arrives();
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_exit(PATIENCE).success());
}

#[test]
fn a_board_that_floods_delays_nobody_on_the_way_into_the_journal() {
    /// Packets by which the quiet board may be behind: a second.
    const LATE: u64 = 50;
    let mut quiet = Pty::open();
    let mut gateway = Fieldgate::new(&format!(
        "{ANY_VALUE}[journal]\npath = \"journal.db\"\nmax_messages = 100000\n\
         [[source]]\nname = \"b0\"\nkind = \"command\"\ncommand = [\"yes\", \"node1 a=1\"]\n\
         format = \"line-protocol\"\n\
         [[source]]\nname = \"b1\"\nport = \"{}\"\n",
        quiet.path().display()
    ))
    .start();
    gateway.wait_for_log_count("Source opened.", 2, PATIENCE);
    let path = gateway.folder().join("journal.db");
    let last = || {
        let journal = rusqlite::Connection::open(&path).ok()?;
        let sql = "SELECT json_extract(readings, '$.node1.temperature') FROM packets
            WHERE source = 'b1' ORDER BY sequence DESC LIMIT 1";
        let found = journal.query_row(sql, [], |row| row.get::<_, f64>(0));
        found.ok()
    };
    for number in 1..=200 {
        quiet.write(frame(1, number).as_bytes());
        std::thread::sleep(INTERVAL);
        if number % 20 == 0 {
            let soon = value(1, number.saturating_sub(LATE)) as f64;
            let found = poll(Duration::from_secs(1), || last().filter(|it| *it >= soon));
            assert!(found.is_some(), "{:?} of {number}", last());
        }
    }
    let arrived = poll(PATIENCE, || last().filter(|it| *it >= value(1, 200) as f64));
    assert!(arrived.is_some(), "{:?}", last());
    gateway.kill();
}

#[test]
fn a_board_is_held_and_released_by_its_name() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let mut boards = [Pty::open(), Pty::open()];
    let named = [("b0", &boards[0]), ("b1", &boards[1])];
    let mut gateway = Fieldgate::new(&config(&named, &broker)).start();
    let api = Api::of(&mut gateway);
    for name in ["b0", "b1"] {
        api.wait_for_state(name, "up");
    }
    assert_eq!(api.command("hold", "source b9"), 409);
    assert_eq!(api.command("flush", "source b0"), 400);
    assert_eq!(api.command("hold", "source b0"), 202);
    api.wait_for_state("b0", "held");
    for number in 1..=20 {
        boards[1].write(frame(1, number).as_bytes());
    }
    let expected = values_of(1, 1..=20);
    subscriber.wait_until("readings of the other", PATIENCE, |messages| {
        temperatures(messages, 1) == expected
    });
    assert_eq!(api.source("b0").unwrap()["link"]["state"], "held");
    assert_eq!(api.command("release", "source b0"), 202);
    api.wait_for_state("b0", "up");
    for number in 1..=20 {
        boards[0].write(frame(0, number).as_bytes());
    }
    let expected = values_of(0, 1..=20);
    subscriber.wait_until("readings of the first", PATIENCE, |messages| {
        temperatures(messages, 0) == expected
    });
    assert_eq!(api.source("b1").unwrap()["link"]["reconnects"], 0);
    assert_eq!(
        api.source("b1").unwrap()["telemetry"]["packets_processed"],
        20
    );
}

#[test]
fn boards_come_and_go_with_the_configuration() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let mut boards = [Pty::open(), Pty::open(), Pty::open()];
    let named = [("b0", &boards[0]), ("b1", &boards[1])];
    let mut gateway = Fieldgate::new(&config(&named, &broker)).start();
    let api = Api::of(&mut gateway);
    for name in ["b0", "b1"] {
        api.wait_for_state(name, "up");
    }
    let since = |api: &Api| api.source("b0").unwrap()["link"]["since"].clone();
    let before = since(&api);
    for number in 1..=5 {
        boards[0].write(frame(0, number).as_bytes());
    }
    let listen = format!("127.0.0.1:{}", api.0);
    let named = [("b0", &boards[0]), ("b2", &boards[2])];
    let text = config(&named, &broker).replace("127.0.0.1:0", &listen);
    gateway.write_file("config.toml", &text);
    gateway.signal(Signal::SIGHUP);
    api.wait_for_state("b2", "up");
    for (board, numbers) in [(0, 6..=10), (2, 1..=10)] {
        for number in numbers {
            boards[board].write(frame(board, number).as_bytes());
        }
    }
    subscriber.wait_until("readings of both", PATIENCE, |messages| {
        [0, 2]
            .iter()
            .all(|board| temperatures(messages, *board) == values_of(*board, 1..=10))
    });
    assert!(api.source("b1").is_none());
    assert_eq!(since(&api), before);
    let read = gateway.wait_for_log("The configuration was read again.", PATIENCE);
    assert!(read.contains("source"), "{read}");
}
