//! How often is drawn, and how soon a key is answered: on a clock that moves only when the session
//! waits, so that every figure is exact and no machine is too slow for it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyEvent};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Rect, Size};
use ratatui::{Terminal, TerminalOptions, Viewport};

use super::session::{REFRESH, Session};
use crate::monitor::{
    Asker, Command, HistoryPoint, HistoryQuery, Numbered, Observer, Reply, Sight, Snapshot,
    TrafficEntry, TrafficKind,
};
use crate::telemetry::Timestamp;
use crate::tui::action::Page;
use crate::tui::console::Console;
use crate::tui::state::App;
use crate::tui::testing::{self, NOW};
use crate::tui::theme::{Depth, Theme};
use crate::tui::views;

const SIZE: Size = Size {
    width: 80,
    height: 24,
};

/// Time since the start, seen by the terminal and the gateway alike.
#[derive(Debug, Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }

    fn advance_to(&self, elapsed: Duration) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap();
        self.0.fetch_max(nanos, Ordering::SeqCst);
    }
}

/// A gateway to which so many packets come a second.
struct Gateway {
    clock: Clock,
    rate: u64,
}

impl Gateway {
    fn packets(&self) -> u64 {
        let millis = u64::try_from(self.clock.elapsed().as_millis()).unwrap();
        millis * self.rate / 1_000
    }
}

impl Observer for Gateway {
    fn sight(&self) -> Sight {
        Sight::Local
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let mut snapshot = testing::healthy();
        let millis = i64::try_from(self.clock.elapsed().as_millis()).unwrap();
        snapshot.taken = NOW.plus_millis(millis);
        snapshot.telemetry.packets_processed += self.packets();
        Some(Arc::new(snapshot))
    }

    fn traffic_since(&self, number: u64) -> Vec<Numbered<TrafficEntry>> {
        let entry = |number| Numbered {
            number,
            entry: TrafficEntry {
                source: "source".into(),
                at: NOW,
                kind: TrafficKind::Accepted,
                bytes: format!("{{\"ts\":{number}}}").into_bytes().into(),
                nodes: std::sync::Arc::default(),
            },
        };
        (number..self.packets()).map(entry).collect()
    }

    fn history(&self, _: HistoryQuery) -> Reply<Vec<HistoryPoint>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn command(&self, _: Command, _: Asker) -> Reply<()> {
        Box::pin(async { Ok(()) })
    }
}

/// Counts what would be sent to a terminal.
#[derive(Debug, Clone, Default)]
struct Wire(Arc<AtomicU64>);

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Frame {
    at: Duration,
    page: Page,
    bytes: u64,
}

/// A terminal before which keys are pressed at set times.
struct Desk {
    start: Instant,
    clock: Clock,
    keys: VecDeque<(Duration, KeyCode)>,
    screen: Terminal<CrosstermBackend<Wire>>,
    wire: Wire,
    frames: Vec<Frame>,
}

impl Console for Desk {
    fn instant(&self) -> Instant {
        self.start + self.clock.elapsed()
    }

    fn now(&self) -> Timestamp {
        NOW.plus_millis(i64::try_from(self.clock.elapsed().as_millis()).unwrap())
    }

    fn event(&mut self, within: Duration) -> io::Result<Option<Event>> {
        let until = self.clock.elapsed() + within;
        let Some((at, key)) = self.keys.pop_front_if(|(at, _)| *at <= until) else {
            self.clock.advance_to(until);
            return Ok(None);
        };
        self.clock.advance_to(at);
        Ok(Some(Event::Key(KeyEvent::from(key))))
    }

    fn draw(&mut self, app: &App) -> io::Result<()> {
        let before = self.wire.0.load(Ordering::SeqCst);
        self.screen.draw(|frame| views::draw(frame, app))?;
        self.frames.push(Frame {
            at: self.clock.elapsed(),
            page: app.page,
            bytes: self.wire.0.load(Ordering::SeqCst) - before,
        });
        Ok(())
    }

