//! The screen's own thread: reads the terminal, looks at the gateway, draws.
//!
//! A terminal that is slow or stopped holds up this thread and nothing else.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ratatui::crossterm::event::{self, Event};
use ratatui::layout::Size;

use super::action::Effect;
use super::state::{App, Guide, MetricKey, Observation};
use super::terminal::{self, TerminalGuard};
use super::theme::Theme;
use super::update::Purpose;
use super::views;
use crate::monitor::{Command, HistoryPoint, Observer};
use crate::telemetry::Timestamp;

/// How often the gateway is looked at and, when something changed, drawn.
const REFRESH: Duration = Duration::from_millis(100);

/// Events handled before the next frame: a flood of them must not stop the display.
const MAX_EVENTS: usize = 256;

/// How long the screen is waited for at its end; a terminal that takes nothing cannot be restored.
const PATIENCE: Duration = Duration::from_secs(1);

/// How the screen is told what happens to the process.
#[derive(Debug, Clone, Default)]
pub struct Control(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    is_closing: AtomicBool,
    was_continued: AtomicBool,
}

impl Control {
    /// Closes the screen.
    pub fn close(&self) {
        self.0.is_closing.store(true, Ordering::SeqCst);
    }

    /// Says that the process was stopped and goes on: the terminal may have changed.
    pub fn process_continued(&self) {
        self.0.was_continued.store(true, Ordering::SeqCst);
    }
}

/// How a screen ended.
#[derive(Debug)]
pub enum Ended {
    /// The terminal is as it was.
    Closed,
    /// The terminal failed.
    Failed(io::Error),
    /// The screen panicked; the terminal is as it was.
    Panicked,
    /// The terminal takes nothing, so that it cannot be restored.
    Stuck,
}

/// A screen that runs.
#[derive(Debug)]
pub struct Screen {
    control: Control,
    thread: JoinHandle<io::Result<()>>,
    done: tokio::sync::oneshot::Receiver<()>,
}

impl Screen {
    /// Opens the screen. Must be called within a tokio runtime, which answers its questions.
    pub fn open(
        observer: Arc<dyn Observer>,
        theme: Theme,
        control: Control,
        guide: Guide,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let (done_sender, done) = tokio::sync::oneshot::channel();
        let flags = control.clone();
        let thread = thread::Builder::new()
            .name(terminal::THREAD.to_owned())
            .spawn(move || {
                // Dropped at the end, also by a panic.
                let _done_sender = done_sender;
                run(observer, theme, &flags, runtime, guide)
            })?;
        Ok(Self {
            control,
            thread,
            done,
        })
    }

    /// Waits until the screen ends by itself.
    pub async fn ended(&mut self) {
        // The sender is dropped at the end and never sends.
        let _dropped = (&mut self.done).await;
    }

    /// Closes the screen and waits until the terminal is restored.
    pub fn close(self) -> Ended {
        self.control.close();
        let deadline = Instant::now() + PATIENCE;
        while !self.thread.is_finished() {
            if Instant::now() >= deadline {
                return Ended::Stuck;
            }
            thread::sleep(Duration::from_millis(5));
        }
        match self.thread.join() {
            Ok(Ok(())) => Ended::Closed,
            Ok(Err(error)) => Ended::Failed(error),
            Err(_) => Ended::Panicked,
        }
    }
}

/// What comes back from questions that take a while.
enum Answer {
    History(Purpose, MetricKey, Result<Vec<HistoryPoint>, String>),
    Command(Command, String),
}

struct Runner<'a> {
    app: App,
    observer: Arc<dyn Observer>,
    control: &'a Control,
    runtime: tokio::runtime::Handle,
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    _guard: TerminalGuard,
    screen: terminal::Screen,
    is_left: bool,
}

fn run(
    observer: Arc<dyn Observer>,
    theme: Theme,
    control: &Control,
    runtime: tokio::runtime::Handle,
    guide: Guide,
) -> io::Result<()> {
    let guard = TerminalGuard::take()?;
    let screen = terminal::screen()?;
    let Size { width, height } = screen.size()?;
    let mut app = App::new(theme, Size::new(width, height), Timestamp::now());
    app.guide = guide;
    let mut runner = Runner {
        app,
        observer,
        control,
        runtime,
        answers: mpsc::channel(),
        _guard: guard,
        screen,
        is_left: false,
    };
    runner.run()
}

