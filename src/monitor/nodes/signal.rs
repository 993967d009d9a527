//! How well a node is received.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::telemetry::{Signal, Timestamp};

/// Packets over which the spread is taken.
const PACKETS: usize = 60;

/// How a node is received.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct NodeSignal {
    /// Strength in dBm; `None`: it was never heard over the radio.
    pub rssi: Option<Spread>,
    /// How far it stood out of the noise, in dB.
    pub snr: Option<Spread>,
    /// When it was last received.
    pub at: Option<Timestamp>,
}

/// The last value of something, and how it spread over the last 60 packets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The last value.
    pub last: f64,
    /// The lowest one.
    pub lowest: f64,
    /// The mean.
    pub mean: f64,
    /// The highest one.
    pub highest: f64,
}

#[derive(Debug, Default)]
pub(super) struct SignalRecord {
    rssi: VecDeque<f64>,
    snr: VecDeque<f64>,
    at: Option<Timestamp>,
}

impl SignalRecord {
    pub(super) fn take(&mut self, signal: Signal, at: Timestamp) {
        for (values, value) in [(&mut self.rssi, signal.rssi), (&mut self.snr, signal.snr)] {
            let Some(value) = value else { continue };
            values.push_back(value);
            if values.len() > PACKETS {
                values.pop_front();
            }
            self.at = Some(at);
        }
    }

    pub(super) fn status(&self) -> NodeSignal {
        NodeSignal {
            rssi: spread(&self.rssi),
            snr: spread(&self.snr),
            at: self.at,
        }
    }
}

fn spread(values: &VecDeque<f64>) -> Option<Spread> {
    let last = *values.back()?;
    let fold = |pick: fn(f64, f64) -> f64| values.iter().copied().fold(last, pick);
    Some(Spread {
        last,
        lowest: fold(f64::min),
        mean: values.iter().sum::<f64>() / values.len() as f64,
        highest: fold(f64::max),
    })
}