    fn ring(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn repaint(&mut self) -> io::Result<()> {
        unreachable!("nobody asks for it")
    }

    fn take(&mut self) -> io::Result<()> {
        unreachable!("the process is not stopped")
    }

    fn suspend(&mut self, _: &str) {
        unreachable!("the process is not stopped")
    }
}

/// What is drawn in some time, at so many packets a second, while keys are pressed.
fn frames(time: Duration, rate: u64, keys: Vec<(Duration, KeyCode)>) -> Vec<Frame> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (clock, wire) = (Clock::default(), Wire::default());
    let viewport = Viewport::Fixed(Rect::new(0, 0, SIZE.width, SIZE.height));
    let backend = CrosstermBackend::new(wire.clone());
    let desk = Desk {
        start: Instant::now(),
        clock: clock.clone(),
        keys: keys.into(),
        screen: Terminal::with_options(backend, TerminalOptions { viewport }).unwrap(),
        wire,
        frames: Vec::new(),
    };
    let theme = Theme::new(false, Depth::Ansi256, false);
    let app = App::new(theme, SIZE, NOW);
    let gateway = Arc::new(Gateway {
        clock: clock.clone(),
        rate,
    });
    let mut session = Session::new(desk, app, vec![gateway], runtime.handle().clone());
    session.is_shown = true;
    while clock.elapsed() < time {
        session.turn().unwrap();
    }
    session.console.frames
}

#[test]
fn while_nothing_happens_only_the_clock_is_drawn() {
    let minutes = 10;
    let frames = frames(Duration::from_mins(minutes), 0, Vec::new());
    let [first, rest @ ..] = &frames[..] else {
        panic!("nothing was drawn");
    };
    assert!(first.bytes > 1_000, "the first frame is whole: {first:?}");
    assert!(rest.len() as u64 <= minutes * 60, "{}", rest.len());
    for pair in frames.windows(2) {
        assert!(pair[0].at + Duration::from_millis(900) <= pair[1].at);
        assert!(pair[1].bytes < 1_000, "only what changed: {:?}", pair[1]);
    }
}

#[test]
fn however_much_happens_ten_frames_a_second_are_drawn() {
    for page in '1'..='5' {
        let keys = vec![(Duration::ZERO, KeyCode::Char(page))];
        let frames = frames(Duration::from_secs(10), 5_000, keys);
        assert!((95..=101).contains(&frames.len()), "{}", frames.len());
        for pair in frames.windows(2) {
            assert!(pair[0].at + REFRESH <= pair[1].at, "{pair:?}");
        }
    }
}

#[test]
fn a_key_is_answered_before_any_time_passes() {
    let pages = ['3', '2', '5', '4', '1'];
    let at = |number: usize| Duration::from_millis(137 * number as u64 + 50);
    let keys: Vec<(Duration, KeyCode)> = (0..60)
        .map(|number| (at(number), KeyCode::Char(pages[number % 5])))
        .collect();
    let frames = frames(Duration::from_secs(10), 5_000, keys);
    for number in 0..60 {
        let page = Page::ALL[pages[number % 5] as usize - '1' as usize];
        let is_answer = |frame: &&Frame| frame.at == at(number) && frame.page == page;
        assert_eq!(frames.iter().filter(is_answer).count(), 1, "key {number}");
    }
    // The answers take the place of frames that would have come otherwise.
    assert!(frames.len() <= 100 + 60, "{}", frames.len());
}

#[test]
fn a_flood_of_keys_is_drawn_in_few_frames() {
    let keys = vec![(Duration::from_millis(150), KeyCode::Down); 10_000];
    let frames = frames(Duration::from_secs(1), 5_000, keys);
    assert!(frames.len() <= 10 + 10_000 / 256 + 1, "{}", frames.len());
    assert!(frames.last().unwrap().at >= Duration::from_millis(900));
}
