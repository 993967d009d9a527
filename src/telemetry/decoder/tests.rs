use super::*;
use crate::telemetry::Reading;

fn decode(frame: &str) -> Result<Decoded, RejectReason> {
    Decoder::default().decode(frame)
}

fn readings(frame: &str) -> Vec<(String, f64)> {
    let text = |reading: &Reading| format!("{}/{}", reading.node, reading.metric);
    decode(frame)
        .unwrap()
        .readings
        .iter()
        .map(|r| (text(r), r.value))
        .collect()
}

#[test]
fn a_packet_of_every_kind_of_reading() {
    let frame = r#"{"ts":12000,"id":"N2","n1":{"t":27.6,"h":54.1,"g":84190},"n12":{"p":1013.25},"sig":{"rssi":-39,"snr":13},"sts":{"rx":1,"err":0}}"#;
    let expected = [
        ("node1/temperature", 27.6),
        ("node1/humidity", 54.1),
        ("node1/gas_resistance", 84190.0),
        ("node12/pressure", 1013.25),
        ("signal/rssi", -39.0),
        ("signal/snr", 13.0),
        ("stats/packets_received", 1.0),
        ("stats/crc_errors", 0.0),
    ];
    assert_eq!(
        readings(frame),
        expected.map(|(name, value)| (name.to_owned(), value))
    );
    let decoded = decode(frame).unwrap();
    assert_eq!((decoded.uptime_ms(), decoded.radio_count), (12000, Some(1)));
    assert_eq!(&*decoded.board, "N2");
}

