//! The gateway itself is killed, at any moment.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fieldgate::journal::{Archive, JournalError};

use crate::outage_mqtt::finish;
use crate::support::numbered::ANY_VALUE;
use crate::support::{
    Conduct, ContractBroker, ContractServer, Fieldgate, Leg, Load, MESSAGES, Tally, legs,
};

/// Kills of the gateway.
const KILLS: usize = 20;

const MAX_INFLIGHT: usize = 50;

/// What of a packet can have been acknowledged before its last message is.
const REST_OF_PACKET: usize = MESSAGES - 1;

/// A gateway that reads standard input and delivers to both.
fn config(broker: &ContractBroker, server: &ContractServer) -> String {
    format!(
        "shutdown_timeout = \"20s\"\n\
         [source]\nkind = \"stdin\"\n\
         [mqtt]\nbroker_url = \"{}\"\nmax_inflight = {MAX_INFLIGHT}\nkeep_alive = \"2s\"\n\
         [influxdb]\nurl = \"{}\"\norg = \"{}\"\nbucket = \"{}\"\ntoken = \"{}\"\n\
         flush_interval = \"200ms\"\nmax_batch_size = 500\n\
         [journal]\npath = \"journal.db\"\n\
         [telemetry]\nclock_tolerance = \"1h\"\n{ANY_VALUE}",
        broker.url(),
        server.url(),
        ContractServer::ORG,
        ContractServer::BUCKET,
        ContractServer::TOKEN,
    )
}

/// The numbers of the packets in a journal, and the times of their readings.
pub(crate) fn journaled(path: &Path) -> BTreeMap<u64, i64> {
    try_journaled(path).unwrap()
}

/// As [`journaled`], of a journal that is perhaps just being made.
pub(crate) fn try_journaled(path: &Path) -> Result<BTreeMap<u64, i64>, JournalError> {
    let mut journal = Archive::open(path)?;
    let mut numbers = BTreeMap::new();
    loop {
        let rows = journal.read()?;
        if rows.is_empty() {
            return Ok(numbers);
        }
        for row in rows {
            let mut readings = row.readings.iter();
            let number = readings.find(|it| it.metric.as_str() == "packets_received");
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the values are the numbers"
            )]
            let number = number.map(|it| (it.value as u64, row.event_time.0));
            numbers.extend(number);
        }
    }
}

/// Slow: killed at many moments, each with a start of the gateway.
#[test]
fn what_was_journaled_is_delivered_however_often_the_gateway_is_killed() {
    let (broker, server) = (ContractBroker::start(), ContractServer::start());
    let mut gateway = Fieldgate::new(&config(&broker, &server)).start();
    let mut next = 1;
    for kill in 0..KILLS {
        let load = Load::start(gateway.take_stdin(), next, 2_000);
        // From the first instants of a start to the middle of a steady flow.
        std::thread::sleep(Duration::from_millis(fastrand::u64(20..400)));
        gateway.kill();
        (_, next) = load.stop();
        if kill % 4 == 2 {
            // What was sent and never acknowledged is sent again.
            broker.next([Conduct::AcknowledgeNothing]);
        }
        gateway.start_again();
        if kill % 4 == 0 {
            gateway.wait_for_log("Connected.", crate::support::PATIENCE);
        }
    }
    finish(&mut gateway);

    let journal = journaled(&gateway.folder().join("journal.db"));
    assert!(
        journal.len() > 500,
        "{} packets in the journal",
        journal.len()
    );
    let sessions = broker.record().sessions();
    let numbers = || journal.keys().copied();
    Tally::of_acknowledged(&sessions).assert_complete("MQTT", numbers());
    let legs = legs(&sessions);
    let repeated: Vec<_> = legs.iter().map(|Leg { repeated, .. }| *repeated).collect();
    println!("Messages repeated after each kill: {repeated:?}");
    // A packet that was acknowledged as a whole is never sent again.
    assert!(
        repeated
            .iter()
            .all(|count| *count <= MAX_INFLIGHT + REST_OF_PACKET),
        "{repeated:?}"
    );

    let points = server.points();
    let tally = Tally::of_points(&points);
    tally.assert_complete("InfluxDB", numbers());
    println!(
        "Points repeated: {} of {}",
        tally.duplicates,
        tally.distinct()
    );
    for point in &points {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the values are the numbers"
        )]
        let number = point.value as u64;
        assert_eq!(point.timestamp_ns, journal[&number], "{point:?}");
    }
}
