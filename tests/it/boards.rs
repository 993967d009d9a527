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

/// What arrived of a board's temperatures, in its order. Nothing else may have.
fn temperatures(messages: &[Message], board: usize) -> Vec<u64> {
    let topic = format!("iiot/b{board}/node1/temperature");
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

#[test]
fn what_befalls_one_board_is_nothing_to_the_others() {
    const DAMAGED: usize = 5;
    const AWAY: [usize; 2] = [6, 7];
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "iiot/#");
    let mut boards: Vec<Pty> = (0..8).map(|_| Pty::open()).collect();
    let names: Vec<String> = (0..8).map(|board| format!("b{board}")).collect();
    let named: Vec<(&str, &Pty)> = names.iter().map(String::as_str).zip(&boards).collect();
    let mut gateway = Fieldgate::new(&config(&named, &broker)).start();
    gateway.wait_for_log_count("Source opened.", 8, PATIENCE);

    let mut sent = [0_u64; 8];
    let began = Instant::now();
    let mut is_back = false;
    // Until the two that were away have sent enough since.
    let mut back_for = 0;
    for tick in 1.. {
        if tick == 80 {
            for board in AWAY {
                boards[board].close();
            }
        } else if tick == 120 {
            for board in AWAY {
                boards[board].reopen();
            }
        }
        is_back = is_back || tick > 120 && gateway.count_log("Source opened.") >= 10;
        back_for += u64::from(is_back);
        for (board, port) in boards.iter_mut().enumerate() {
            let is_away = AWAY.contains(&board) && tick >= 80 && !is_back;
            if is_away || !AWAY.contains(&board) && sent[board] == PACKETS {
                continue;
            }
            sent[board] += 1;
            let text = match board {
                DAMAGED => damaged_frame(board, sent[board]),
                _ => frame(board, sent[board]),
            };
            port.write(text.as_bytes());
        }
        if back_for >= 50 && sent[0] == PACKETS {
            break;
        }
        assert!(
            began.elapsed() < 3 * PATIENCE,
            "the boards are not opened again"
        );
        let next = began + INTERVAL * tick;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }

    let is_whole = |messages: &[Message], board: usize| {
        let whole = temperatures(messages, board).len() as u64;
        whole >= sent[board] - u64::from(board == DAMAGED) * sent[board].div_ceil(3)
    };
    let messages = subscriber.wait_until("all readings", PATIENCE, |messages| {
        (0..8).all(|board| AWAY.contains(&board) || is_whole(messages, board))
            && AWAY.iter().all(|board| {
                let last = value(*board, sent[*board]);
                temperatures(messages, *board).contains(&last)
            })
    });
    for (board, sent) in sent.iter().enumerate() {
        let found = temperatures(&messages, board);
        let all = 1..=*sent;
        if board == DAMAGED {
            assert_eq!(found, values_of(board, all.filter(|it| it % 3 != 1)));
        } else if AWAY.contains(&board) {
            // What lay in the port when it was pulled out is gone; nothing else is.
            assert!(
                found.is_sorted() && found.len() as u64 >= sent - 5,
                "{found:?}"
            );
        } else {
            assert_eq!(found, values_of(board, all), "board {board}");
        }
    }
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_exit(PATIENCE).success());
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
