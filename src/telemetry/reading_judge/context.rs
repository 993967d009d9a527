//! What the readings of a frame are judged by, and where decisions go.

use super::Decisions;
use crate::telemetry::catalogue::{Catalogue, NodeId, SeriesId};
use crate::telemetry::hearing::Hearing;
use crate::telemetry::place::{place_of_field, place_of_value};
use crate::telemetry::quality::LineQuality;
use crate::telemetry::waiting::Waiting;
use crate::telemetry::{Frame, Mark, Reading, RejectReason, SetAside, Timestamp};

/// What all readings of one frame are judged by.
pub(super) struct Context<'a> {
    pub(super) catalogue: &'a mut Catalogue,
    pub(super) quality: &'a mut LineQuality,
    pub(super) out: &'a mut Decisions,
    /// Whether the frame lacks a node that is always sent; `None`: not looked at yet.
    pub(super) lacks_node: Option<bool>,
}

impl Context<'_> {
    /// Notes what the frame says of its nodes; readings of the signal are added, if they are to be given
    /// to nodes.
    pub(super) fn hear(
        &mut self,
        frame: &Frame,
        event_time: Timestamp,
        readings: (&mut Vec<Reading>, bool),
    ) {
        let hearing = Hearing::of(frame, event_time, readings, self.catalogue);
        self.out.hearings.push(hearing);
    }

    /// Whether a frame with a new name lacks one that is always sent.
    pub(super) fn lacks_old(&mut self, frame: u64, node: NodeId) -> bool {
        let catalogue = &self.catalogue;
        let damaged_line = self.quality.is_damaged();
        let lacks_node = *self
            .lacks_node
            .get_or_insert_with(|| catalogue.lacks_node(frame, damaged_line));
        lacks_node || self.catalogue.lacks_metric(node, damaged_line)
    }

    pub(super) fn give_up_unexpected(&mut self, id: SeriesId) {
        let Some(series) = self.catalogue.series_mut(id) else {
            return;
        };
        for spike in std::mem::take(&mut series.unexpected) {
            self.set_aside(spike, RejectReason::Spike);
        }
    }

    pub(super) fn set_aside(&mut self, it: Waiting, reason: RejectReason) {
        self.quality.damage(it.number);
        let name = it.series.and_then(|id| self.catalogue.known_name(id));
        let (node, metric) = name.as_ref().map_or_else(
            || (it.reading.node.as_str(), it.reading.metric.as_str()),
            |name| (&*name.node, name.metric.as_deref().unwrap_or_default()),
        );
        self.out.marks.push(Mark {
            piece: it.piece,
            at: place_of_value(&it.bytes, node, metric)
                .or_else(|| place_of_field(&it.bytes, metric)),
            reason,
        });
        self.out.set_aside.push(SetAside {
            received: it.received.wall,
            event_time: Some(it.event_time),
            reading: Some(it.reading),
            reason,
            detail: String::new(),
            frame: it.bytes,
        });
    }
}
