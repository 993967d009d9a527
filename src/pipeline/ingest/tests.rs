use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::monitor::{LinkId, Monitor, TrafficKind, TrafficVerdict};
use crate::telemetry::{RejectReason, Timestamp};

fn ingest(bytes: &'static [u8]) -> (Vec<Packet>, SourceMonitor) {
    let monitor = Arc::new(Monitor::default()).source(&LinkId::source());
    let tolerance = Duration::from_secs(2);
    let decoder = Decoder::default();
    let mut ingest = Ingest::new(decoder, &[], Timeline::Line, tolerance, monitor.clone());
    let received = Timestamp(1_700_000_000_000_000_000);
    let mut packets = ingest.take(&Chunk {
        bytes: Bytes::from_static(bytes),
        received,
        monotonic: Duration::ZERO,
        discontinuity: false,
    });
    let ended = ingest.finish(Received {
        wall: received,
        monotonic: Duration::ZERO,
    });
    packets.packets.extend(ended.packets);
    let packets = packets.packets;
    (packets, monitor)
}

#[test]
fn the_clean_sample_keeps_its_spacing_and_misses_nothing() {
    let (packets, monitor) = ingest(include_bytes!("../../../tests/data/clean.ndjson"));
    assert_eq!(packets.len(), 360);
    assert_eq!(monitor.counters().packets_processed.get(), 360);
    assert_eq!(monitor.counters().packets_missed.get(), 0);
    for pair in packets.windows(2) {
        assert_eq!(
            pair[1].event_time.since(pair[0].event_time),
            Duration::from_secs(10)
        );
    }
}

/// The bytes of all pieces of traffic, and what was found out of each piece that holds a text.
fn traffic_of(monitor: &Monitor, text: &str) -> (Vec<u8>, Vec<String>) {
    let entries = monitor.activity.traffic.since(0);
    let bytes = entries.iter().flat_map(|it| it.entry.bytes.to_vec());
    let verdicts = entries.iter().filter_map(|it| match it.entry.kind {
        TrafficKind::Judged { back, verdict } => {
            let piece = &entries[usize::try_from(it.number - back).unwrap()].entry;
            let piece = String::from_utf8_lossy(&piece.bytes);
            piece.contains(text).then(|| match verdict {
                TrafficVerdict::SetAside { at, reason } => {
                    let at = usize::try_from(at.unwrap()).unwrap();
                    format!("{} {}", reason.name(), &piece[at..])
                }
                other => format!("{other:?}"),
            })
        }
        _ => None,
    });
    let verdicts = verdicts.collect();
    (bytes.collect(), verdicts)
}

#[test]
fn traffic_is_the_stream_and_says_later_what_was_set_aside() {
    let stream = b"{\"ts\":1000,\"n1\":{\"t\":20,\"h\":50},\"sts\":{\"rx\":1}}\n\
        {\"ts\":2000,\"n1\":{\"t\":920,\"h\":50},\"sts\":{\"rx\":2}}\n\
        {\"ts\":90015000,\"n1\":{\"t\":20,\"h\":50},\"sts\":{\"rx\":3}}\n\
        {\"ts\":4000,\"n1\":{\"t\":20,\"x\":5},\"sts\":{\"rx\":4}}\n";
    let (packets, monitor) = ingest(stream);
    assert_eq!(packets.len(), 3);
    let (bytes, found) = traffic_of(&monitor, "920");
    assert_eq!(bytes, stream);
    assert_eq!(found, ["out_of_range 920,\"h\":50},\"sts\":{\"rx\":2}}"]);
    let (_, found) = traffic_of(&monitor, "90015000");
    let rejected = TrafficVerdict::Rejected {
        reason: RejectReason::ContradictsNeighbours,
    };
    let expected = [TrafficVerdict::Doubted, rejected].map(|it| format!("{it:?}"));
    assert_eq!(found, expected);
    let (_, found) = traffic_of(&monitor, "4000");
    assert_eq!(found, ["unconfirmed_name 5},\"sts\":{\"rx\":4}}"]);
}

#[test]
fn a_frame_in_the_traffic_names_its_nodes() {
    let stream = b"boot\n{\"ts\":1000,\"id\":\"N2\",\"n1\":{\"t\":20},\"n2\":{\"p\":1013},\
        \"sig\":{\"rssi\":-40},\"sts\":{\"rx\":1}}\n{\"ts\":2000,\"n1\":{\"t\":";
    let (_, monitor) = ingest(stream);
    let entries = monitor.activity.traffic.since(0);
    let of_frames = entries.iter().filter(|it| !it.entry.nodes.is_empty());
    let nodes: Vec<_> = of_frames.map(|it| it.entry.nodes.to_vec()).collect();
    assert_eq!(nodes, [["node1".into(), "node2".into()]]);
}

#[test]
fn braces_in_a_log_say_nothing_of_the_line() {
    let stream = b"[INFO ] state {idle} {\"sf\": x, {} {\"len\":37} {:?}\n\
        [INFO ] JSON: {\"ts\":1000,\"n1\":{\"t\":20}} (main.rs:600)\n\
        [INFO ] { \"a\" } {\"state\": idle}\n";
    let (packets, monitor) = ingest(stream);
    assert_eq!(packets.len(), 1);
    assert!(monitor.line_damaged_ratio() <= 0.0);
    let (_, monitor) = ingest(b"{\"ts\":1000,\"n1\":{\"t\":20,\n");
    assert!(monitor.line_damaged_ratio() > 0.9);
}

#[test]
fn damage_is_counted_by_reason_and_found_missing() {
    let (packets, monitor) = ingest(include_bytes!("../../../tests/data/dirty.bin"));
    // A metric that is new came three times; its first two readings follow by themselves.
    assert_eq!(packets.len(), 43 + 2);
    let rejected = RejectReason::ALL.map(|reason| {
        (
            reason.name(),
            monitor.counters().frames_rejected[reason as usize].get(),
        )
    });
    let expected = [
        ("syntax", 3),
        ("unfinished", 3),
        ("too_long", 0),
        ("invalid_utf8", 3),
        ("not_telemetry", 0),
        ("invalid_time", 9),
        ("no_readings", 0),
        ("repeated_key", 0),
        ("contradicts_neighbours", 0),
        ("out_of_range", 0),
        ("unconfirmed_name", 0),
        ("spike", 0),
    ];
    assert_eq!(rejected, expected);
    assert!(monitor.counters().packets_missed.get() > 0);
    assert!(monitor.counters().ignored_bytes.get() > 4096);
}
