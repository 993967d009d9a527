//! Turns a frame into readings.

mod content;
mod scalar;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::de::DeserializeSeed as _;

use super::catalogue::{Catalogue, Naming};
use super::decoded::{Decoded, FrameTime};
use super::format::{Format, Mapper};
use super::non_numbers::without_non_numbers;
use super::{MetricTable, Name, RejectReason};
use content::{Content, FrameSeed};

/// Keys of values that are left out and are counted by themselves; those of all others as one.
const MAX_LEFT_OUT: usize = 64;

/// Turns frames into readings by a metric table. Remembers names, so that a known one costs no
/// allocation.
#[derive(Debug, Default)]
pub struct Decoder {
    catalogue: Catalogue,
    left_out: BTreeMap<String, LeftOut>,
    /// The board of the last frame.
    board: Arc<str>,
    /// How many readings and nodes it had.
    usual: (usize, usize),
    /// For formats of fields; `None`: the format `board`.
    mapper: Option<Mapper>,
    /// Whether the last frame had something that only telemetry has.
    met_telemetry: bool,
    /// Where the last frame that was rejected is wrong, as far as it is known.
    fault_at: Option<usize>,
}

/// Values that were left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub count: u64,
    /// How many of them said that there is no value: `null`, `NaN`, `inf`.
    pub absent: u64,
}

impl Decoder {
    /// A decoder with a metric table and names for nodes, by their key on the wire (`n1`) or their
    /// default name (`node1`).
    pub fn new(table: MetricTable, renamed_nodes: HashMap<String, Name>, format: &Format) -> Self {
        let mapper = Mapper::new(format);
        let naming = if mapper.is_some() {
            Naming::Own
        } else {
            Naming::Wire
        };
        Self {
            catalogue: Catalogue::new(table, renamed_nodes, naming),
            mapper,
            ..Self::default()
        }
    }

    /// Whether a frame that was rejected just now was telemetry before it was damaged, rather than
    /// another object that stands in the stream.
    pub fn met_telemetry(&self) -> bool {
        self.met_telemetry
    }

    /// The place in a frame that was rejected just now at which it is wrong, as far as it is known.
    pub fn fault_at(&self) -> Option<usize> {
        self.fault_at
    }

    /// The names that were met.
    pub fn catalogue(&mut self) -> &mut Catalogue {
        &mut self.catalogue
    }

    /// The nodes whose keys stand in some bytes, also where these are no whole frame.
    pub fn nodes_in(&self, bytes: &[u8]) -> Vec<Name> {
        self.catalogue.nodes_in(bytes)
    }

    /// The values that were left out since this was asked last, by their key: `n1.t`, `temp`.
    pub fn take_left_out(&mut self) -> BTreeMap<String, LeftOut> {
        std::mem::take(&mut self.left_out)
    }

    /// Reads a frame.
    pub fn decode(&mut self, frame: &str) -> Result<Decoded, RejectReason> {
        if self.mapper.is_some() {
            return self.map(frame);
        }
        self.met_telemetry = true;
        match self.read(frame) {
            Ok(decoded) => decoded,
            // No JSON: most likely a float that is no number. Rare, so it may cost a second pass.
            Err(_) => match without_non_numbers(frame) {
                Cow::Owned(json) => self.read(&json).unwrap_or(Err(RejectReason::Syntax)),
                Cow::Borrowed(_) => Err(RejectReason::Syntax),
            },
        }
    }

    /// Reads a frame of a format of fields.
    fn map(&mut self, frame: &str) -> Result<Decoded, RejectReason> {
        let Some(mapper) = &mut self.mapper else {
            return Err(RejectReason::NotTelemetry);
        };
        self.catalogue.begin_frame();
        let decoded = mapper.decode(frame, &mut self.catalogue);
        let left_out = mapper.take_left_out();
        let rejection = decoded.as_ref().err();
        self.fault_at = rejection.and_then(|it| it.at);
        self.met_telemetry = rejection.is_some_and(|it| it.reason != RejectReason::NotTelemetry);
        for (key, is_absent) in &left_out {
            self.leave_out(key, *is_absent);
        }
        decoded.map_err(|rejection| rejection.reason)
    }

    fn read(&mut self, json: &str) -> Result<Result<Decoded, RejectReason>, serde_json::Error> {
        self.catalogue.begin_frame();
        let mut content = Content::with_room(self.usual);
        FrameSeed {
            catalogue: &mut self.catalogue,
            content: &mut content,
        }
        .deserialize(&mut serde_json::Deserializer::from_str(json))?;
        self.usual = (content.readings.len(), content.nodes.len());
        self.met_telemetry = content.time.is_some() || !content.nodes.is_empty();
        let Some(time) = content.time else {
            return Ok(Err(RejectReason::NotTelemetry));
        };
        for (key, is_absent) in &content.left_out {
            self.leave_out(key, *is_absent);
        }
        Ok(match u32::try_from(time) {
            _ if content.repeats => Err(RejectReason::RepeatedKey),
            Err(_) => Err(RejectReason::InvalidTime),
            Ok(_) if content.readings.is_empty() => Err(RejectReason::NoReadings),
            Ok(uptime_ms) => Ok(Decoded {
                time: FrameTime::Uptime(uptime_ms),
                counter: None,
                board: self.board_of(&content.board.unwrap_or_default()),
                radio_count: content.radio_count,
                readings: content.readings,
                series: content.series,
                nodes: content.nodes,
                radio_count_at: content.radio_count_at,
            }),
        })
    }

    /// The name of a board, shared with the last frame's where it is the same.
    fn board_of(&mut self, name: &str) -> Arc<str> {
        if *self.board != *name {
            self.board = name.into();
        }
        Arc::clone(&self.board)
    }

    fn leave_out(&mut self, key: &str, is_absent: bool) {
        let has_room = self.left_out.len() < MAX_LEFT_OUT || self.left_out.contains_key(key);
        let key = if has_room { key } else { "…" };
        let left_out = self.left_out.entry(key.to_owned()).or_default();
        left_out.count += 1;
        left_out.absent += u64::from(is_absent);
    }
}

#[cfg(test)]
mod tests;
