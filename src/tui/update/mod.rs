//! How the state changes: by what was seen, by the time, and by what the operator does.

mod command;
mod fleet;
mod movement;
mod nodes;
mod pointer;
mod problems;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{Event, KeyEventKind, MouseButton, MouseEventKind};
use ratatui::layout::{Position, Size};

use super::action::{Action, Direction, Effect, MetricKey, Page, Purpose};
use super::keymap::{self, Context};
use super::state::{
    App, Asked, Choice as _, Detail, Focus, List, Observation, Overlay, RowsBy, nanos,
};
use crate::monitor::{
    Command, HistoryPoint, HistoryQuery, LatestValue, Recording, Sight, Snapshot,
};
use crate::telemetry::{Name, Timestamp};

/// How long the screen says what an action did.
const NOTICE_TIME: Duration = Duration::from_secs(8);

/// The trend of a metric that is new to the screen begins with so much of the past.
const TREND_TIME: Duration = Duration::from_mins(30);

/// Points of that past.
const TREND_POINTS: usize = 40;

/// Metrics whose past is asked for; reading it takes the journal's time.
const MAX_TRENDS: usize = 64;

/// Clocks of two machines that differ by less are set by their freshest snapshot.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

/// Where there are several sources, nodes are known by theirs as well: two boards may use one name.
fn with_named_nodes(snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
    let full_name = |latest: &LatestValue| Name::new(&format!("{} {}", latest.source, latest.node));
    let is_known_so = |latest: &LatestValue| snapshot.node(&full_name(latest)).is_some();
    if snapshot.sources.len() < 2 && !snapshot.latest.iter().any(is_known_so) {
        return snapshot;
    }
    let mut snapshot = Arc::unwrap_or_clone(snapshot);
    for latest in &mut snapshot.latest {
        latest.node = full_name(latest);
    }
    // The sources come in the order of the configuration; nodes are looked for by their names.
    let by_name = |it: &LatestValue| (it.node.clone(), it.metric.clone());
    snapshot.latest.sort_by_cached_key(by_name);
    Arc::new(snapshot)
}

impl App {
    /// Takes in what was seen of the gateway.
    pub(crate) fn observe(&mut self, mut observation: Observation, now: Timestamp) -> Vec<Effect> {
        observation.snapshot = observation.snapshot.map(with_named_nodes);
        self.clock = now;
        self.learn(&observation);
        self.announce_recording();
        let mut newcomers = Vec::new();
        if self.frozen.is_none() {
            self.now = self.gateway_time();
            self.is_changed |= self.take(observation, &mut newcomers);
        }
        let mut effects = self.ask_trends(newcomers);
        effects.extend(self.ask_charts());
        effects.extend(self.ring());
        effects
    }

    /// Takes in what the display shows; says whether anything of it is new.
    fn take(&mut self, observation: Observation, newcomers: &mut Vec<MetricKey>) -> bool {
        let mut is_new = false;
        if let Some(snapshot) = observation.snapshot {
            if self.observed.is_of_another_run(&snapshot) {
                self.traffic.entries.clear();
                self.deliveries.entries.clear();
                self.log.entries.clear();
            }
            is_new |= self.observed.take(snapshot, self.now, newcomers);
        }
        is_new |= self.traffic.take(observation.traffic);
        is_new |= self.deliveries.entries.take(observation.deliveries);
        is_new | self.log.entries.take(observation.log)
    }

    /// What is to be known even while the display is frozen.
    fn learn(&mut self, observation: &Observation) {
        if self.observed.sight != observation.sight {
            self.observed.sight = observation.sight.clone();
            self.is_changed = true;
        }
        let Some(snapshot) = &observation.snapshot else {
            return;
        };
        let is_new = self
            .live
            .as_ref()
            .is_none_or(|before| before.taken != snapshot.taken);
        if is_new {
            self.learn_time(snapshot.taken);
        }
        // The end must not pass unseen.
        if snapshot.ends_by.is_some() {
            self.frozen = None;
        }
        self.live = Some(Arc::clone(snapshot));
    }

    /// The time of the gateway counts, which need not be that of this machine. A snapshot is seen
    /// some time after it was taken, so the freshest one tells best how far the clocks differ.
    fn learn_time(&mut self, taken: Timestamp) {
        if self.is_local() {
            return;
        }
        let ahead = taken.0 - self.clock.0;
        self.ahead = Some(match self.ahead {
            Some(known) if (ahead - known).abs() <= nanos(CLOCK_TOLERANCE) => known.max(ahead),
            // One of the clocks was set.
            _ => ahead,
        });
    }

