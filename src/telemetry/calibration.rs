//! Corrections of what sensors measure, by node and metric, and by source where two have nodes of one name.

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

/// Corrections by node and metric.
type OfNodes = HashMap<Name, HashMap<Name, Correction>>;

/// The corrections of a gateway. Each reading gets its own once: between the judges, who know what a
/// sensor can measure, and the journal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calibration {
    /// For nodes of every source.
    nodes: OfNodes,
    /// For nodes of one source, by its name.
    sources: HashMap<String, OfNodes>,
}

impl Calibration {
    /// Sets the correction of a node's metric, both as they are delivered; of `source/node`, for that source
    /// alone.
    pub fn set(&mut self, node: &str, metric: Name, correction: Correction) {
        let (nodes, node) = match node.split_once('/') {
            Some((source, node)) => (self.sources.entry(source.to_owned()).or_default(), node),
            None => (&mut self.nodes, node),
        };
        let of_node = nodes.entry(Name::new(node)).or_default();
        of_node.insert(metric, correction);
    }

    /// The corrections for what comes from a source: its own go before those of every source.
    #[must_use]
    pub fn of_source(&self, source: &str) -> Self {
        let mut nodes = self.nodes.clone();
        for (node, metrics) in self.sources.get(source).into_iter().flatten() {
            let of_node = nodes.entry(node.clone()).or_default();
            of_node.extend(metrics.iter().map(|(metric, it)| (metric.clone(), *it)));
        }
        Self {
            nodes,
            sources: HashMap::new(),
        }
    }

    /// Corrects a reading. What would be no finite number stays as it was measured.
    pub fn apply(&self, reading: &mut Reading) {
        if self.nodes.is_empty() {
            return;
        }
        let of_node = self.nodes.get(&reading.node);
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
            calibration.set("node1", "t".into(), correction);
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

    #[test]
    fn a_source_has_corrections_of_its_own() {
        let moved = |offset| Correction {
            scale: 1.0,
            offset,
            decimals: None,
        };
        let mut calibration = Calibration::default();
        calibration.set("node1", "t".into(), moved(1.0));
        calibration.set("node1", "h".into(), moved(2.0));
        calibration.set("north/node1", "t".into(), moved(3.0));
        for (source, metric, expected) in [
            ("north", "t", 3.0),
            ("north", "h", 2.0),
            ("south", "t", 1.0),
            ("south", "h", 2.0),
        ] {
            let mut reading = Reading {
                node: "node1".into(),
                metric: metric.into(),
                value: 0.0,
            };
            calibration.of_source(source).apply(&mut reading);
            assert!((reading.value - expected).abs() < 1e-9, "{source} {metric}");
        }
    }
}
