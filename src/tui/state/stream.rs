//! What happens, entry by entry, as far as a page shows it: the traffic, the log, the deliveries.

use super::Detail;
use super::list::ListView;
use crate::monitor::{DeliveryEntry, DeliveryOutcome, LogEntry, LogLevel, Numbered, Ring, Weighed};
use crate::tui::words::levels;

/// An entry of a stream.
pub(crate) trait Entry: Weighed + Clone {
    /// Whether it holds a text, which is in small letters.
    fn holds(&self, text: &str) -> bool;

    /// Shown in full.
    fn detail(self) -> Detail;

    /// Whether it is a line of its own.
    fn is_shown(&self) -> bool {
        true
    }

    /// Its bytes, if it is nothing but the end of the line of the entry before it.
    fn line_end(&self) -> Option<&[u8]> {
        None
    }

    /// Where it comes from: the entries of each origin are a stream of their own.
    fn origin(&self) -> Option<&str> {
        None
    }
}

/// What a page can be narrowed down to beside its filter.
pub(crate) trait Choice<T> {
    /// Whether an entry is shown.
    fn has(&self, entry: &T) -> bool;

    /// To the next choice, or the one before.
    fn turn(&mut self, forward: bool);

    /// What is shown, in words.
    fn words(&self) -> String;
}

/// An entry that is shown, with the line ends that follow it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a, T> {
    pub(crate) number: u64,
    pub(crate) entry: &'a T,
    /// The one that is shown before it.
    pub(crate) before: Option<&'a T>,
    pub(crate) line_end: &'a [u8],
}

/// The last entries of one kind, and what a page shows of them.
#[derive(Debug, Clone)]
pub(crate) struct Stream<T, C> {
    pub(crate) entries: Ring<T>,
    pub(crate) view: ListView,
    pub(crate) choice: C,
}

impl<T: Entry, C: Choice<T>> Stream<T, C> {
    /// Without entries.
    pub(super) fn new(choice: C) -> Self {
        Self {
            entries: Ring::default(),
            view: ListView::default(),
            choice,
        }
    }

    /// What the page shows; line ends stand behind what they end.
    pub(crate) fn shown(&self) -> Vec<Shown<'_, T>> {
        let filter = self.view.filter.to_lowercase();
        let mut shown: Vec<Shown<'_, T>> = Vec::new();
        // The last of each origin, if it is shown.
        let mut last: Vec<(Option<&str>, Option<usize>)> = Vec::new();
        for Numbered { number, entry } in self.entries.iter() {
            if !entry.is_shown() {
                continue;
            }
            let known = last
                .iter()
                .position(|(origin, _)| *origin == entry.origin());
            if let (Some(line_end), Some(known)) = (entry.line_end(), known) {
                if let Some(at) = last[known].1.take() {
                    shown[at].line_end = line_end;
                }
                continue;
            }
            let is_shown = self.choice.has(entry) && (filter.is_empty() || entry.holds(&filter));
            let place = is_shown.then_some(shown.len());
            match known {
                Some(known) => last[known].1 = place,
                None => last.push((entry.origin(), place)),
            }
            if is_shown {
                shown.push(Shown {
                    number: *number,
                    entry,
                    before: shown.last().map(|before| before.entry),
                    line_end: &[],
                });
            }
        }
        shown
    }
}

/// A stream, whatever its entries are.
pub(crate) trait List {
    fn view(&self) -> &ListView;

    fn view_mut(&mut self) -> &mut ListView;

    /// The numbers of the entries that are shown.
    fn numbers(&self) -> Vec<u64>;

    /// What is chosen, or else the newest that is shown, in full.
    fn chosen(&self) -> Option<Detail>;

    /// Shows the next choice, or the one before; returns it in words.
    fn turn(&mut self, forward: bool) -> String;
}

impl<T: Entry, C: Choice<T>> List for Stream<T, C> {
    fn view(&self) -> &ListView {
        &self.view
    }

    fn view_mut(&mut self) -> &mut ListView {
        &mut self.view
    }

    fn numbers(&self) -> Vec<u64> {
        self.shown().iter().map(|shown| shown.number).collect()
    }

    fn chosen(&self) -> Option<Detail> {
        let numbers = self.numbers();
        let at = self.view.selected_index(&numbers);
        let at = at.or(numbers.len().checked_sub(1))?;
        self.entries.get(numbers[at]).cloned().map(Entry::detail)
    }

    fn turn(&mut self, forward: bool) -> String {
        self.choice.turn(forward);
        self.view.follow();
        self.choice.words()
    }
}

impl Entry for LogEntry {
    fn holds(&self, text: &str) -> bool {
        self.message.to_lowercase().contains(text) || self.target.to_lowercase().contains(text)
    }

    fn detail(self) -> Detail {
        Detail::Log(self)
    }
}

impl Entry for DeliveryEntry {
    fn holds(&self, text: &str) -> bool {
        let reason = match &self.outcome {
            DeliveryOutcome::Delivered => "",
            DeliveryOutcome::Failed { reason } | DeliveryOutcome::Rejected { reason } => reason,
        };
        self.what.to_lowercase().contains(text)
            || self.sink.as_str().contains(text)
            || reason.to_lowercase().contains(text)
    }

    fn detail(self) -> Detail {
        Detail::Delivery(self)
    }
}

const LEVELS: [LogLevel; 5] = [
    LogLevel::Error,
    LogLevel::Warn,
    LogLevel::Info,
    LogLevel::Debug,
    LogLevel::Trace,
];

/// The lines of this level and graver ones.
impl Choice<LogEntry> for LogLevel {
    fn has(&self, entry: &LogEntry) -> bool {
        entry.level <= *self
    }

    fn turn(&mut self, forward: bool) {
        let at = *self as usize;
        let to = if forward {
            (at + 1).min(LEVELS.len() - 1)
        } else {
            at.saturating_sub(1)
        };
        *self = LEVELS[to];
    }

    fn words(&self) -> String {
        levels(*self)
    }
}

/// Where there is no choice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Everything;

impl<T> Choice<T> for Everything {
    fn has(&self, _: &T) -> bool {
        true
    }

    fn turn(&mut self, _: bool) {}

    fn words(&self) -> String {
        "everything".to_owned()
    }
}
