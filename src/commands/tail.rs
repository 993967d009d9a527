//! `fieldgate tail`: prints readings as they come.

use std::io::{self, Write};

use anyhow::anyhow;

use super::gateway;
use crate::cli::TailArguments;
use crate::monitor::LiveReading;
use crate::telemetry::{Name, ShortestValue};

/// Prints until nobody reads it any more or the gateway ends.
pub fn tail(arguments: &TailArguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let filter = Filter::of(arguments.filter.as_deref().unwrap_or_default());
    runtime.block_on(async {
        let gateway = gateway::reach(&arguments.gateway).await?;
        let ended = gateway.readings(|readings| write(&filter, &readings)).await;
        ended.map_err(|error| anyhow!("{gateway}: {error}"))
    })
}

/// Which readings are wanted.
struct Filter {
    node: Option<Name>,
    metric: Option<Name>,
}

impl Filter {
    /// `node1/temperature`, `node1`, or nothing.
    fn of(text: &str) -> Self {
        let (node, metric) = text.split_once('/').unwrap_or((text, ""));
        let name = |text: &str| (!text.is_empty()).then(|| Name::new(text));
        Self {
            node: name(node),
            metric: name(metric),
        }
    }

    fn wants(&self, reading: &LiveReading) -> bool {
        self.node.as_ref().is_none_or(|node| *node == reading.node)
            && self.metric.as_ref().is_none_or(|it| *it == reading.metric)
    }
}

/// Whether somebody reads on.
fn write(filter: &Filter, readings: &[LiveReading]) -> bool {
    let mut stdout = io::stdout().lock();
    for it in readings.iter().filter(|it| filter.wants(it)) {
        let (time, value) = (it.event_time, ShortestValue(it.value));
        let line = format!("{time} {}/{} {value} {}", it.node, it.metric, it.unit);
        if writeln!(stdout, "{}", line.trim_end()).is_err() {
            return false;
        }
    }
    stdout.flush().is_ok()
}
