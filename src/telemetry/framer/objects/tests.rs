use proptest::prelude::*;

use super::*;
use crate::telemetry::Decoder;

const DIRTY: &[u8] = include_bytes!("../../../../tests/data/dirty.bin");

/// What came out of a stream.
#[derive(Debug, Default, PartialEq, Clone)]
struct Output {
    frames: Vec<String>,
    damages: Vec<RejectReason>,
    pieces: Vec<u8>,
}

impl Output {
    fn take(&mut self, segment: Segment<'_>) {
        match segment {
            Segment::Text(bytes) => self.pieces.extend_from_slice(bytes),
            Segment::Frame(frame) => {
                self.pieces.extend_from_slice(frame.as_bytes());
                self.frames.push(frame.to_owned());
            }
            Segment::Damaged { bytes, reason } => {
                self.pieces.extend_from_slice(bytes);
                self.damages.push(reason);
            }
        }
    }
}

fn cut<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Output {
    let mut framer = Objects::new(Style::Board);
    let mut output = Output::default();
    for chunk in chunks {
        framer.push(chunk, &mut |segment| output.take(segment));
        assert!(
            framer.buffer.len() <= MAX_FRAME,
            "{} bytes are kept",
            framer.buffer.len()
        );
    }
    framer.finish(&mut |segment| output.take(segment));
    output
}

fn frames(stream: &str) -> Vec<String> {
    cut([stream.as_bytes()]).frames
}

/// Chunks of the given sizes, over and over.
fn chunks<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = bytes;
    let mut chunks = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            return chunks;
        }
        let (chunk, behind) = rest.split_at((*size).clamp(1, rest.len()));
        chunks.push(chunk);
        rest = behind;
    }
    vec![bytes]
}

/// The rules without any cleverness, in quadratic time.
fn reference(bytes: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    let mut resynchronising = true;
    let mut previous = 0;
    let mut place = 0;
    let mut damaged_until = 0;
    while place < bytes.len() {
        let byte = bytes[place];
        let object = (byte == b'{').then(|| object_at(&bytes[place..]));
        match object {
            Some(Ok(length)) if !resynchronising || has_time(&bytes[place..place + length]) => {
                let frame = &bytes[place..place + length];
                frames.push(String::from_utf8(frame.to_vec()).unwrap());
                resynchronising = false;
                place += length;
                previous = 0;
                continue;
            }
            Some(Ok(length)) => {
                // The rest of a broken object, as text; line ends may stand in its strings and, if it spans
                // lines, between them.
                for byte in &bytes[place..place + length] {
                    resynchronising &= !ends_line(previous, *byte);
                    previous = *byte;
                }
                place += length;
                continue;
            }
            Some(Err(Some(length)))
                if place >= damaged_until
                    && (!resynchronising || has_time(&bytes[place..place + length])) =>
            {
                damaged_until = place + length;
                resynchronising = true;
                previous = 0;
            }
            _ => {}
        }
        if place >= damaged_until && resynchronising {
            resynchronising &= !ends_line(previous, byte);
            previous = byte;
        }
        place += 1;
    }
    frames
}

fn ends_line(previous: u8, byte: u8) -> bool {
    byte == b'\n' || (previous == b'\\' && byte == b'n')
}

/// The length of the object that begins here, or how far it was one; `None`: no key follows.
fn object_at(bytes: &[u8]) -> Result<usize, Option<usize>> {
    let mut objects = Candidates::default();
    let mut track = Track::new(Style::Board);
    track.open_object(0, false, &mut objects);
    let window = Window { bytes, base: 0 };
    for (position, byte) in (0..).zip(bytes).skip(1) {
        track.step(position, *byte, window, &mut objects);
        match objects.waiting[0].fate {
            Fate::Closed { end } => return Ok(usize::try_from(end).unwrap()),
            Fate::Dead(failure) => return Err(Some(usize::try_from(failure.at).unwrap())),
            Fate::Brace => return Err(None),
            Fate::Open if position + 1 == MAX_FRAME as u64 => {
                return Err(Some(MAX_FRAME - 1));
            }
            Fate::Open => {}
        }
    }
    let only_space = bytes[1..].iter().all(u8::is_ascii_whitespace);
    Err((!only_space).then_some(bytes.len()))
}

