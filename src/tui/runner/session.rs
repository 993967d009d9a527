//! One sitting at a terminal: what the operator does is answered at once, what the gateway does is
//! drawn in its turn.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::Control;
use crate::monitor::{Asker, Command, HistoryPoint, Observer};
use crate::repeated::Topic;
use crate::telemetry::Timestamp;
use crate::tui::action::{Effect, MetricKey, Purpose};
use crate::tui::console::Console;
use crate::tui::state::{App, Observation};

/// How often the gateway is looked at, and at most drawn.
pub(super) const REFRESH: Duration = Duration::from_millis(100);

const BACKGROUND: Topic = Topic::of_attempts("background");

/// Events handled before the next frame: a flood of them must not stop the display.
const MAX_EVENTS: usize = 256;

/// What comes back from questions that take a while.
enum Answered {
    History(Purpose, MetricKey, Result<Vec<HistoryPoint>, String>),
    Command(Command, String),
}

type Answers = (
    mpsc::Sender<(usize, Answered)>,
    mpsc::Receiver<(usize, Answered)>,
);

/// One sitting at a console.
pub(super) struct Session<C> {
    pub(super) console: C,
    app: App,
    /// One, or those of a fleet.
    observers: Vec<Arc<dyn Observer>>,
    runtime: tokio::runtime::Handle,
    /// Each with the number of the gateway that answers.
    answers: Answers,
    next_look: Instant,
    /// When what was only seen may be drawn.
    next_frame: Instant,
    /// Whether the terminal is taken.
    pub(super) is_shown: bool,
    is_left: bool,
}

impl<C: Console> Session<C> {
    pub(super) fn new(
        console: C,
        app: App,
        observers: Vec<Arc<dyn Observer>>,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        let start = console.instant();
        Self {
            console,
            app,
            observers,
            runtime,
            answers: mpsc::channel(),
            next_look: start,
            next_frame: start,
            is_shown: false,
            is_left: false,
        }
    }

    /// Until the operator leaves or the process closes the screen.
    pub(super) fn run(mut self, control: &Control) -> io::Result<()> {
        while !self.is_left && !control.0.is_closing.load(Ordering::SeqCst) {
            let was_continued = control.0.was_continued.swap(false, Ordering::SeqCst);
            if !self.console.is_ours() {
                self.stay_away(control);
                continue;
            }
            if was_continued || !self.is_shown {
                control.0.has_terminal.store(true, Ordering::SeqCst);
                self.console.take()?;
                self.is_shown = true;
                self.app.is_changed = true;
            }
            self.turn()?;
        }
        Ok(())
    }

    /// In the background nothing is read or drawn: either would stop the process.
    fn stay_away(&mut self, control: &Control) {
        self.console.leave();
        self.is_shown = false;
        if control.0.has_terminal.swap(false, Ordering::SeqCst) {
            BACKGROUND.say("", "", |sum| {
                tracing::info!(
                    repeated = sum.words(),
                    "In the background: running without the terminal UI until fg brings it back."
                );
            });
        }
        std::thread::sleep(REFRESH);
    }

    /// Looks at the gateway when it is time, waits for the operator until it is time again, and
    /// draws what changed.
    pub(super) fn turn(&mut self) -> io::Result<()> {
        let now = self.console.instant();
        if now >= self.next_look {
            self.next_look = now + REFRESH;
            self.look()?;
        }
        let wake = if self.app.is_changed {
            self.next_look.min(self.next_frame)
        } else {
            self.next_look
        };
        let is_answered = self.read_terminal(wake.saturating_duration_since(now))?;
        // What was seen waits for its turn; what the operator did is answered at once.
        let now = self.console.instant();
        if self.is_shown && self.app.is_changed && (is_answered || now >= self.next_frame) {
            self.app.is_changed = false;
            self.next_frame = now + REFRESH;
            self.draw()?;
        }
        Ok(())
    }

    pub(super) fn draw(&mut self) -> io::Result<()> {
        self.console.draw(&self.app)
    }

