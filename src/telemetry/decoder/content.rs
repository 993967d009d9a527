//! What stands in a frame, read straight from its JSON.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::scalar::{Scalar, ScalarSeed, drain};
use crate::telemetry::catalogue::{Catalogue, NodeId, SeriesId};
use crate::telemetry::group::Group;
use crate::telemetry::{Name, Reading};

/// A key as it stands in the frame; a `Cow` by itself is always read into a string of its own.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// What has been read of a frame.
#[derive(Default)]
pub(super) struct Content<'de> {
    /// As it stands there; -1 where it is no whole number.
    pub(super) time: Option<i64>,
    pub(super) board: Option<Cow<'de, str>>,
    pub(super) radio_count: Option<u32>,
    pub(super) radio_count_at: Option<usize>,
    pub(super) readings: Vec<Reading>,
    pub(super) series: Vec<Option<SeriesId>>,
    pub(super) nodes: Vec<NodeId>,
    /// Keys of values that are no readings, and whether they say that there is no value.
    pub(super) left_out: Vec<(String, bool)>,
    /// Whether a key stands twice in one object.
    pub(super) repeats: bool,
}

/// More readings and nodes than this find no room beforehand.
const MAX_ROOM: usize = 32;

impl Content<'_> {
    /// With room for so many readings and nodes: a frame is most likely as the one before it.
    pub(super) fn with_room((readings, nodes): (usize, usize)) -> Self {
        Self {
            readings: Vec::with_capacity(readings.min(MAX_ROOM)),
            series: Vec::with_capacity(readings.min(MAX_ROOM)),
            nodes: Vec::with_capacity(nodes.min(MAX_ROOM)),
            ..Self::default()
        }
    }
}

/// Reads a frame into its content.
pub(super) struct FrameSeed<'a, 'de> {
    pub(super) catalogue: &'a mut Catalogue,
    pub(super) content: &'a mut Content<'de>,
}

impl<'de> DeserializeSeed<'de> for FrameSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FrameSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a telemetry object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { catalogue, content } = self;
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            match (&*key, Group::of(&key)) {
                ("ts", _) => {
                    let time = match map.next_value_seed(ScalarSeed)? {
                        Scalar::Integer(time) => time,
                        _ => -1,
                    };
                    content.repeats |= content.time.replace(time).is_some();
                }
                ("id", _) => {
                    let board = match map.next_value_seed(ScalarSeed)? {
                        Scalar::Text(board) => board,
                        _ => Cow::Borrowed(""),
                    };
                    content.repeats |= content.board.replace(board).is_some();
                }
                (key, Some(group)) => {
                    let before = content.nodes.last().copied();
                    let node = catalogue.node_behind(before, key, group);
                    if let Some(node) = node {
                        content.repeats |= !catalogue.decode_node(node);
                        content.nodes.push(node);
                    }
                    map.next_value_seed(ReadingsSeed {
                        catalogue: &mut *catalogue,
                        content: &mut *content,
                        node,
                        key,
                        group,
                        before: None,
                    })?;
                }
                (key, None) => {
                    let value = map.next_value_seed(ScalarSeed)?;
                    let is_absent = matches!(value, Scalar::Absent);
                    content.left_out.push((key.to_owned(), is_absent));
                }
            }
        }
        Ok(())
    }
}

struct ReadingsSeed<'a, 'de> {
    catalogue: &'a mut Catalogue,
    content: &'a mut Content<'de>,
    node: Option<NodeId>,
    key: &'a str,
    group: Group,
    /// The last series of the node.
    before: Option<SeriesId>,
}

impl ReadingsSeed<'_, '_> {
    /// A node that is no object carries no readings, and harms nothing else.
    fn leave_out(self, is_absent: bool) {
        self.content.left_out.push((self.key.to_owned(), is_absent));
    }

    fn take(&mut self, key: &str, value: f64, integer: Option<i64>) {
        if self.group == Group::Stats && key == "rx" {
            self.content.radio_count = integer.and_then(|count| u32::try_from(count).ok());
            self.content.radio_count_at = Some(self.content.readings.len());
        }
        let series = self
            .node
            .and_then(|node| self.catalogue.series_behind(node, self.before, key));
        self.before = series;
        let names = series.and_then(|series| self.catalogue.names(series));
        let (node, metric) = names.unwrap_or_else(|| (Name::new(self.key), Name::new(key)));
        if let Some(series) = series {
            self.content.repeats |= !self.catalogue.decode_series(series);
        }
        self.content.series.push(series);
        self.content.readings.push(Reading {
            node,
            metric,
            value,
        });
    }
}

impl<'de> DeserializeSeed<'de> for ReadingsSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadingsSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the readings of a node")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
            let value = map.next_value_seed(ScalarSeed)?;
            if let Some((value, integer)) = value.number() {
                self.take(&key, value, integer);
            } else {
                let is_absent = matches!(value, Scalar::Absent);
                let key = format!("{}.{key}", self.key);
                self.content.left_out.push((key, is_absent));
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        self.leave_out(false);
        drain(seq)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.leave_out(false);
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.leave_out(false);
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.leave_out(false);
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.leave_out(false);
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.leave_out(false);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.leave_out(true);
        Ok(())
    }
}
