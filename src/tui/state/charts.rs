//! What is charted, over which time, and what the journal answered.

use std::collections::BTreeMap;
use std::time::Duration;

use ratatui::layout::Rect;

use crate::monitor::{HistoryPoint, HistoryQuery};
use crate::telemetry::Timestamp;
use crate::tui::action::MetricKey;
use crate::tui::layout::plot;

/// Stretches of time that can be shown.
pub(crate) const SPANS: [Duration; 7] = [
    Duration::from_mins(5),
    Duration::from_mins(15),
    Duration::from_hours(1),
    Duration::from_hours(3),
    Duration::from_hours(6),
    Duration::from_hours(12),
    Duration::from_hours(24),
];

/// The shortest stretch that is shown, however little there is.
const LEAST_SPAN: Duration = Duration::from_secs(10);

/// Points asked for: two for each column of a wide terminal.
const POINTS: usize = 400;

/// The cursor moves by this share of the stretch shown.
const CURSOR_STEPS: i64 = 100;

/// History is asked for again at most this often, however short the stretch.
const SHORTEST_REFRESH: Duration = Duration::from_secs(1);

/// One metric's line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    pub(crate) points: Vec<HistoryPoint>,
    /// Why there are none.
    pub(crate) error: Option<String>,
    /// Whether anything was answered yet.
    pub(crate) is_known: bool,
    asked: Option<Timestamp>,
    is_waiting: bool,
    span: usize,
}

/// A metric in a panel.
pub(crate) struct Charted {
    /// Gives the line its colour.
    pub(crate) number: usize,
    pub(crate) key: MetricKey,
    pub(crate) limits: Limits,
}

/// Beyond these a value is an alarm: below the first, above the second.
pub(crate) type Limits = (Option<f64>, Option<f64>);

/// Metrics of one unit, which share a panel.
pub(crate) struct Panel {
    pub(crate) unit: String,
    pub(crate) metrics: Vec<Charted>,
}

impl Panel {
    /// The limits of all its metrics, where they are the same.
    pub(crate) fn limits(&self) -> Limits {
        let mut all = self.metrics.iter().map(|metric| metric.limits);
        let first = all.next().unwrap_or_default();
        if all.all(|other| other == first) {
            first
        } else {
            Limits::default()
        }
    }
}

/// The charts: which metrics, over which time, and their lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Charts {
    /// Chosen metrics, in the order in which they were.
    pub(crate) picked: Vec<MetricKey>,
    /// Where values are read; `None`: at the newest.
    pub(crate) cursor: Option<Timestamp>,
    /// The first unit shown, where not all fit.
    pub(crate) first_panel: usize,
    span: usize,
    series: BTreeMap<MetricKey, Series>,
}

impl Charts {
    /// The stretch of time that was chosen.
    pub(crate) fn span(&self) -> Duration {
        SPANS[self.span]
    }

    /// The stretch of time that is shown: that of the history until it fills the shortest one.
    pub(crate) fn shown_span(&self, now: Timestamp) -> Duration {
        let firsts = self
            .series
            .values()
            .filter_map(|series| series.points.first());
        match firsts.map(|point| point.time).min() {
            Some(first) if self.span == 0 => {
                let history = Duration::from_secs(now.since(first).as_secs() + 1);
                history.clamp(LEAST_SPAN, self.span())
            }
            _ => self.span(),
        }
    }

    /// Shows more time or less; says whether that was possible.
    pub(crate) fn change_span(&mut self, longer: bool) -> bool {
        let next = if longer {
            (self.span + 1).min(SPANS.len() - 1)
        } else {
            self.span.saturating_sub(1)
        };
        let is_other = next != self.span;
        self.span = next;
        is_other
    }

    /// A metric's line, as far as it is known.
    pub(crate) fn series(&self, key: &MetricKey) -> Option<&Series> {
        self.series.get(key)
    }

    /// Takes a metric in, or out; says whether it is in.
    pub(crate) fn toggle(&mut self, key: MetricKey) -> bool {
        if let Some(at) = self.picked.iter().position(|picked| *picked == key) {
            self.picked.remove(at);
            self.series.remove(&key);
            return false;
        }
        self.picked.push(key);
        true
    }

    /// Moves the cursor, within what is shown.
    pub(crate) fn move_cursor(&mut self, back: bool, now: Timestamp) {
        let span = nanos(self.shown_span(now));
        let step = span / CURSOR_STEPS;
        let at = self.cursor.unwrap_or(now).0 + if back { -step } else { step };
        self.cursor = (at < now.0).then_some(Timestamp(at.max(now.0 - span)));
    }