#[test]
fn the_dirty_sample_gives_exactly_its_packets() {
    let expected: serde_json::Value =
        serde_json::from_str(include_str!("../../../../tests/data/dirty.expected.json")).unwrap();
    let mut decoder = Decoder::default();
    let packets: Vec<serde_json::Value> = cut([DIRTY])
        .frames
        .iter()
        .filter_map(|frame| decoder.decode(frame).ok())
        .map(|decoded| {
            let readings: serde_json::Map<_, _> = decoded
                .readings
                .iter()
                .map(|r| {
                    (
                        format!("{}/{}", r.node, r.metric),
                        serde_json::json!(r.value),
                    )
                })
                .collect();
            serde_json::json!({"ts": decoded.uptime_ms(), "id": decoded.board, "readings": readings})
        })
        .collect();
    let expected = expected.as_array().unwrap();
    assert_eq!(packets.len(), expected.len());
    for (packet, expected) in packets.iter().zip(expected) {
        assert_eq!(packet["ts"], expected["ts"]);
        assert_eq!(packet["id"], expected["id"]);
        let (readings, wanted) = (
            packet["readings"].as_object().unwrap(),
            expected["readings"].as_object().unwrap(),
        );
        assert_eq!(readings.len(), wanted.len(), "{packet}");
        for (name, value) in wanted {
            assert_eq!(
                readings[name].as_f64(),
                value.as_f64(),
                "{name} of {packet}"
            );
        }
    }
}

#[test]
fn every_clean_packet_comes_out_of_every_kind_of_line() {
    let clean = include_str!("../../../../tests/data/clean.ndjson");
    let first: Vec<&str> = clean.lines().take(40).collect();
    assert_eq!(frames(clean).len(), 360);
    for name in ["literal-newline.txt", "probe-rs.log"] {
        let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
        let output = cut([std::fs::read(path).unwrap().as_slice()]);
        assert_eq!(output.frames, first, "{name}");
        assert!(output.damages.is_empty(), "{name}: {:?}", output.damages);
    }
}

