//! `fieldgate rewind`: has a sink send again what it had delivered.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{gateway, print, sink, sink_of, time_or_age};
use crate::api::Remote;
use crate::cli::RewindArguments;
use crate::config::{self, Config, Environment, JournalPath};
use crate::journal::{self, JournalError};
use crate::monitor::{LinkState, RewindTo, SinkId, Snapshot};
use crate::telemetry::Timestamp;

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(200);

/// Between two lines about it, where nobody watches a bar.
const LINE: Duration = Duration::from_secs(10);

/// Has a sink go back, and waits until it has caught up. The configured journal decides: whoever has it goes
/// back in it. Where there is none, the gateway of this machine is meant, or the one at the address.
pub fn rewind(arguments: &RewindArguments) -> anyhow::Result<()> {
    let to = match &*arguments.to {
        "oldest" => RewindTo::Oldest,
        text => RewindTo::Time(time_or_age("--to", text, Timestamp::now())?),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut running = None;
        if arguments.gateway.is_none() {
            let config = config::load(&arguments.journal.overrides(), &Environment::of_process())?;
            running = gateway::of_journal(&config.journal.path).await?;
            if running.is_none()
                && let Some((sink, messages)) = take_back(&config, &arguments.sink, to)?
            {
                return say(&format!(
                    "{sink} goes back: {messages} readings are sent again when the gateway starts."
                ));
            }
        }
        let gateway = if let Some(gateway) = running {
            gateway
        } else {
            let url = arguments.gateway.as_deref();
            let (token_file, config) = (&arguments.token_file, &arguments.journal.config);
            gateway::find(url, token_file.as_deref(), config.as_deref()).await?
        };
        let sink = sink_of(&gateway::link(&gateway, &arguments.sink).await?)?;
        ask(&gateway, &sink, to, arguments.no_wait).await
    })
}

/// Takes a sink back in the file of a journal that no gateway has; returns which, and the messages that it
/// will send again. `None`: there is no such file.
fn take_back(config: &Config, name: &str, to: RewindTo) -> anyhow::Result<Option<(SinkId, u64)>> {
    let JournalPath::File(path) = &config.journal.path else {
        return Ok(None);
    };
    if !path.exists() {
        return Ok(None);
    }
    let sink = sink(name, config)?;
    match journal::take_back(path, &sink, to) {
        Ok(messages) => Ok(Some((sink, messages))),
        Err(JournalError::InUse { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn ask(gateway: &Remote, sink: &SinkId, to: RewindTo, no_wait: bool) -> anyhow::Result<()> {
    let answer = gateway.rewind(sink.link().clone(), to).await;
    let messages = answer
        .map_err(|error| anyhow!(error))
        .with_context(|| format!("{sink} does not go back"))?;
    say(&format!(
        "{sink} goes back: {messages} readings are sent again."
    ))?;
    if no_wait || messages == 0 {
        return Ok(());
    }
    watch(gateway, sink, messages).await?;
    say(&format!("{messages} readings were sent again."))
}

fn say(line: &str) -> anyhow::Result<()> {
    Ok(print(format!("{line}\n").as_bytes())?)
}

/// Shows how far it is until it is done.
async fn watch(gateway: &Remote, sink: &SinkId, messages: u64) -> anyhow::Result<()> {
    let mut progress = Progress::new(sink, messages);
    let mut started = None;
    loop {
        let asked = gateway.snapshot().await.map_err(|error| anyhow!(error));
        let snapshot = asked.with_context(|| {
            format!("{gateway} does not say any more how far {sink} is, and goes on by itself")
        })?;
        if *started.get_or_insert(snapshot.started) != snapshot.started {
            bail!(
                "the gateway was started anew; what {sink} had not sent again waits with all else"
            );
        }
        let left = snapshot.journal.sink(sink).map_or(0, |it| it.again);
        progress.show(left, &trouble(&snapshot, sink));
        if left == 0 {
            progress.bar.finish_and_clear();
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Why nothing is sent at present; empty: it is.
fn trouble(snapshot: &Snapshot, sink: &SinkId) -> String {
    match snapshot.link(sink.link()).map(|status| &status.state) {
        None | Some(LinkState::Up) => String::new(),
        Some(LinkState::BackingOff { reason, .. } | LinkState::Refused { reason, .. }) => {
            format!(", {reason}")
        }
        Some(state) => format!(", {}", state.word()),
    }
}

/// A bar on a terminal, else a line now and then.
struct Progress {
    sink: SinkId,
    messages: u64,
    bar: ProgressBar,
    shown: Instant,
}

impl Progress {
    fn new(sink: &SinkId, messages: u64) -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let style = ProgressStyle::with_template("{wide_bar} {percent} %, {eta} left{msg}");
        let bar = ProgressBar::with_draw_target(Some(messages), target);
        Self {
            sink: sink.clone(),
            messages,
            bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
            shown: Instant::now(),
        }
    }

    fn show(&mut self, left: u64, trouble: &str) {
        let done = self.messages.saturating_sub(left);
        self.bar.set_message(trouble.to_owned());
        self.bar.set_position(done);
        if self.bar.is_hidden() && self.shown.elapsed() >= LINE {
            self.shown = Instant::now();
            let (sink, messages) = (&self.sink, self.messages);
            eprintln!("{sink}: {done} of {messages} readings sent again{trouble}");
        }
    }
}
