//! Which of a sink's servers is used: the first that works. Pure.

use std::time::Duration;

use super::Failure;
use crate::backoff::HELD;

/// Whose turn it is. There is at least one server, and mostly no other.
#[derive(Debug)]
pub(super) struct Rotation {
    servers: usize,
    current: usize,
    /// Servers that failed one after the other, without a connection that held or a pause.
    failed: usize,
    /// Whether one of them was away, rather than said no.
    is_any_away: bool,
}

/// When the next attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// At once: with a server that has not failed yet.
    AtOnce,
    /// After a pause, with the first one: all have failed.
    Later {
        /// Whether all of them said no.
        all_refused: bool,
    },
}

impl Rotation {
    pub(super) fn new(servers: usize) -> Self {
        Self {
            servers,
            current: 0,
            failed: 0,
            is_any_away: false,
        }
    }

    /// The server whose turn it is, in the order of the configuration.
    pub(super) fn current(&self) -> usize {
        self.current
    }

    /// The server that is in use failed, after its connection had held for so long.
    pub(super) fn failed(&mut self, failure: &Failure, held: Duration) -> Next {
        if held >= HELD {
            self.begin_anew();
        }
        self.failed += 1;
        self.is_any_away |= matches!(failure, Failure::Unavailable(_));
        if self.failed < self.servers {
            self.current = (self.current + 1) % self.servers;
            return Next::AtOnce;
        }
        let all_refused = !self.is_any_away;
        self.begin_anew();
        self.current = 0;
        Next::Later { all_refused }
    }

    /// The first one works again.
    pub(super) fn go_back(&mut self) {
        self.begin_anew();
        self.current = 0;
    }

    fn begin_anew(&mut self) {
        self.failed = 0;
        self.is_any_away = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO: fn() -> Failure = || Failure::Refused(String::new());
    const AWAY: fn() -> Failure = || Failure::Unavailable(String::new());
    const MOMENT: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_mins(1);

    fn later(all_refused: bool) -> Next {
        Next::Later { all_refused }
    }

    #[test]
    fn one_alone_always_has_its_pauses() {
        let mut rotation = Rotation::new(1);
        for (failure, held, all_refused) in [(AWAY(), MOMENT, false), (NO(), LONG, true)] {
            assert_eq!(rotation.failed(&failure, held), later(all_refused));
            assert_eq!(rotation.current(), 0);
        }
    }

    #[test]
    fn the_pauses_begin_when_all_have_failed() {
        let mut rotation = Rotation::new(3);
        for (failure, held, next, current) in [
            (AWAY(), MOMENT, Next::AtOnce, 1),
            (NO(), MOMENT, Next::AtOnce, 2),
            (NO(), MOMENT, later(false), 0),
            (NO(), MOMENT, Next::AtOnce, 1),
            (NO(), MOMENT, Next::AtOnce, 2),
            // The one that held fails: the others are tried once more.
            (AWAY(), LONG, Next::AtOnce, 0),
            (NO(), MOMENT, Next::AtOnce, 1),
            (NO(), MOMENT, later(false), 0),
            (NO(), MOMENT, Next::AtOnce, 1),
            (NO(), MOMENT, Next::AtOnce, 2),
            (NO(), MOMENT, later(true), 0),
        ] {
            assert_eq!(rotation.failed(&failure, held), next);
            assert_eq!(rotation.current(), current);
        }
    }

    #[test]
    fn the_first_one_is_gone_back_to() {
        let mut rotation = Rotation::new(2);
        rotation.failed(&AWAY(), MOMENT);
        rotation.go_back();
        assert_eq!(rotation.current(), 0);
        assert_eq!(rotation.failed(&AWAY(), MOMENT), Next::AtOnce);
        assert_eq!(rotation.current(), 1);
    }
}