#[test]
fn damage_costs_itself_alone_and_counts_once() {
    let whole = r#"{"ts":2,"id":"N2","n1":{"t":1.5},"sts":{"rx":2}}"#;
    for (damaged, reason) in [
        (
            r#"{"ts":1,"id":"N2","n1":{"t":1.5},"sts":{"rx":1}"#,
            RejectReason::Syntax,
        ),
        (r#"{"ts":1,"id":"N2","n1":{"t":1.5"#, RejectReason::Syntax),
        (
            r#"{"ts":1,"id":"N2"X,"n1":{"t":1.5},"sig":{"snr":1},"sts":{"rx":1}}"#,
            RejectReason::Syntax,
        ),
        (
            r#"{"ts":1,"id":"N2,"n1":{"t":1.5},"sts":{"rx":1}}"#,
            RejectReason::Syntax,
        ),
        (r#"{"ts":1.,"n1":{"t":1.5}}"#, RejectReason::Syntax),
    ] {
        for between in ["\n", "\r\n", "\\n", ""] {
            let output = cut([format!("\n{damaged}{between}{whole}{between}").as_bytes()]);
            assert_eq!(output.frames, [whole], "{damaged}{between}");
            let [found] = output.damages[..] else {
                panic!("{:?} in {damaged}", output.damages)
            };
            let by_line_end = between.ends_with('\n') && found == RejectReason::Unfinished;
            assert!(
                found == reason || by_line_end,
                "{found:?} in {damaged}{between}"
            );
        }
    }
}

#[test]
fn an_object_inside_of_a_damaged_one_is_found() {
    let whole = r#"{"ts":2,"n1":{"t":1.5}}"#;
    for before in [
        "{\"ts\":1,\"n1\":",
        "{\"a\":[1,",
        "{\"a\":\"",
        "{\"ts\":1,\"id\":\"N",
        "{\"a\":{\"b\":[[",
        "{{{{",
        "\"{\"",
        "{\"",
        "{ \t",
    ] {
        assert_eq!(frames(&format!("\n{before}{whole}\n")), [whole], "{before}");
    }
    let long = format!("\n{{\"a\":[{}", "1,".repeat(2030));
    assert_eq!(
        frames(&format!("{long}{whole}\n")),
        [whole],
        "across the longest frame"
    );
    assert_eq!(
        frames(&format!("{long}{whole}")),
        [whole],
        "the same at the end of input"
    );
}

#[test]
fn braces_of_log_lines_are_text() {
    let output = cut([&b"[INFO] radio {state: idle} buf {54} {len: 37} {} { }\n"[..]]);
    assert!(output.damages.is_empty(), "{:?}", output.damages);
}

#[test]
fn the_longest_frame_is_kept_and_a_longer_one_is_not() {
    let object = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
    let fits = object(MAX_FRAME);
    assert_eq!(cut([format!("\n{fits}").as_bytes()]).frames, [fits]);
    let output = cut([format!("\n{}", object(MAX_FRAME + 1)).as_bytes()]);
    assert!(output.frames.is_empty());
    assert_eq!(output.damages, [RejectReason::TooLong]);
}

#[test]
fn the_tail_of_an_object_at_the_beginning_counts_as_text() {
    let output = cut([&b".4},\"sig\":{\"rssi\":-42},\"sts\":{\"rx\":1}}\n{\"rssi\":1}\n"[..]]);
    assert!(output.damages.is_empty());
    assert_eq!(output.frames, [r#"{"rssi":1}"#]);
}

#[test]
fn a_line_that_ends_within_the_rest_of_an_object_has_ended() {
    let stream = b"{\n}{}";
    assert_eq!(cut([&stream[..]]).frames, ["{}"]);
    assert_eq!(reference(stream), ["{}"]);
}

#[test]
fn an_interruption_ends_what_is_unfinished() {
    let mut framer = Objects::new(Style::Board);
    let mut output = Output::default();
    framer.push(b"\n{\"ts\":1,\"n1\":{", &mut |segment| output.take(segment));
    framer.finish(&mut |segment| output.take(segment));
    assert_eq!(output.damages, [RejectReason::Unfinished]);
    framer.push(b"\"t\":2}}\n{\"ts\":3}", &mut |segment| {
        output.take(segment);
    });
    assert_eq!(output.frames, [r#"{"ts":3}"#]);
}

/// Steps taken by tracks, a measure of work that no machine's load disturbs.
fn work(stream: &[u8]) -> usize {
    let mut framer = Objects::new(Style::Board);
    let mut work = 0;
    for byte in stream {
        work += framer
            .tracks
            .iter()
            .filter(|track| !track.is_idle())
            .count();
        work += framer.candidates.waiting.len().min(1);
        framer.push(&[*byte], &mut |_| {});
    }
    work
}

#[test]
fn no_input_costs_more_than_two_looks_at_a_byte() {
    let nested = "{\"a\":".repeat(20_000);
    let braces = "{".repeat(100_000);
    let arrays = format!("{{\"ts\":{}", "[".repeat(100_000));
    let either_way = format!("{{\"a\":\"{{{}", "\",\":\":\"".repeat(15_000));
    for stream in [nested, braces, arrays, either_way] {
        assert!(work(stream.as_bytes()) <= 3 * stream.len());
    }
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(br#"{"ts":12,"id":"N2","n1":{"t":1.5,"h":null},"sts":{"rx":1}}"#.to_vec()),
        1 => Just(b"\n".to_vec()),
        1 => Just(b"\\n".to_vec()),
        1 => Just(b"{\"a\":[".to_vec()),
        1 => Just(b"{\"a\":\"".to_vec()),
        1 => Just(b"{\"ts\":1,".to_vec()),
        1 => Just(b"}}".to_vec()),
        1 => Just(b"\"".to_vec()),
        1 => Just(b"[INFO] {state: idle} ".to_vec()),
        2 => "[{}\\[\\]\",:\\\\nt1 ]{1,6}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 1..8),
        1 => (100..3000_usize).prop_map(|count| vec![b'x'; count]),
        1 => (10..600_usize).prop_map(|count| "{\"a\":".repeat(count).into_bytes()),
    ];
    proptest::collection::vec(piece, 1..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_dirty_sample_is_cut_alike_in_chunks_of_any_size(
        sizes in proptest::collection::vec(1..700_usize, 1..40),
    ) {
        let whole = cut([DIRTY]);
        let output = cut(chunks(DIRTY, &sizes));
        prop_assert_eq!(&output.frames, &whole.frames);
        prop_assert_eq!(&output.damages, &whole.damages);
        prop_assert_eq!(&output.pieces, DIRTY);
    }
}

proptest! {
    #[test]
    fn any_stream_is_cut_as_the_plain_rules_say(
        stream in pieces(),
        sizes in proptest::collection::vec(1..100_usize, 1..10),
    ) {
        let whole = cut([stream.as_slice()]);
        prop_assert_eq!(&whole.frames, &reference(&stream));
        let output = cut(chunks(&stream, &sizes));
        prop_assert_eq!(&output.frames, &whole.frames);
        prop_assert_eq!(&output.damages, &whole.damages);
        prop_assert_eq!(&output.pieces, &stream, "nothing is left out and nothing comes twice");
    }

    #[test]
    fn a_whole_packet_survives_any_damage_on_the_line_before(stream in pieces()) {
        let whole = r#"{"ts":77,"id":"N2","n1":{"t":1.5}}"#;
        let stream = [stream.as_slice(), b"\n", whole.as_bytes(), b"\n"].concat();
        let output = cut([stream.as_slice()]);
        prop_assert_eq!(output.frames.last().map(String::as_str), Some(whole));
    }
}

#[test]
fn an_object_may_span_lines_if_it_begins_so() {
    let pretty = "{\r\n  \"ts\": 1,\r\n  \"n1\": {\r\n    \"t\": 2\r\n  }\r\n}";
    let output = cut([format!("boot\r\n{pretty}\r\n{pretty}\r\n").as_bytes()]);
    assert_eq!(output.frames, [pretty, pretty]);
    assert!(output.damages.is_empty());
    // A line feed in the place of a digit.
    let output = cut([&b"{\"ts\":1,\"n1\":{\"g\":8419\n}}\n"[..]]);
    assert!(output.frames.is_empty());
    assert_eq!(output.damages, [RejectReason::Unfinished]);
    // The second one broke off.
    let broken = &pretty[..pretty.len() - 6];
    let output = cut([format!("\n{broken}\n{pretty}\n").as_bytes()]);
    assert_eq!(output.frames, [pretty]);
    assert_eq!(output.damages, [RejectReason::Unfinished]);
}

fn cut_any(stream: &str) -> Output {
    let mut output = Output::default();
    for size in [1, 7, usize::MAX] {
        let mut framer = Objects::new(Style::Any);
        let mut one = Output::default();
        for chunk in chunks(stream.as_bytes(), &[size]) {
            framer.push(chunk, &mut |segment| one.take(segment));
        }
        framer.finish(&mut |segment| one.take(segment));
        assert_eq!(one.pieces, stream.as_bytes());
        assert!(size == 1 || one == output, "{stream} by {size}: {one:?}");
        output = one;
    }
    output
}

#[test]
fn any_object_is_cut_wherever_it_stands() {
    for (stream, expected) in [
        ("{\"a\":1}\n{\"a\":2}\n", vec!["{\"a\":1}", "{\"a\":2}"]),
        ("[{\"a\":1},\n {\"a\":2}]\n", vec!["{\"a\":1}", "{\"a\":2}"]),
        ("I (12) main: {\"a\":1} sent\r\n", vec!["{\"a\":1}"]),
        (
            "{ \"a\": 1,\n\"b\": [\n1,\n2]\n}",
            vec!["{ \"a\": 1,\n\"b\": [\n1,\n2]\n}"],
        ),
        ("{\"x\":{\"a\":1}}", vec!["{\"x\":{\"a\":1}}"]),
        ("{state: idle} {\"a\":1}", vec!["{\"a\":1}"]),
    ] {
        let output = cut_any(stream);
        assert_eq!(output.frames, expected, "{stream}");
        assert!(output.damages.is_empty(), "{stream}: {:?}", output.damages);
    }
}

#[test]
fn what_stood_within_a_broken_object_is_no_frame() {
    for (stream, expected) in [
        // Opened in mid-stream.
        ("mp\":1,\"air\":{\"a\":1}}\n{\"b\":2}\n", vec!["{\"b\":2}"]),
        (
            "  \"h\": 1,\n  \"air\": {\n    \"a\": 1\n  }\n}\n{\"b\":2}",
            vec!["{\"b\":2}"],
        ),
        // A byte is missing.
        ("{\"x:1,\"air\":{\"a\":1}}\n{\"b\":2}", vec!["{\"b\":2}"]),
        (
            "{\"air\":{\"a\":1},\"x\":1\"}\n{\"b\":2}",
            vec!["{\"b\":2}"],
        ),
        // The end is missing.
        ("{\"x\":1,\"y\":\n{\"b\":2}\n", vec!["{\"b\":2}"]),
        ("{\"x\":1,\n{\"b\":2}\n", vec!["{\"b\":2}"]),
        ("{\"x\":22.\n{\"b\":2}\n", vec!["{\"b\":2}"]),
    ] {
        assert_eq!(cut_any(stream).frames, expected, "{stream}");
    }
    let long = format!(
        "{{\"x\":\"{}\",\"y\":{{\"a\":1}}}}\n{{\"b\":2}}",
        "z".repeat(5000)
    );
    let output = cut_any(&long);
    assert_eq!(output.frames, ["{\"b\":2}"]);
    assert_eq!(output.damages, [RejectReason::TooLong]);
}

proptest! {
    #[test]
    fn the_reads_do_not_matter_for_any_object(
        parts in prop::collection::vec("[{}\\[\\]:,\"a1 \n]{1,12}|\\{\"a\":1\\}", 0..20),
    ) {
        cut_any(&parts.concat());
    }
}
