//! A VictoriaMetrics database: it takes what InfluxDB takes, and shows what it holds.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Deserialize;
use tempfile::TempDir;

use super::port::Port;
use super::process::{Process, program};
use super::{PATIENCE, poll, request};

/// All points of one metric with the same labels.
#[derive(Debug, Deserialize)]
pub(crate) struct Series {
    /// Tags of the points; the name of the metric under `__name__`.
    #[serde(rename = "metric")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(rename = "timestamps")]
    pub(crate) timestamps_ms: Vec<i64>,
    pub(crate) values: Vec<f64>,
}

/// A database of the test's own.
///
/// `temperature value=1` is a point of the metric `temperature`. As with InfluxDB, a point that is
/// written twice is one point. Times are kept in milliseconds. Points more than two days in the
/// future are not taken.
pub(crate) struct VictoriaMetrics {
    folder: TempDir,
    port: Port,
    process: Option<Process>,
}

impl VictoriaMetrics {
    /// Starts a database and waits until it answers.
    pub(crate) fn start() -> Self {
        let mut database = Self {
            folder: tempfile::tempdir().unwrap(),
            port: Port::reserve(),
            process: None,
        };
        database.start_again();
        database
    }

    /// Its port, the same after every restart.
    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its address as the configuration wants it.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Ends it in good order.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::SIGTERM);
            process.wait_exit(PATIENCE);
        }
    }

    /// Ends it as a power cut would; points of the last second may be gone with it.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it after [`VictoriaMetrics::stop`] or [`VictoriaMetrics::kill`].
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "the database runs");
        let port = self.port.number();
        let mut command = program("victoria-metrics");
        command
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .arg(format!("-storageDataPath={}", self.folder.path().display()))
            .arg("-retentionPeriod=100y")
            .arg("-influxSkipSingleField")
            .arg("-dedup.minScrapeInterval=1ms")
            .arg("-search.latencyOffset=0s");
        let mut process = Process::spawn("victoria-metrics", &mut command);
        process.wait_for("answer to a request", PATIENCE, |_| {
            let response = request(port, "GET", "/health", &[], b"").ok()?;
            (response.status == 200).then_some(())
        });
        self.process = Some(process);
    }

    /// What it holds, as `{node_id="node1"}` or `temperature` selects it.
    pub(crate) fn export(&self, selector: &str) -> Vec<Series> {
        let flushed = request(self.port(), "GET", "/internal/force_flush", &[], b"").unwrap();
        assert_eq!(flushed.status, 200, "{}", flushed.body);
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("match[]", selector)
            // Without these it shows what is younger than a day or so, and nothing ahead of the clock.
            .append_pair("start", "0")
            .append_pair("end", "4102444800")
            .finish();
        let target = format!("/api/v1/export?{query}");
        let response = request(self.port(), "GET", &target, &[], b"").unwrap();
        assert_eq!(response.status, 200, "{}", response.body);
        let lines = response.body.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Forgets what is selected.
    pub(crate) fn delete(&self, selector: &str) {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("match[]", selector)
            .finish();
        let target = format!("/api/v1/admin/tsdb/delete_series?{query}");
        let response = request(self.port(), "POST", &target, &[], b"").unwrap();
        assert_eq!(response.status, 204, "{}", response.body);
    }

    /// Waits until it holds at least so many selected points, and returns them.
    pub(crate) fn wait_for_points(
        &self,
        selector: &str,
        count: usize,
        patience: Duration,
    ) -> Vec<Series> {
        let mut held = 0;
        poll(patience, || {
            let series = self.export(selector);
            held = series.iter().map(|one| one.values.len()).sum();
            (held >= count).then_some(series)
        })
        .unwrap_or_else(|| panic!("{held} points of {selector} after {patience:?}, not {count}"))
    }
}