#[test]
fn what_is_no_number_costs_that_reading_alone() {
    for value in [
        "NaN", "nan", "inf", "-inf", "null", "1e999", "-1e999", "\"warm\"", "true", "[1]", "{}",
    ] {
        let frame = format!(r#"{{"ts":1,"n1":{{"t":{value},"h":50}},"x":"NaN inf"}}"#);
        assert_eq!(
            readings(&frame),
            [("node1/humidity".to_owned(), 50.0)],
            "{value}"
        );
    }
}

#[test]
fn rejections_have_a_reason() {
    for (frame, reason) in [
        ("{}", RejectReason::NotTelemetry),
        (r#"{"len":37}"#, RejectReason::NotTelemetry),
        (r#"{"ts":-5}"#, RejectReason::InvalidTime),
        (r#"{"ts":4294967296}"#, RejectReason::InvalidTime),
        (r#"{"ts":18446744073709551615}"#, RejectReason::InvalidTime),
        (r#"{"ts":1.5}"#, RejectReason::InvalidTime),
        (r#"{"ts":NaN}"#, RejectReason::InvalidTime),
        (r#"{"ts":"12"}"#, RejectReason::InvalidTime),
        (r#"{"ts":1,"id":"\ud800"}"#, RejectReason::Syntax),
    ] {
        assert_eq!(decode(frame), Err(reason), "{frame}");
    }
    assert_eq!(
        decode(r#"{"ts":4294967295,"n1":{"t":1}}"#)
            .unwrap()
            .uptime_ms(),
        u32::MAX
    );
}

#[test]
fn a_number_in_quotes_is_a_number() {
    for (text, value) in [("27.6", 27.6), ("-3", -3.0), ("1e3", 1000.0), ("0", 0.0)] {
        let frame = format!(r#"{{"ts":1,"n1":{{"t":"{text}"}}}}"#);
        assert_eq!(readings(&frame), [("node1/temperature".to_owned(), value)]);
    }
    for text in ["", " 1", "1 ", "0x1f", "1,5", "+1", "NaN", "1e999", "01"] {
        let frame = format!(r#"{{"ts":1,"n1":{{"t":"{text}"}}}}"#);
        assert_eq!(decode(&frame), Err(RejectReason::NoReadings), "{text}");
    }
    let counted = decode(r#"{"ts":1,"sts":{"rx":"17"}}"#).unwrap();
    assert_eq!(counted.radio_count, Some(17));
}

#[test]
fn what_is_left_out_is_counted_by_its_key() {
    let mut decoder = Decoder::default();
    let frame = r#"{"ts":1,"temp":21,"n1":{"t":true,"h":[],"g":1e999,"p":null},"n2":5}"#;
    assert_eq!(decoder.decode(frame), Err(RejectReason::NoReadings));
    let frame = r#"{"ts":2,"temp":21,"n1":{"t":"warm","p":NaN,"h":5},"sig":{"rssi":{}}}"#;
    assert_eq!(decoder.decode(frame).unwrap().readings.len(), 1);
    let left_out = decoder.take_left_out();
    let counts: Vec<_> = left_out
        .iter()
        .map(|(key, it)| (key.as_str(), it.count, it.absent))
        .collect();
    let expected = [
        ("n1.g", 1, 0),
        ("n1.h", 1, 0),
        ("n1.p", 2, 2),
        ("n1.t", 2, 0),
        ("n2", 1, 0),
        ("sig.rssi", 1, 0),
        ("temp", 2, 0),
    ];
    assert_eq!(counts, expected);
    for number in 0..1000 {
        let frame = format!(r#"{{"ts":2,"x{number}":21,"n1":{{"t":1}}}}"#);
        assert!(decoder.decode(&frame).is_ok());
    }
    let left_out = decoder.take_left_out();
    assert_eq!(left_out.len(), MAX_LEFT_OUT + 1);
    assert_eq!(left_out.values().map(|it| it.count).sum::<u64>(), 1000);
}

#[test]
fn a_key_that_stands_twice_is_damage() {
    for frame in [
        r#"{"ts":1,"n1":{"t":1},"n1":{"h":2}}"#,
        r#"{"ts":1,"n1":{"t":1,"t":2}}"#,
        r#"{"ts":1,"ts":2,"n1":{"t":1}}"#,
        r#"{"id":"A","ts":1,"id":"A","n1":{"t":1}}"#,
        r#"{"ts":1,"n1":{"a/b":1,"a+b":2}}"#,
    ] {
        assert_eq!(decode(frame), Err(RejectReason::RepeatedKey), "{frame}");
    }
}

#[test]
fn telemetry_without_readings_is_none() {
    for frame in [
        r#"{"ts":1,"id":"A","temp":21.4}"#,
        r#"{"ts":1,"n2":{}}"#,
        r#"{"ts":1,"n2":{"t":null}}"#,
        r#"{"ts":1}"#,
    ] {
        assert_eq!(decode(frame), Err(RejectReason::NoReadings), "{frame}");
    }
    assert_eq!(readings(r#"{"ts":1,"n2":{},"n1":{"t":1}}"#).len(), 1);
}

#[test]
fn nodes_are_renamed_by_either_name() {
    let names = [("n1", "kitchen"), ("node2", "attic"), ("signal", "radio")];
    let names = names.map(|(key, name)| (key.to_owned(), Name::new(name)));
    let mut decoder = Decoder::new(MetricTable::default(), HashMap::from(names), &Format::Board);
    let frame = r#"{"ts":1,"n1":{"t":1},"n2":{"t":2},"n3":{"t":3},"sig":{"snr":4}}"#;
    let decoded = decoder.decode(frame).unwrap();
    let nodes: Vec<_> = decoded.readings.iter().map(|r| r.node.as_str()).collect();
    assert_eq!(nodes, ["kitchen", "attic", "node3", "radio"]);
}

#[test]
fn nesting_as_deep_as_a_frame_can_be_is_survived() {
    let deep = format!(
        r#"{{"ts":1,"x":{}1{},"n1":{{"t":2}}}}"#,
        "[".repeat(2000),
        "]".repeat(2000)
    );
    assert_eq!(decode(&deep).unwrap().readings.len(), 1);
    let deep = format!(
        r#"{{"ts":1,"n1":{{"t":{}1{},"h":2}}}}"#,
        "[".repeat(2000),
        "]".repeat(2000)
    );
    assert_eq!(decode(&deep).unwrap().readings.len(), 1);
}
