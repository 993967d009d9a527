//! What the gateway is fed with.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use fieldgate::source::Generator;

/// Writes a recording of so many packets; returns how many messages they hold.
pub fn write(path: &Path, packets: u32) -> u64 {
    let mut generator = Generator::new(3, 0.0, 1);
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut bytes = BytesMut::new();
    let mut messages = 0;
    for _ in 0..packets {
        bytes.clear();
        generator.write_next(Duration::from_millis(100), &mut bytes);
        messages += count(&bytes);
        file.write_all(&bytes).unwrap();
    }
    file.flush().unwrap();
    messages
}

/// The fields of all objects inside are readings.
fn count(packet: &[u8]) -> u64 {
    let packet: serde_json::Value = serde_json::from_slice(packet).unwrap();
    let fields = packet.as_object().unwrap().values();
    let objects = fields.filter_map(|field| field.as_object());
    objects.map(|readings| readings.len() as u64).sum()
}
