//! What the operator asks of the gateway: to whom it goes, what is asked before, and what is said.

use crate::monitor::{
    Command, JournalState, LinkId, LinkKind, LinkState, Order, Recording, Sight, SinkSnapshot,
    Snapshot,
};
use crate::tui::action::{Choice, Effect, Page};
use crate::tui::state::{App, Asked, Focus, Overlay};
use crate::tui::widgets::{count, escape_text};
use crate::tui::words::link_title;

impl App {
    /// Flush, reconnect or hold: to the link in focus, or to the one that is named then.
    pub(super) fn operate(&mut self, order: Order) -> Vec<Effect> {
        if let (Page::Overview, Focus::Link(link)) = (self.page, self.focus.clone()) {
            return self.give(order, &[link]);
        }
        self.overlay = Some(Overlay::WhichLink {
            asked: Asked::Order(order),
            among: None,
        });
        Vec::new()
    }

    /// A line or a reset: for the source whose traffic is shown, or for the one that is named then.
    pub(super) fn ask_source(&mut self, asked: Asked) -> Vec<Effect> {
        let shown = self.traffic.choice.source.clone();
        let sources = shown.map_or_else(|| self.sources(), |source| vec![source]);
        if sources.len() > 1 {
            let among = Some(LinkKind::Source);
            self.overlay = Some(Overlay::WhichLink { asked, among });
            return Vec::new();
        }
        self.ask(asked, &sources)
    }

    /// The link was named, or its kind: where there are several of that, they are asked for next.
    pub(super) fn choose_link(&mut self, choice: Choice) -> Vec<Effect> {
        let Some(Overlay::WhichLink { asked, among }) = self.overlay.take() else {
            return Vec::new();
        };
        let mut links = self.links();
        links.retain(|link| among.is_none_or(|kind| link.kind() == kind));
        match choice {
            Choice::All => {}
            Choice::Number(number) if (1..=links.len()).contains(&number) => {
                links = vec![links.swap_remove(number - 1)];
            }
            Choice::Number(_) => {
                self.overlay = Some(Overlay::WhichLink { asked, among });
                return Vec::new();
            }
            Choice::Kind(kind) => {
                links.retain(|link| link.kind() == kind);
                if links.len() > 1 {
                    let among = Some(kind);
                    self.overlay = Some(Overlay::WhichLink { asked, among });
                    return Vec::new();
                }
            }
        }
        self.ask(asked, &links)
    }

    fn ask(&mut self, asked: Asked, links: &[LinkId]) -> Vec<Effect> {
        match (asked, links) {
            (Asked::Order(order), links) => self.give(order, links),
            (_, []) => Vec::new(),
            (Asked::Line, [source, ..]) => {
                self.overlay = Some(Overlay::Send(source.clone()));
                Vec::new()
            }
            (Asked::Reset, [source, ..]) => {
                self.say(format!("The board of {} is reset.", link_title(source)));
                self.send(vec![Command::Reset(source.clone())])
            }
        }
    }

    fn give(&mut self, order: Order, links: &[LinkId]) -> Vec<Effect> {
        let mut commands = Vec::new();
        let mut said = Vec::new();
        for link in links {
            let state = self.live().and_then(|snapshot| snapshot.link(link));
            let lent_to = state.and_then(|status| status.lent_to.clone());
            let state = state.map_or(LinkState::Disabled, |status| status.state.clone());
            let outcome = match lent_to {
                Some(to) => Err(format!(
                    "{} is lent to {}, and comes back when that ends.",
                    link_title(link),
                    escape_text(&to)
                )),
                None => judge(order, link, &state, self.live()),
            };
            match outcome {
                Ok((command, text)) => {
                    commands.push(command);
                    said.push(text);
                }
                // Who asked for all did not ask for those that cannot.
                Err(text) if links.len() == 1 => said.push(text),
                Err(_) => {}
            }
        }
        if said.is_empty() {
            said.push("There is nothing to do that to.".to_owned());
        }
        self.say(said.join(" "));
        self.send(commands)
    }

    /// Gives commands, after a question when the gateway is elsewhere.
    fn send(&mut self, commands: Vec<Command>) -> Vec<Effect> {
        // Over a journal alone there is nobody to do it, which is said instead.
        let is_past = self.is_past();
        if self.is_local() || is_past || commands.is_empty() {
            return commands.into_iter().map(Effect::Command).collect();
        }
        let done = self
            .notice
            .take()
            .map_or_else(String::new, |notice| notice.text);
        self.overlay = Some(Overlay::Confirm {
            question: format!("{done} Do that to {}?", self.peer()),
            commands,
            done,
        });
        Vec::new()
    }

    pub(super) fn confirm(&mut self, yes: bool) -> Vec<Effect> {
        let Some(Overlay::Confirm { commands, done, .. }) = self.overlay.take() else {
            return Vec::new();
        };
        if !yes {
            self.say("Nothing was done.");
            return Vec::new();
        }
        if commands == [Command::Quit] {
            return self.stop();
        }
        self.say(done);
        commands.into_iter().map(Effect::Command).collect()
    }

    pub(super) fn record(&mut self) -> Vec<Effect> {
        let recording = self.live().map(|snapshot| &snapshot.recording);
        let is_on = matches!(recording, Some(Recording::On { .. }));
        // What became of it is said when the gateway says so: it knows the file.
        self.say(if is_on {
            "The recording ends."
        } else {
            "The raw stream will be recorded."
        });
        let command = if is_on {
            Command::StopRecording(None)
        } else {
            Command::StartRecording(None)
        };
        self.send(vec![command])
    }

