//! Any bytes through the framer and the decoder.
//!
//! Nothing panics, the pieces given out are the stream, it does not matter where the stream is cut into
//! reads, and what is decoded can go anywhere.

#![no_main]

use fieldgate::telemetry::{Decoder, Framer, MAX_FRAME, Name, RejectReason, Segment};
use libfuzzer_sys::fuzz_target;

/// What came out of a stream.
#[derive(Debug, Default, PartialEq)]
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
                assert!(frame.len() <= MAX_FRAME, "{} bytes", frame.len());
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

fn cut(stream: &[u8], mut next_length: impl FnMut() -> usize) -> Output {
    let mut framer = Framer::default();
    let mut output = Output::default();
    let mut rest = stream;
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(next_length().clamp(1, rest.len()));
        framer.push(chunk, &mut |segment| output.take(segment));
        rest = later;
    }
    framer.finish(&mut |segment| output.take(segment));
    output
}

/// Lengths of reads that depend on the stream alone, so that a failure can be repeated.
fn lengths_out_of(stream: &[u8]) -> impl FnMut() -> usize {
    let mut state = stream.iter().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    move || {
        state = state.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        // Mostly short, sometimes longer than a frame.
        let bits = state >> 28;
        (state >> 8) as usize % (1 << bits.min(14))
    }
}

fn decode(frames: &[String]) {
    let mut decoder = Decoder::default();
    for frame in frames {
        let Ok(decoded) = decoder.decode(frame) else {
            continue;
        };
        for reading in &decoded.readings {
            assert!(reading.value.is_finite(), "{frame}: {reading:?}");
            for name in [&reading.node, &reading.metric] {
                assert_eq!(&Name::new(name.as_str()), name, "{frame}: no safe name");
            }
        }
    }
}

fuzz_target!(|stream: &[u8]| {
    let whole = cut(stream, || stream.len());
    assert_eq!(whole.pieces, stream, "the pieces are not the stream");
    assert_eq!(cut(stream, lengths_out_of(stream)), whole);
    assert_eq!(cut(stream, || 1), whole);
    decode(&whole.frames);
});
