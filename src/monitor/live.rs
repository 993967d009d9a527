//! Readings as they come, for whoever watches them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::telemetry::{MetricTable, Name, Packet, Timestamp};

/// Batches that may wait for somebody who reads slowly; the oldest ones go.
const MAX_BATCHES: usize = 256;

/// A reading that is to be delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LiveReading {
    /// The node.
    pub node: Name,
    /// The metric.
    pub metric: Name,
    /// Its value.
    pub value: f64,
    /// The metric's unit; empty when nobody knows it.
    pub unit: String,
    /// When it was measured.
    pub event_time: Timestamp,
}

/// Readings that came together.
pub type LiveReadings = Arc<[LiveReading]>;

/// Passes readings on. As long as nobody watches, it costs nothing.
#[derive(Debug)]
pub(super) struct Live(broadcast::Sender<LiveReadings>);

impl Default for Live {
    fn default() -> Self {
        Self(broadcast::Sender::new(MAX_BATCHES))
    }
}

impl Live {
    pub(super) fn watch(&self) -> broadcast::Receiver<LiveReadings> {
        self.0.subscribe()
    }

    pub(super) fn pass_on(&self, packets: &[Packet], metrics: &MetricTable) {
        if self.0.receiver_count() == 0 {
            return;
        }
        let of_packet = |packet: &Packet| {
            let event_time = packet.event_time;
            let readings = packet.readings.iter().map(move |it| LiveReading {
                node: it.node.clone(),
                metric: it.metric.clone(),
                value: it.value,
                unit: metrics
                    .by_name(&it.metric)
                    .map_or_else(String::new, |info| info.unit.clone()),
                event_time,
            });
            readings.collect::<Vec<_>>()
        };
        // Whoever watched may have gone by now.
        let _nobody = self.0.send(packets.iter().flat_map(of_packet).collect());
    }
}
