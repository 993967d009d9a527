//! What stands behind the `?` of a request.

use serde::Deserialize;

pub(crate) use crate::config::{TIME_FORMS, parse_time};
use crate::monitor::HistoryQuery;
use crate::telemetry::{Name, Timestamp};

/// Points of one answer, unless told otherwise.
const DEFAULT_POINTS: usize = 500;

/// The most points of one answer.
const MAX_POINTS: usize = 10_000;

/// The stretch that is answered when `from` is not given.
const DEFAULT_SPAN_MILLIS: i64 = 3_600_000;

/// Of `/api/v1/history`, as they come.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HistoryParameters {
    source: Option<String>,
    node: Option<String>,
    metric: Option<String>,
    from: Option<String>,
    to: Option<String>,
    points: Option<String>,
}

impl HistoryParameters {
    /// What is asked for; the error says what is wrong.
    pub(super) fn query(&self, now: Timestamp) -> Result<HistoryQuery, String> {
        let name = |key: &str, value: &Option<String>| match value.as_deref() {
            Some(name) if !name.is_empty() => Ok(Name::new(name)),
            _ => Err(format!(
                "{key} is missing; snapshots name nodes and metrics"
            )),
        };
        let time = |key: &str, value: &Option<String>, default: Timestamp| match value {
            Some(text) => parse_time(text).ok_or_else(|| format!("{key} is no time; {TIME_FORMS}")),
            None => Ok(default),
        };
        let node = name("node", &self.node)?;
        let metric = name("metric", &self.metric)?;
        let to = time("to", &self.to, now)?;
        let from = time("from", &self.from, to.plus_millis(-DEFAULT_SPAN_MILLIS))?;
        if from >= to {
            return Err("from must be before to".into());
        }
        let points = match &self.points {
            Some(text) => text
                .parse()
                .ok()
                .filter(|count| (1..=MAX_POINTS).contains(count)),
            None => Some(DEFAULT_POINTS),
        };
        Ok(HistoryQuery {
            source: self.source.as_deref().map(Name::new),
            node,
            metric,
            from,
            to,
            points: points.ok_or_else(|| format!("points must be from 1 to {MAX_POINTS}"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_has_a_default_and_what_is_wrong_is_named() {
        let now = Timestamp(7_200_000_000_000);
        let parameters = |points: &str, from: &str| HistoryParameters {
            source: None,
            node: Some("node1".into()),
            metric: Some("temperature".into()),
            from: (!from.is_empty()).then(|| from.into()),
            to: None,
            points: (!points.is_empty()).then(|| points.into()),
        };
        let query = parameters("", "").query(now).unwrap();
        assert_eq!(query.from, Timestamp(3_600_000_000_000));
        assert_eq!((query.to, query.points), (now, 500));
        for (points, from, named) in [
            ("0", "", "points"),
            ("10001", "", "points"),
            ("x", "", "points"),
            ("", "soon", "from"),
            ("", "7200", "before to"),
        ] {
            let error = parameters(points, from).query(now).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        let error = HistoryParameters::default().query(now).unwrap_err();
        assert!(error.contains("node"), "{error}");
    }
}