    fn gateway_time(&self) -> Timestamp {
        // In the past no time passes.
        if let (Sight::Past { .. }, Some(snapshot)) = (&self.observed.sight, &self.live) {
            return snapshot.taken;
        }
        Timestamp(self.clock.0 + self.ahead.unwrap_or(0))
    }

    /// Lets time pass: ages, countdowns and notices change once a second.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        let second = |time: Timestamp| time.0.div_euclid(1_000_000_000);
        if second(self.clock) != second(now) {
            self.is_changed = true;
        }
        self.clock = now;
        if self.frozen.is_none() {
            self.now = self.gateway_time();
        }
        if self
            .notice
            .as_ref()
            .is_some_and(|notice| notice.until < now)
        {
            self.notice = None;
            self.is_changed = true;
        }
    }

    /// Takes the journal's answer.
    pub(crate) fn answer(
        &mut self,
        purpose: Purpose,
        key: &MetricKey,
        answer: Result<Vec<HistoryPoint>, String>,
    ) {
        match (purpose, answer) {
            (Purpose::Chart, answer) => self.charts.answer(key, answer),
            (Purpose::Trend, Ok(points)) => self.observed.prepend_trend(key, &points),
            // The trend then begins with what is seen from now on.
            (Purpose::Trend, Err(_)) => {}
        }
        self.is_changed = true;
    }

    /// A command was not taken.
    pub(crate) fn refuse(&mut self, command: &Command, error: &str) {
        self.complain(format!("Cannot {}: {error}", command::attempt(command)));
    }

    /// Says what an action did.
    pub(crate) fn say(&mut self, text: impl Into<String>) {
        self.put_notice(text.into(), false);
    }

    /// Says what went wrong.
    pub(crate) fn complain(&mut self, text: impl Into<String>) {
        self.put_notice(text.into(), true);
    }

    fn put_notice(&mut self, text: String, is_error: bool) {
        self.notice = Some(super::state::Notice {
            text,
            is_error,
            until: self.clock.plus(NOTICE_TIME),
        });
        self.is_changed = true;
    }

    /// Does what an event of the terminal asks for.
    pub(crate) fn on_event(&mut self, event: &Event) -> Vec<Effect> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                let mut effects = Vec::new();
                for key in keymap::pressed(*key) {
                    if let Some(action) = keymap::action(Context::of(self), key) {
                        effects.extend(self.apply(action));
                    }
                }
                effects
            }
            Event::Mouse(mouse) => {
                let at = Position::new(mouse.column, mouse.row);
                match mouse.kind {
                    MouseEventKind::Down(MouseButton::Left) => self.apply(Action::Click(at)),
                    MouseEventKind::ScrollUp => self.apply(Action::Scroll(at, Direction::Up)),
                    MouseEventKind::ScrollDown => self.apply(Action::Scroll(at, Direction::Down)),
                    _ => Vec::new(),
                }
            }
            // Pasted text is no command; where one types it is text.
            Event::Paste(text)
                if matches!(self.overlay, Some(Overlay::Filter | Overlay::Send(_))) =>
            {
                for character in text.chars().filter(|character| !character.is_control()) {
                    self.apply(Action::Type(character));
                }
                Vec::new()
            }
            Event::Resize(width, height) => {
                self.size = Size::new(*width, *height);
                self.is_changed = true;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Does what was asked for.
    pub(crate) fn apply(&mut self, action: Action) -> Vec<Effect> {
        self.is_changed = true;
        if self.listed().is_some() {
            return self.apply_to_fleet(action);
        }
        match action {
            Action::Quit => return self.quit(false),
            Action::Interrupt => return self.quit(true),
            Action::Suspend => return vec![Effect::Suspend],
            Action::Repaint => return vec![Effect::Repaint],
            Action::Operate(order) => return self.operate(order),
            Action::Choose(choice) => return self.choose_link(choice),
            Action::Confirm(yes) => return self.confirm(yes),
            Action::Record => return self.record(),
            Action::Send => return self.ask_source(Asked::Line),
            Action::Reset => return self.ask_source(Asked::Reset),
            Action::TurnSource => self.turn_source(),
            Action::Show(page) => return self.show(page),
            Action::NextPage => return self.show(self.page.turned(1)),
            Action::PreviousPage => return self.show(self.page.turned(Page::ALL.len() - 1)),
            Action::Open => return self.open(),
            Action::Pick => return self.pick(),
            Action::Longer | Action::Shorter => return self.change_span(action),
            Action::Help => self.overlay = Some(Overlay::Help { scroll: 0 }),
            Action::Problems => self.overlay = Some(Overlay::Problems { selected: 0 }),
            Action::Freeze => self.freeze(),
            Action::TurnTable => self.turn_table(),
            Action::Walk => self.walk(),
            Action::Bell => self.turn_bell(),
            Action::Move(direction) => self.go(direction),
            Action::Filter => self.overlay = Some(Overlay::Filter),
            Action::Back => self.back(),
            Action::Hex => self.traffic_as_hex = !self.traffic_as_hex,
            Action::Type(_) | Action::Erase | Action::Delete | Action::EraseAll => {
                self.edit(action);
            }
            Action::Submit => return self.submit(),
            Action::Click(at) => return self.click(at),
            Action::Scroll(at, direction) => self.scroll(at, direction),
        }
        Vec::new()
    }

    pub(super) fn show(&mut self, page: Page) -> Vec<Effect> {
        if page == self.page {
            self.close_node();
        }
        self.page = page;
        self.overlay = None;
        self.ask_charts()
    }

    fn freeze(&mut self) {
        if self.frozen.take().is_some() {
            self.now = self.gateway_time();
            self.say("The display goes on.");
        } else {
            self.frozen = Some(self.clock);
            self.say("The display is frozen; the gateway goes on. Space: go on.");
        }
    }

    fn pick(&mut self) -> Vec<Effect> {
        let keys = match self.page {
            Page::Charts => self.charts.picked.first().cloned().into_iter().collect(),
            _ => self.selected_keys(),
        };
        let said = match &keys[..] {
            [] => {
                self.say("No metric is chosen; the page Overview has them all.");
                return Vec::new();
            }
            [(node, metric)] => format!("{node} {metric} is"),
            [(node, _), ..] => format!("All of {node} is"),
        };
        if keys.iter().all(|key| self.charts.picked.contains(key)) {
            for key in keys {
                self.charts.toggle(key);
            }
            self.say(format!("{said} no longer charted."));
        } else {
            self.pick_all(keys);
            let count = self.charts.picked.len();
            self.say(format!("{said} charted ({count} in all); 3: charts."));
        }
        self.ask_charts()
    }

    fn pick_all(&mut self, keys: Vec<MetricKey>) {
        for key in keys {
            if !self.charts.picked.contains(&key) {
                self.charts.toggle(key);
            }
        }
    }

    fn turn_table(&mut self) {
        self.table.top = 0;
        let (by, said) = match self.table.by {
            RowsBy::Metric => (RowsBy::Node, "a row for each node"),
            RowsBy::Node => (RowsBy::Metric, "a row for each metric"),
        };
        self.table.by = by;
        self.say(format!("The table has {said}; v: the other way."));
    }

    fn turn_source(&mut self) {
        let sources = self.sources();
        if sources.len() < 2 {
            return self.say("There is one source, and all is shown of it.");
        }
        self.traffic.choice.turn_source(&sources);
        self.traffic.view.follow();
        self.say(format!("Shown: {}.", self.traffic.choice.words()));
    }

    fn change_span(&mut self, action: Action) -> Vec<Effect> {
        self.charts.change_span(action == Action::Longer);
        let span = super::widgets::span(self.charts.span());
        self.say(format!("The charts show the last {span}."));
        self.ask_charts()
    }

    /// Opens what is chosen.
    fn open(&mut self) -> Vec<Effect> {
        if let Some(Overlay::Problems { selected }) = self.overlay {
            return self.open_problem(selected);
        }
        let detail = match (self.page, &self.focus) {
            (Page::Nodes, _) => return self.open_node(),
            (Page::Overview, Focus::Link(link)) => Some(Detail::Link(link.clone())),
            (Page::Overview, Focus::Table) => {
                let keys = self.selected_keys();
                if keys.is_empty() {
                    self.say("There is no metric yet.");
                    return Vec::new();
                }
                self.pick_all(keys);
                return self.show(Page::Charts);
            }
            _ => self.list().and_then(List::chosen),
        };
        match detail {
            Some(detail) => self.overlay = Some(Overlay::Detail { detail, scroll: 0 }),
            None => self.say("There is nothing to open yet."),
        }
        Vec::new()
    }

    /// Out of what lies on top, one step at a time.
    fn back(&mut self) {
        match self.overlay.take() {
            Some(Overlay::Filter) => self.edit_filter(String::clear),
            Some(Overlay::WhichLink { .. }) => self.say("Nothing was done."),
            Some(_) => {}
            None => match self.page {
                Page::Overview if self.focus != Focus::Table => self.focus = Focus::Table,
                Page::Nodes if self.nodes.walk.is_some() => self.walk(),
                Page::Nodes if self.nodes.opened.is_some() => {
                    if self.charts.cursor.take().is_none() {
                        self.close_node();
                    }
                }
                Page::Charts if self.charts.cursor.is_some() => self.charts.cursor = None,
                Page::Charts => self.page = Page::Overview,
                _ if self.is_following() && self.filter().is_empty() => self.come_back(),
                _ => match self.list_mut().map(List::view_mut) {
                    Some(view) if view.selected.is_some() => view.follow(),
                    _ => self.edit_filter(String::clear),
                },
            },
        }
    }

    /// Changes what is being typed.
    fn edit(&mut self, action: Action) {
        if let Some(Overlay::Send(_)) = self.overlay {
            return match action {
                Action::Type(character) => self.line.insert(character),
                Action::Erase => self.line.erase(),
                Action::Delete => self.line.delete(),
                _ => self.line.clear(),
            };
        }
        self.edit_filter(|filter| match action {
            Action::Type(character) => filter.push(character),
            Action::Erase => drop(filter.pop()),
            _ => filter.clear(),
        });
    }

    /// Whether nothing is chosen in the list of the page, if it has one.
    fn is_following(&self) -> bool {
        let list = self.list();
        list.is_none_or(|list| list.view().selected.is_none())
    }

    fn edit_filter(&mut self, edit: impl FnOnce(&mut String)) {
        let page = self.page;
        match self.list_mut() {
            Some(list) => edit(&mut list.view_mut().filter),
            None if page == Page::Nodes => edit(&mut self.nodes.filter),
            None => edit(&mut self.table.filter),
        }
    }

    pub(in crate::tui) fn ask_charts(&mut self) -> Vec<Effect> {
        let drawn = match self.page {
            Page::Charts => self.charted(),
            Page::Nodes => self.node_charts(),
            Page::Overview if !self.areas().chart.is_empty() => self.selected_keys(),
            _ => return Vec::new(),
        };
        let due = self.charts.due(&drawn, self.now);
        due.into_iter()
            .map(|(key, query)| Effect::History(Purpose::Chart, key, self.of_source(query)))
            .collect()
    }

    /// The question as the gateway takes it, which knows nodes by their source.
    fn of_source(&self, query: HistoryQuery) -> HistoryQuery {
        let latest = self.snapshot().map_or(&[][..], |it| &it.latest);
        let latest = latest.iter().find(|latest| latest.node == query.node);
        let named = latest.and_then(|latest| {
            let (source, node) = query.node.as_str().split_once(' ')?;
            (source == latest.source.as_str()).then(|| (latest.source.clone(), Name::new(node)))
        });
        match named {
            None => query,
            Some((source, node)) => HistoryQuery {
                source: Some(source),
                node,
                ..query
            },
        }
    }

    fn ask_trends(&self, newcomers: Vec<MetricKey>) -> Vec<Effect> {
        let ask = |key: MetricKey| {
            let query = HistoryQuery {
                source: None,
                node: key.0.clone(),
                metric: key.1.clone(),
                from: Timestamp(self.now.0 - nanos(TREND_TIME)),
                to: self.now.plus_millis(-1_000),
                points: TREND_POINTS,
            };
            Effect::History(Purpose::Trend, key, self.of_source(query))
        };
        newcomers.into_iter().take(MAX_TRENDS).map(ask).collect()
    }

    /// Says what became of a recording when that changed.
    fn announce_recording(&mut self) {
        let Some(recording) = self.live().map(|snapshot| snapshot.recording.clone()) else {
            return;
        };
        let before = std::mem::replace(&mut self.recording_seen, recording.clone());
        let was_on = matches!(before, Recording::On { .. });
        match recording {
            Recording::On { path, .. } if !was_on => {
                self.say(format!("Recording to {path}; w: stop."));
            }
            Recording::Ended { path, bytes } if was_on => {
                let bytes = super::widgets::count(bytes);
                self.say(format!("Recorded {bytes} bytes to {path}."));
            }
            Recording::Failed { path, reason } if !matches!(before, Recording::Failed { .. }) => {
                self.complain(format!("Cannot record to {path}: {reason}."));
            }
            _ => {}
        }
    }
}