    /// Puts the cursor where the mouse points to.
    pub(crate) fn point(&mut self, x: u16, panel: Rect, now: Timestamp) {
        let plot = plot(panel);
        if plot.width < 2 || x < plot.left() || x >= plot.right() {
            return;
        }
        let span = nanos(self.shown_span(now));
        let share = i64::from(x - plot.x) * span / i64::from(plot.width - 1);
        self.cursor = Some(Timestamp(now.0 - span + share));
    }

    /// The history of these metrics that is to be asked for now. Others are forgotten.
    pub(crate) fn due(
        &mut self,
        charted: &[MetricKey],
        now: Timestamp,
    ) -> Vec<(MetricKey, HistoryQuery)> {
        self.series.retain(|key, _| charted.contains(key));
        let refresh = (self.span() / 300).max(SHORTEST_REFRESH);
        let span = nanos(self.span());
        let mut due = Vec::new();
        for key in charted {
            let series = self.series.entry(key.clone()).or_default();
            let is_old = series
                .asked
                .is_none_or(|asked| now.since(asked) >= refresh || series.span != self.span);
            if series.is_waiting || !is_old {
                continue;
            }
            series.asked = Some(now);
            series.is_waiting = true;
            series.span = self.span;
            let query = HistoryQuery {
                source: None,
                node: key.0.clone(),
                metric: key.1.clone(),
                from: Timestamp(now.0 - span),
                to: now.plus_millis(1_000),
                points: POINTS,
            };
            due.push((key.clone(), query));
        }
        due
    }

    /// Takes the journal's answer.
    pub(crate) fn answer(&mut self, key: &MetricKey, answer: Result<Vec<HistoryPoint>, String>) {
        let Some(series) = self.series.get_mut(key) else {
            return;
        };
        series.is_waiting = false;
        series.is_known = true;
        match answer {
            Ok(points) => {
                series.points = points;
                series.error = None;
            }
            Err(error) => series.error = Some(error),
        }
    }
}

/// A stretch of time in the unit of [`Timestamp`].
pub(crate) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> MetricKey {
        ("node1".into(), "temperature".into())
    }

    #[test]
    fn history_is_asked_for_once_until_it_is_answered_and_again_when_it_is_old() {
        let mut charts = Charts::default();
        let start = Timestamp(1_000_000_000_000_000_000);
        assert!(charts.due(&[], start).is_empty());
        let [(_, query)] = &charts.due(&[key()], start)[..] else {
            panic!("one metric is picked");
        };
        assert_eq!(start.since(query.from), Duration::from_mins(5));
        let later = start.plus_millis(60_000);
        assert!(
            charts.due(&[key()], later).is_empty(),
            "the first is not answered"
        );
        charts.answer(&key(), Ok(Vec::new()));
        assert_eq!(charts.due(&[key()], later).len(), 1);
        charts.answer(&key(), Ok(Vec::new()));
        assert!(charts.due(&[key()], later.plus_millis(500)).is_empty());
        assert!(charts.change_span(true));
        assert_eq!(charts.due(&[key()], later.plus_millis(500)).len(), 1);
    }

    #[test]
    fn the_span_fits_the_history_until_that_fills_five_minutes() {
        let mut charts = Charts::default();
        let now = Timestamp(1_000_000_000_000_000_000);
        let answer = |charts: &mut Charts, seconds: i64| {
            charts.due(&[key()], now);
            let point = HistoryPoint {
                time: now.plus_millis(-1_000 * seconds),
                min: 1.0,
                mean: 1.0,
                max: 1.0,
                count: 1,
            };
            charts.answer(&key(), Ok(vec![point]));
            charts.shown_span(now).as_secs()
        };
        assert_eq!(charts.shown_span(now), Duration::from_mins(5));
        assert_eq!(answer(&mut charts, 1), 10);
        assert_eq!(answer(&mut charts, 77), 78);
        assert_eq!(answer(&mut charts, 400), 300);
        charts.change_span(true);
        assert_eq!(answer(&mut charts, 77), 900, "asked for");
    }

    #[test]
    fn the_span_ends_at_five_minutes_and_a_day() {
        let mut charts = Charts::default();
        assert!(!charts.change_span(false));
        while charts.change_span(true) {}
        assert_eq!(charts.span(), Duration::from_hours(24));
    }

    #[test]
    fn the_cursor_stays_in_what_is_shown() {
        let mut charts = Charts::default();
        let now = Timestamp(1_000_000_000_000_000_000);
        charts.move_cursor(true, now);
        assert_eq!(charts.cursor, Some(now.plus_millis(-3_000)));
        charts.move_cursor(false, now);
        assert_eq!(charts.cursor, None);
        for _ in 0..300 {
            charts.move_cursor(true, now);
        }
        assert_eq!(charts.cursor, Some(now.plus_millis(-300_000)));
    }
}
