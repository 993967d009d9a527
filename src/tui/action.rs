//! What can be asked of the screen, and what it asks of the world.

use ratatui::layout::Position;

use super::state::{MetricKey, Page};
use super::update::Purpose;
use crate::monitor::{Command, HistoryQuery, LinkId};

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
    Show(Page),
    NextPage,
    PreviousPage,
    Flush,
    Reconnect,
    Hold,
    Freeze,
    Move(Direction),
    /// Begins to type a filter.
    Filter,
    Open,
    Back,
    /// Takes a metric into the charts, or out of them.
    Pick,
    Longer,
    Shorter,
    Record,
    /// Answers which link is meant.
    Choose(Choice),
    Confirm(bool),
    Type(char),
    Erase,
    EraseAll,
    /// Keeps the filter.
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
    Link(LinkId),
    All,
}

/// What the screen asks of the world around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Command(Command),
    History(Purpose, MetricKey, HistoryQuery),
    /// Stops the process until the shell continues it.
    Suspend,
    /// Draws everything anew, whatever stands on the terminal.
    Repaint,
    /// Closes the screen and nothing else.
    Leave,
}