    /// Says whether the operator did anything.
    fn read_terminal(&mut self, mut patience: Duration) -> io::Result<bool> {
        let mut is_answered = false;
        for _ in 0..MAX_EVENTS {
            let Some(event) = self.console.event(patience)? else {
                break;
            };
            patience = Duration::ZERO;
            is_answered = true;
            let effects = self.app.on_event(&event);
            self.perform(effects)?;
            if self.is_left || !self.is_shown {
                break;
            }
        }
        if is_answered {
            // What was just asked for is seen in the same frame.
            self.look()?;
        }
        Ok(is_answered)
    }

    fn look(&mut self) -> io::Result<()> {
        while let Ok((member, answer)) = self.answers.1.try_recv() {
            match answer {
                // Somebody else is looked at by now.
                _ if member != self.app.member() => {}
                Answered::History(purpose, key, answer) => self.app.answer(purpose, &key, answer),
                Answered::Command(command, error) => self.app.refuse(&command, &error),
            }
        }
        let now = self.console.now();
        self.app.tick(now);
        if self.app.listed().is_some() {
            self.look_at_all(now);
            return Ok(());
        }
        let Some(observation) = self.observation() else {
            return Ok(());
        };
        let effects = self.app.observe(observation, now);
        self.perform(effects)
    }

    fn look_at_all(&mut self, now: Timestamp) {
        for (member, observer) in self.observers.iter().enumerate() {
            let seen = (observer.sight(), observer.snapshot());
            self.app.observe_member(member, seen, now);
        }
    }

    /// A frozen display reads what it missed once it goes on. All pages are read, so that each has
    /// what there was when it was frozen.
    fn observation(&self) -> Option<Observation> {
        let app = &self.app;
        let observer = self.observers.get(app.member())?;
        let mut observation = Observation {
            sight: observer.sight(),
            snapshot: observer.snapshot(),
            traffic: Vec::new(),
            deliveries: Vec::new(),
            log: Vec::new(),
        };
        if app.frozen.is_none() {
            observation.traffic = observer.traffic_since(app.traffic.entries.next_number());
            observation.deliveries =
                observer.deliveries_since(app.deliveries.entries.next_number());
            observation.log = observer.log_since(app.log.entries.next_number());
        }
        Some(observation)
    }

    fn perform(&mut self, effects: Vec<Effect>) -> io::Result<()> {
        for effect in effects {
            match effect {
                Effect::Suspend => {
                    let consequence = if self.app.is_local() {
                        "nothing is received until fg brings it back, or bg lets it go on"
                    } else {
                        "the gateway elsewhere goes on; fg brings this back"
                    };
                    self.console
                        .suspend(&format!("fieldgate is suspended: {consequence}."));
                    self.is_shown = false;
                }
                Effect::Bell if self.is_shown => self.console.ring()?,
                Effect::Repaint => self.console.repaint()?,
                Effect::Leave => self.is_left = true,
                effect => self.ask(effect),
            }
        }
        Ok(())
    }

    /// Asks the gateway; the answer comes back through the channel.
    fn ask(&self, effect: Effect) {
        let answers = self.answers.0.clone();
        let member = self.app.member();
        let Some(observer) = self.observers.get(member) else {
            return;
        };
        match effect {
            Effect::History(purpose, key, query) => {
                let reply = observer.history(query);
                self.runtime.spawn(async move {
                    // Nobody waits for the answer once the screen is closed.
                    let answer = Answered::History(purpose, key, reply.await);
                    drop(answers.send((member, answer)));
                });
            }
            Effect::Command(command) => {
                let reply = observer.command(command.clone(), Asker::Screen);
                self.runtime.spawn(async move {
                    if let Err(error) = reply.await {
                        drop(answers.send((member, Answered::Command(command, error))));
                    }
                });
            }
            Effect::Suspend | Effect::Bell | Effect::Repaint | Effect::Leave => {}
        }
    }
}