impl Runner<'_> {
    fn run(&mut self) -> io::Result<()> {
        let mut next_look = Instant::now();
        loop {
            let closing = self.control.0.is_closing.load(Ordering::SeqCst);
            if closing || self.is_left {
                return Ok(());
            }
            if self.control.0.was_continued.swap(false, Ordering::SeqCst) {
                terminal::take_over()?;
                terminal::repaint(&mut self.screen)?;
                self.app.is_changed = true;
            }
            let now = Instant::now();
            let is_due = now >= next_look;
            if is_due {
                next_look = now + REFRESH;
                self.look();
            }
            let is_answered = self.read_terminal(next_look)?;
            // What was seen waits for its turn; what the operator did is answered at once.
            if (is_due || is_answered) && self.app.is_changed {
                self.app.is_changed = false;
                let app = &self.app;
                self.screen.draw(|frame| views::draw(frame, app))?;
            }
        }
    }

    /// Waits for the operator until the gateway is to be looked at again, unless there is something
    /// to draw. Says whether the operator did anything.
    fn read_terminal(&mut self, until: Instant) -> io::Result<bool> {
        let mut patience = if self.app.is_changed {
            Duration::ZERO
        } else {
            until.saturating_duration_since(Instant::now())
        };
        let mut is_answered = false;
        for _ in 0..MAX_EVENTS {
            if self.is_left || !event::poll(patience)? {
                break;
            }
            patience = Duration::ZERO;
            let event = event::read()?;
            is_answered = true;
            if matches!(event, Event::Resize(..)) {
                self.screen.autoresize()?;
            }
            let effects = self.app.on_event(&event);
            self.perform(effects)?;
        }
        Ok(is_answered)
    }

    fn look(&mut self) {
        while let Ok(answer) = self.answers.1.try_recv() {
            match answer {
                Answer::History(purpose, key, answer) => self.app.answer(purpose, &key, answer),
                Answer::Command(command, error) => {
                    let name = format!("{command:?}");
                    self.app.complain(format!("{name} failed: {error}"));
                }
            }
        }
        let observed = &self.app.observed;
        // A frozen display reads what it missed once it goes on. All pages are read, so that each
        // has what there was when it was frozen.
        let is_read = self.app.frozen.is_none();
        let observer = &self.observer;
        let observation = Observation {
            sight: observer.sight(),
            snapshot: observer.snapshot(),
            traffic: if is_read {
                observer.traffic_since(observed.traffic.next())
            } else {
                Vec::new()
            },
            deliveries: if is_read {
                observer.deliveries_since(observed.deliveries.next())
            } else {
                Vec::new()
            },
            log: if is_read {
                observer.log_since(observed.log.next())
            } else {
                Vec::new()
            },
        };
        let now = Timestamp::now();
        self.app.tick(now);
        for effect in self.app.observe(observation, now) {
            self.ask(effect);
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) -> io::Result<()> {
        for effect in effects {
            match effect {
                Effect::Suspend => self.suspend()?,
                Effect::Repaint => terminal::repaint(&mut self.screen)?,
                Effect::Leave => self.is_left = true,
                effect => self.ask(effect),
            }
        }
        // A page that was just opened has its content in the same frame.
        self.look();
        Ok(())
    }

    /// Asks the gateway; the answer comes back through the channel.
    fn ask(&self, effect: Effect) {
        let answers = self.answers.0.clone();
        match effect {
            Effect::History(purpose, key, query) => {
                let reply = self.observer.history(query);
                self.runtime.spawn(async move {
                    // Nobody waits for the answer once the screen is closed.
                    drop(answers.send(Answer::History(purpose, key, reply.await)));
                });
            }
            Effect::Command(command) => {
                let reply = self.observer.command(command);
                self.runtime.spawn(async move {
                    if let Err(error) = reply.await {
                        drop(answers.send(Answer::Command(command, error)));
                    }
                });
            }
            Effect::Suspend | Effect::Repaint | Effect::Leave => {}
        }
    }

    /// Stops all that the shell started with this process, as Ctrl+Z does elsewhere.
    fn suspend(&mut self) -> io::Result<()> {
        let consequence = if self.app.is_local() {
            "nothing is received until fg brings it back"
        } else {
            "the gateway elsewhere goes on; fg brings this back"
        };
        terminal::lend(|| {
            println!("fieldgate is suspended: {consequence}.");
            let own_group = Pid::from_raw(0);
            if let Err(error) = kill(own_group, Signal::SIGTSTP) {
                tracing::warn!(error = %error, "Cannot suspend.");
            }
            // The signal may reach another thread first; this one must not take the terminal before
            // the process stands still.
            thread::sleep(Duration::from_millis(100));
        })?;
        terminal::repaint(&mut self.screen)?;
        self.app.is_changed = true;
        Ok(())
    }
}
