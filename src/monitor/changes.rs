//! What changed of the metrics, in a line for people.

use std::fmt::Write as _;

use super::{MetricFamily, MetricKind, Sample};

/// What changed from one look at the metrics to the next, as `packets processed +60, mqtt publishes success +540,
/// queue depth mqtt 3`; `None`: nothing. Counters are told by what they grew, everything else by what it is.
/// What was not there before, was 0.
pub fn changes(before: &[MetricFamily], now: &[MetricFamily]) -> Option<String> {
    let mut parts = Vec::new();
    for family in now {
        let before = before.iter().find(|other| other.name == family.name);
        let before = before.map_or(&[][..], |family| &family.samples);
        let words = match family.kind {
            MetricKind::Counter => told(&family.samples, before, true),
            // When something was last heard changes all the time.
            MetricKind::Gauge if family.name.ends_with("_seconds") => String::new(),
            MetricKind::Gauge => told(&family.samples, before, false),
            MetricKind::Histogram => means(&family.samples, before),
        };
        if !words.is_empty() {
            parts.push(format!("{}{words}", in_words(family.name)));
        }
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// ` mqtt 3 influxdb 12`.
fn told(samples: &[Sample], before: &[Sample], is_counter: bool) -> String {
    let mut words = String::new();
    for sample in samples {
        let old = value_in(before, sample);
        if sample.value.to_bits() == old.to_bits() {
            continue;
        }
        let labels = sample.labels.iter().map(|(_, label)| label);
        for label in labels.filter(|label| !label.is_empty()) {
            // Writing to a `String` cannot fail.
            let _infallible = write!(words, " {label}");
        }
        let _infallible = if is_counter {
            write!(words, " +{}", sample.value - old)
        } else {
            write!(words, " {}", rounded(sample.value))
        };
    }
    words
}

/// The mean of what was observed since, for each label.
fn means(samples: &[Sample], before: &[Sample]) -> String {
    let mut words = String::new();
    let sums = samples.iter().filter(|sample| sample.suffix == "_sum");
    for sum in sums {
        let is_count = |it: &&Sample| it.suffix == "_count" && it.labels == sum.labels;
        let Some(count) = samples.iter().find(is_count) else {
            continue;
        };
        let observed = count.value - value_in(before, count);
        if observed > 0.0 {
            let mean = (sum.value - value_in(before, sum)) / observed;
            let label = sum.labels.first().map_or("", |(_, label)| label);
            // Writing to a `String` cannot fail.
            let _infallible = write!(words, " {label} {}", rounded(mean));
        }
    }
    words
}

fn value_in(samples: &[Sample], like: &Sample) -> f64 {
    let same = |it: &&Sample| it.suffix == like.suffix && it.labels == like.labels;
    samples.iter().find(same).map_or(0.0, |sample| sample.value)
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// `telemetry_packets_processed_total` as `packets processed`.
fn in_words(name: &str) -> String {
    let name = name.strip_prefix("telemetry_").unwrap_or(name);
    name.strip_suffix("_total")
        .unwrap_or(name)
        .replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(suffix: &'static str, label: Option<&str>, value: f64) -> Sample {
        Sample {
            suffix,
            labels: label
                .map(|label| ("of", label.to_owned()))
                .into_iter()
                .collect(),
            value,
        }
    }

    fn family(name: &'static str, kind: MetricKind, samples: Vec<Sample>) -> MetricFamily {
        MetricFamily {
            name,
            kind,
            help: "",
            samples,
        }
    }

    #[test]
    fn only_what_changed_is_told() {
        let look = |packets, success, depth| {
            vec![
                family(
                    "telemetry_packets_processed_total",
                    MetricKind::Counter,
                    vec![sample("", None, packets)],
                ),
                family(
                    "mqtt_publishes_total",
                    MetricKind::Counter,
                    vec![
                        sample("", Some("success"), success),
                        sample("", Some("failure"), 0.0),
                    ],
                ),
                family(
                    "queue_depth",
                    MetricKind::Gauge,
                    vec![sample("", Some("mqtt"), depth)],
                ),
            ]
        };
        let line = |before: &[MetricFamily], now: &[MetricFamily]| changes(before, now);
        assert_eq!(line(&[], &look(0.0, 0.0, 0.0)), None);
        assert_eq!(
            line(&[], &look(60.0, 540.0, 3.0)).unwrap(),
            "packets processed +60, mqtt publishes success +540, queue depth mqtt 3"
        );
        assert_eq!(line(&look(1.0, 9.0, 3.0), &look(1.0, 9.0, 3.0)), None);
        assert_eq!(
            line(&look(1.0, 9.0, 3.0), &look(1.0, 12.0, 0.0)).unwrap(),
            "mqtt publishes success +3, queue depth mqtt 0"
        );
    }

    #[test]
    fn latency_is_told_by_its_mean() {
        let look = |sum, count| {
            let samples = vec![
                sample("_sum", Some("mqtt"), sum),
                sample("_count", Some("mqtt"), count),
            ];
            [family(
                "delivery_latency_seconds",
                MetricKind::Histogram,
                samples,
            )]
        };
        let line = changes(&look(1.0, 10.0), &look(2.5, 20.0));
        assert_eq!(line.unwrap(), "delivery latency seconds mqtt 0.15");
        assert_eq!(changes(&look(1.0, 10.0), &look(1.0, 10.0)), None);
    }
}
