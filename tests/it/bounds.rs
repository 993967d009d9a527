//! However long the servers are away: memory and disk stay within their bounds, and every message is
//! accounted for.

use std::time::Duration;

use crate::outage_mqtt::finish;
use crate::support::numbered::ANY_VALUE;
use crate::support::{Conduct, ContractBroker, Fieldgate, MESSAGES, PATIENCE, Tally, packets};

/// A gateway whose journal keeps 1,000 messages.
fn config(broker: &ContractBroker, path: &str) -> String {
    format!(
        "[source]\nkind = \"stdin\"\n\
         [mqtt]\nbroker_url = \"{}\"\n\
         [journal]\npath = \"{path}\"\nmax_messages = 1000\nhistory = \"0s\"\n\
         [telemetry]\nclock_tolerance = \"1h\"\n{ANY_VALUE}",
        broker.url()
    )
}

/// The memory that a process has allocated, in bytes.
fn memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon:"))
        .unwrap();
    let kibibytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024
}

/// The figures of the last line that a gateway prints: delivered, and dropped.
pub(crate) fn summary(gateway: &mut Fieldgate) -> (usize, usize) {
    let lines = gateway.stdout();
    let line = lines
        .iter()
        .rev()
        .find(|line| line.starts_with("Stopped."))
        .unwrap();
    let number_before = |word: &str| {
        let before = line
            .split(word)
            .next()
            .filter(|before| before.len() < line.len())?;
        before
            .rsplit([' ', '('])
            .find(|text| !text.is_empty())?
            .parse()
            .ok()
    };
    assert!(line.contains("(0 waiting"), "{line}");
    let delivered = number_before(" messages to MQTT").expect("delivered messages");
    (delivered, number_before(" dropped").unwrap_or(0))
}

/// Slow: what leaks a little for each packet shows only after 50,000 of them.
#[test]
fn a_bounded_queue_in_memory_keeps_the_newest_and_counts_the_rest() {
    the_newest_stay_and_the_rest_is_counted(":memory:");
}

/// Slow: what leaks a little for each packet shows only after 50,000 of them.
#[test]
fn a_bounded_journal_file_keeps_the_newest_and_counts_the_rest() {
    the_newest_stay_and_the_rest_is_counted("journal.db");
}

fn the_newest_stay_and_the_rest_is_counted(path: &str) {
    const PACKETS: u64 = 50_000;
    const CHUNK: u64 = 5_000;
    let broker = ContractBroker::start();
    broker.always(Conduct::HangUp);
    let mut gateway = Fieldgate::new(&config(&broker, path)).start();
    let mut settled = 0;
    for last in (CHUNK..=PACKETS).step_by(usize::try_from(CHUNK).unwrap()) {
        gateway.write_stdin(packets(last - CHUNK + 1..=last - 1).as_bytes());
        // A key that is not taken is named, which shows that everything before it has been read.
        let mark = packets(last..=last).replace("\"N2\"", &format!("\"N2\",\"m{last}\":1"));
        gateway.write_stdin(mark.as_bytes());
        gateway.wait_for_log(&format!("key=\"m{last}\""), PATIENCE);
        if last == 2 * CHUNK {
            settled = memory(gateway.pid());
        }
    }
    let full = memory(gateway.pid());
    println!("{path}: {settled} bytes after a fifth of the packets, {full} after all");
    assert!(
        full < settled + (6 << 20),
        "{path}: grew from {settled} to {full} bytes"
    );
    broker.always(Conduct::Serve);
    finish(&mut gateway);

    let sent = usize::try_from(PACKETS).unwrap() * MESSAGES;
    let (delivered, dropped) = summary(&mut gateway);
    assert_eq!(delivered + dropped, sent);
    // The last packets may have reached the journal when the broker was there already.
    assert!(dropped > sent / 100 * 85, "{dropped} dropped");
    let tally = Tally::of_acknowledged(&broker.record().sessions());
    assert_eq!(
        (tally.distinct(), tally.duplicates, tally.overtaken),
        (delivered, 0, 0)
    );
    let oldest = PACKETS + 1 - 1_000 / MESSAGES as u64;
    tally.assert_holds(path, oldest..=PACKETS);
    assert_eq!(gateway.count_log("be delivered: the journal is full"), 1);
    let end = gateway.logged("End of the drops");
    assert!(end.contains(&format!("mqtt={dropped}")), "{end}");
}

#[test]
fn what_is_delivered_and_what_is_dropped_is_what_was_sent_also_in_the_worst_confusion() {
    const PACKETS: u64 = 20_000;
    let broker = ContractBroker::start();
    broker.next(
        [(900, 13), (2_000, 1)].map(|(publishes, unacknowledged)| Conduct::HangUpAfter {
            publishes,
            unacknowledged,
        }),
    );
    let mut gateway = Fieldgate::new(&config(&broker, ":memory:")).start();
    for chunk in 0..20 {
        gateway.write_stdin(packets(chunk * 1_000 + 1..=(chunk + 1) * 1_000).as_bytes());
        std::thread::sleep(Duration::from_millis(100));
    }
    finish(&mut gateway);
    let (delivered, dropped) = summary(&mut gateway);
    assert_eq!(
        delivered + dropped,
        usize::try_from(PACKETS).unwrap() * MESSAGES
    );
    assert!(dropped > 0, "the queue was never full");
    let sessions = broker.record().sessions();
    let arrived = Tally::of_publishes(&sessions);
    assert_eq!(arrived.overtaken, 0);
    // What the broker took and could not acknowledge may have been dropped before it was sent again:
    // then it counts as dropped, though it did arrive.
    let distinct = Tally::of_acknowledged(&sessions).distinct();
    assert!(
        distinct >= delivered,
        "{distinct} acknowledged, {delivered} counted"
    );
    assert!(
        distinct - delivered <= 2 * 105,
        "{distinct} acknowledged, {delivered} counted"
    );
}
