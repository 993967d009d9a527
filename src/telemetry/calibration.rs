//! Corrections of what sensors measure, by node and metric.

use std::collections::HashMap;

use super::{Name, Reading};

/// A correction: the value times `scale`, plus `offset`, rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correction {
    /// What the value is multiplied by.
    pub scale: f64,
    /// What is added then.
    pub offset: f64,
    /// Digits behind the point; `None`: it is not rounded.
    pub decimals: Option<u8>,
}

impl Correction {
    fn apply(self, value: f64) -> f64 {
        let corrected = value * self.scale + self.offset;
        let rounded = match self.decimals {
            // By way of text: the nearest number with these digits, whatever its size.
            Some(decimals) => format!("{corrected:.*}", usize::from(decimals)).parse(),
            None => Ok(corrected),
        };
        // Zero has no sign.
        rounded.unwrap_or(corrected) + 0.0
    }
}

/// The corrections of a gateway. Each reading gets its own once: between the judges, who know what a
/// sensor can measure, and the journal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calibration(HashMap<Name, HashMap<Name, Correction>>);

impl Calibration {
    /// Sets the correction of a node's metric, both as they are delivered.
    pub fn set(&mut self, node: Name, metric: Name, correction: Correction) {
        self.0.entry(node).or_default().insert(metric, correction);
    }

    /// Corrects a reading. What would be no finite number stays as it was measured.
    pub fn apply(&self, reading: &mut Reading) {
        if self.0.is_empty() {
            return;
        }
        let of_node = self.0.get(&reading.node);
        if let Some(correction) = of_node.and_then(|metrics| metrics.get(&reading.metric)) {
            let corrected = correction.apply(reading.value);
            if corrected.is_finite() {
                reading.value = corrected;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_scaled_moved_and_rounded() {
        for (scale, offset, decimals, value, expected) in [
            (1.0, -0.4, None, 22.5, 22.1),
            (0.01, 0.0, None, 101_325.0, 1013.25),
            (1.8, 32.0, Some(1), 22.57, 72.6),
            (1.0, 0.0, Some(0), 84_190.4, 84_190.0),
            (1.0, 0.0, Some(2), 1e300, 1e300),
            (1.0, -0.04, Some(1), 0.0, 0.0),
            (1e300, 0.0, None, 1e300, 1e300),
        ] {
            let mut calibration = Calibration::default();
            let correction = Correction {
                scale,
                offset,
                decimals,
            };
            calibration.set("node1".into(), "t".into(), correction);
            let mut reading = Reading {
                node: "node1".into(),
                metric: "t".into(),
                value,
            };
            calibration.apply(&mut reading);
            let difference = (reading.value - expected).abs();
            assert!(
                difference <= expected.abs() * 1e-12,
                "{} {expected}",
                reading.value
            );
            assert!(reading.value.is_sign_positive());
            let mut other = Reading {
                node: "node2".into(),
                ..reading.clone()
            };
            calibration.apply(&mut other);
            assert_eq!(other.value.to_bits(), reading.value.to_bits());
        }
    }
}