    /// What was typed is complete: the filter is kept, the line is sent. What was sent stands in the
    /// traffic; nothing else says so, because it may still fail.
    pub(super) fn submit(&mut self) -> Vec<Effect> {
        let Some(Overlay::Send(link)) = self.overlay.take() else {
            return Vec::new();
        };
        let text = self.line.take();
        vec![Effect::Command(Command::Send(link, text))]
    }

    /// Stops the gateway; a gateway elsewhere is left alone.
    pub(super) fn quit(&mut self, without_question: bool) -> Vec<Effect> {
        if !self.is_local() {
            return vec![Effect::Leave];
        }
        let is_stopping = self
            .snapshot()
            .is_some_and(|snapshot| snapshot.ends_by.is_some());
        let worry = self.live().and_then(worry);
        match worry {
            Some(question) if !without_question && !is_stopping => {
                let commands = vec![Command::Quit];
                self.overlay = Some(Overlay::Confirm {
                    question,
                    commands,
                    done: String::new(),
                });
                Vec::new()
            }
            _ => self.stop(),
        }
    }

    fn stop(&mut self) -> Vec<Effect> {
        self.overlay = None;
        self.frozen = None;
        self.say("Stopping.");
        vec![Effect::Command(Command::Quit)]
    }

    fn peer(&self) -> String {
        match &self.observed.sight {
            Sight::Local => "this gateway".to_owned(),
            Sight::Past { path } => path.clone(),
            Sight::Connected { peer } | Sight::Lost { peer, .. } => peer.clone(),
        }
    }
}

/// What did not come to pass, for people.
pub(in crate::tui) fn attempt(command: &Command) -> String {
    match command {
        Command::To(order, link) => format!("{} {}", order.name(), link_title(link)),
        Command::Send(_, text) => format!("send \"{}\"", escape_text(text)),
        Command::Reset(link) => format!("reset the board of {}", link_title(link)),
        Command::FlushAll => "flush".to_owned(),
        Command::StartRecording(_) => "begin to record".to_owned(),
        Command::StopRecording(_) => "end the recording".to_owned(),
        Command::Quit => "stop the gateway".to_owned(),
    }
}

/// The command for one link and what is said of it, or why there is none.
fn judge(
    order: Order,
    link: &LinkId,
    state: &LinkState,
    snapshot: Option<&Snapshot>,
) -> Result<(Command, String), String> {
    let name = link_title(link);
    let sink = link.sink();
    match (order, state, sink) {
        (_, LinkState::Disabled, _) => Err(format!("{name} is not configured.")),
        (_, LinkState::Ended, _) => Err(format!("{name} has ended.")),
        (Order::Flush, _, None) => Err("The source has nothing to flush.".to_owned()),
        (Order::Flush, _, Some(sink)) => {
            let depth = snapshot
                .and_then(|snapshot| snapshot.sink(&sink))
                .map_or(0, |sink| sink.queue_depth);
            let what = match (depth, state) {
                (0, _) => format!("Nothing waits for {name}."),
                (depth, LinkState::Up) => {
                    format!("{} waiting for {name} are sent now.", count(depth))
                }
                (depth, state) => format!(
                    "{} waiting for {name} are sent as soon as it is up; it is {} now.",
                    count(depth),
                    state.word()
                ),
            };
            Ok((Command::To(order, link.clone()), what))
        }
        (Order::Reconnect, LinkState::Held, _) => {
            Err(format!("{name} is held; h: release it first."))
        }
        (Order::Reconnect, ..) => Ok((
            Command::To(order, link.clone()),
            format!("{name} is connected anew."),
        )),
        (Order::Hold | Order::Release, LinkState::Held, _) => Ok((
            Command::To(Order::Release, link.clone()),
            format!("{name} is released."),
        )),
        (Order::Hold | Order::Release, ..) => {
            let what = match link.kind() {
                LinkKind::Source => "nothing is read until it is released",
                LinkKind::Mqtt | LinkKind::Influxdb => "what arrives waits until it is released",
            };
            Ok((
                Command::To(Order::Hold, link.clone()),
                format!("{name} is held: {what} (h)."),
            ))
        }
    }
}

/// What is to be considered before the gateway stops: data that waits and that nobody can take.
fn worry(snapshot: &Snapshot) -> Option<String> {
    let waiting: Vec<String> = snapshot
        .sinks
        .iter()
        .filter(|sink| sink.queue_depth > 0 && sink.link.state != LinkState::Up)
        .map(describe)
        .collect();
    if waiting.is_empty() {
        return None;
    }
    let fate = match snapshot.journal.state {
        JournalState::File => "It stays in the journal and goes after the next start.",
        JournalState::Memory | JournalState::Fallback { .. } | JournalState::Closed => {
            "The journal is in memory: it will be LOST."
        }
    };
    Some(format!("{}. {fate} Quit?", waiting.join(", ")))
}

fn describe(sink: &SinkSnapshot) -> String {
    format!(
        "{} waiting for {} ({})",
        count(sink.queue_depth),
        link_title(sink.sink.link()),
        sink.link.state.word()
    )
}
