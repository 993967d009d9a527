//! What can be asked of the screen, and what it asks of the world.

use ratatui::layout::Position;

use crate::monitor::{Command, HistoryQuery, LinkKind, Order};
use crate::telemetry::Name;

/// A metric of a node.
pub(crate) type MetricKey = (Name, Name);

/// One of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    Overview,
    Nodes,
    Charts,
    Traffic,
    Log,
    Delivery,
}

impl Page {
    pub(crate) const ALL: [Self; 6] = [
        Self::Overview,
        Self::Nodes,
        Self::Charts,
        Self::Traffic,
        Self::Log,
        Self::Delivery,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Nodes => "Nodes",
            Self::Charts => "Charts",
            Self::Traffic => "Traffic",
            Self::Log => "Log",
            Self::Delivery => "Delivery",
        }
    }

    /// The page so many further on, round the end.
    pub(crate) fn turned(self, steps: usize) -> Self {
        Self::ALL[(self as usize + steps) % Self::ALL.len()]
    }
}

/// What a key or the mouse asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Stops the gateway, or leaves a remote one alone.
    Quit,
    /// As [`Quit`](Self::Quit), without a question.
    Interrupt,
    Suspend,
    Repaint,
    Help,
    /// Lists what is wrong.
    Problems,
    Show(Page),
    NextPage,
    PreviousPage,
    /// Asks something of a link; to hold one that is held releases it.
    Operate(Order),
    Freeze,
    Move(Direction),
    /// Begins to type a filter.
    Filter,
    Open,
    Back,
    /// Has the table show a row for each node, or for each metric.
    TurnTable,
    /// Begins a walk with a node, or ends it.
    Walk,
    /// Has the bell ring for each packet of a walk, or be silent again.
    Bell,
    /// Takes a metric into the charts, or out of them.
    Pick,
    Longer,
    Shorter,
    Record,
    /// Shows the traffic of the next one of several sources, or of all.
    TurnSource,
    /// Begins to type a line that is sent to the source.
    Send,
    /// Resets the board.
    Reset,
    /// Shows bytes as hexadecimal digits, or as text again.
    Hex,
    /// Answers which link is meant.
    Choose(Choice),
    Confirm(bool),
    Type(char),
    /// Takes away the character before the cursor.
    Erase,
    /// Takes away the one at the cursor.
    Delete,
    EraseAll,
    /// Keeps the filter, or sends the line.
    Submit,
    Click(Position),
    /// The wheel, up or down.
    Scroll(Position, Direction),
}

/// Which way to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    First,
    Last,
}

/// Which link is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    Kind(LinkKind),
    /// One of several of a kind, counted from 1.
    Number(usize),
    All,
}

/// What a history was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Chart,
    Trend,
}

/// What the screen asks of the world around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Command(Command),
    History(Purpose, MetricKey, HistoryQuery),
    /// Stops the process until the shell continues it.
    Suspend,
    /// Rings the terminal's bell.
    Bell,
    /// Draws everything anew, whatever stands on the terminal.
    Repaint,
    /// Closes the screen and nothing else.
    Leave,
}
