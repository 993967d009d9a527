//! Whether a broker ends connections over one message, and over which. Pure.
//!
//! A broker that does not take a message may hang up instead of saying so, and would over the same
//! message again. When it has ended two connections in a row with messages under way and none
//! acknowledged, the next ones are careful: the broker has to answer a ping and to keep the connection
//! for a moment before anything is published, and then each message is under way alone. The one that
//! ends such connections is passed over; when another one gets through, or there is none, it is tried a
//! last time, and set aside if that ends the connection, too.
//!
//! An outage proves nothing: it refuses connections, or ends them with nothing under way.

use super::connection::{Cause, Ending};
use super::failure::text;

/// So many connections in a row that end with messages under way are followed by careful ones.
const CONNECTIONS: u32 = 2;

/// So many careful connections in a row have to end over the same message.
const CAREFUL_CONNECTIONS: u32 = 2;

/// So many messages in a row that the broker does not take are no fault of theirs.
const MOST_SUSPECTS: usize = 8;

/// A message, as the journal counts them: its row, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageId {
    pub(super) sequence: u64,
    pub(super) index: usize,
}

/// What was under way when a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnderWay {
    Nothing,
    /// Messages, on a connection that was not careful.
    Several,
    /// A reading alone, sent a moment before.
    Reading(MessageId),
    /// The gateway's status alone, to be retained.
    RetainedStatus,
    /// Something else alone.
    Other,
}

/// What the end of a connection says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// Nothing about a message.
    Innocent,
    /// It may be a message: the next connections will show.
    Doubtful,
    /// The broker takes nothing that is to be retained.
    NothingRetained,
    /// The broker takes no message at all.
    NoMessage,
}

/// What is known of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Conviction {
    /// It ended careful connections: others are tried first.
    Suspect,
    /// It did so again when another one had got through: it is set aside for this reason.
    Guilty(String),
}

/// What connections in a row have shown.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// Connections that ended with messages under way and none acknowledged.
    ended: u32,
    /// Over which message careful ones have ended, and how many.
    last: Option<(MessageId, u32)>,
    convicted: Vec<(MessageId, Conviction)>,
}

impl Suspicion {
    /// Whether the next connection is to be careful.
    pub(super) fn is_careful(&self) -> bool {
        self.ended >= CONNECTIONS
    }

    /// What is known of a message; `None`: nothing.
    pub(super) fn conviction(&self, message: MessageId) -> Option<&Conviction> {
        let mut convicted = self.convicted.iter();
        convicted.find_map(|(one, conviction)| (*one == message).then_some(conviction))
    }

    /// The broker has a message.
    pub(super) fn acquit(&mut self, message: MessageId) {
        self.convicted.retain(|(one, _)| *one != message);
        self.last = self.last.filter(|(last, _)| *last != message);
    }

    /// A row is acknowledged, and what was set aside of it: it does not come again.
    pub(super) fn pass(&mut self, sequence: u64) {
        self.convicted.retain(|(one, _)| one.sequence > sequence);
        self.last = self.last.filter(|(last, _)| last.sequence > sequence);
    }

    /// Whether it is about messages that are still to come.
    pub(super) fn is_about_messages(&self) -> bool {
        self.last.is_some() || !self.convicted.is_empty()
    }

    /// The broker was not reached, or messages got through.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A connection has ended.
    pub(super) fn ended(
        &mut self,
        ending: &Ending,
        under_way: UnderWay,
        has_acknowledged: bool,
    ) -> Blame {
        if ending.cause == Cause::Other {
            self.clear();
            return Blame::Innocent;
        }
        match under_way {
            UnderWay::Several if !has_acknowledged => {
                self.ended += 1;
                Blame::Doubtful
            }
            UnderWay::Reading(message) => self.accuse(message, text(&ending.failure)),
            UnderWay::RetainedStatus => {
                self.clear();
                Blame::NothingRetained
            }
            UnderWay::Nothing | UnderWay::Several | UnderWay::Other => {
                self.clear();
                Blame::Innocent
            }
        }
    }

    fn accuse(&mut self, message: MessageId, reason: &str) -> Blame {
        let mut convicted = self.convicted.iter_mut();
        if let Some((_, conviction)) = convicted.find(|(one, _)| *one == message) {
            let reason = format!("the broker ended every connection over this message: {reason}");
            *conviction = Conviction::Guilty(reason);
            return Blame::Doubtful;
        }
        let before = self.last.filter(|(last, _)| *last == message);
        let count = before.map_or(1, |(_, count)| count + 1);
        self.last = Some((message, count));
        if count < CAREFUL_CONNECTIONS {
            return Blame::Doubtful;
        }
        if self.convicted.len() == MOST_SUSPECTS {
            self.clear();
            return Blame::NoMessage;
        }
        self.last = None;
        self.convicted.push((message, Conviction::Suspect));
        Blame::Doubtful
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::mqtt::failure::hung_up;

    fn message(sequence: u64) -> MessageId {
        MessageId { sequence, index: 0 }
    }

    fn careful() -> Suspicion {
        let mut suspicion = Suspicion::default();
        for _ in 0..CONNECTIONS {
            assert!(!suspicion.is_careful());
            let blame = suspicion.ended(&hung_up(), UnderWay::Several, false);
            assert_eq!(blame, Blame::Doubtful);
        }
        assert!(suspicion.is_careful());
        suspicion
    }

    fn strike(suspicion: &mut Suspicion, sequence: u64) -> Blame {
        suspicion.ended(&hung_up(), UnderWay::Reading(message(sequence)), true)
    }

    #[test]
    fn a_message_is_convicted_when_it_ends_careful_connections_in_a_row() {
        let mut suspicion = careful();
        // Another one in between begins anew.
        for sequence in [7, 8, 7] {
            assert_eq!(strike(&mut suspicion, sequence), Blame::Doubtful);
            assert_eq!(suspicion.conviction(message(sequence)), None);
        }
        strike(&mut suspicion, 7);
        assert_eq!(suspicion.conviction(message(7)), Some(&Conviction::Suspect));
        strike(&mut suspicion, 7);
        let Some(Conviction::Guilty(reason)) = suspicion.conviction(message(7)) else {
            panic!("{suspicion:?}");
        };
        assert!(reason.ends_with("the broker closed the connection"));
        assert_eq!(suspicion.conviction(message(8)), None);
        assert!(suspicion.is_careful() && suspicion.is_about_messages());
        suspicion.acquit(message(8));
        suspicion.pass(6);
        assert!(suspicion.conviction(message(7)).is_some());
        suspicion.pass(7);
        assert_eq!(suspicion.conviction(message(7)), None);
        assert!(!suspicion.is_about_messages());
    }

    type Proof = fn(&mut Suspicion, &Ending);

    #[test]
    fn an_outage_convicts_nobody() {
        let other = Ending::unavailable("the broker was silent");
        let proofs: [Proof; 4] = [
            |suspicion, _| suspicion.clear(),
            |suspicion, other| {
                suspicion.ended(other, UnderWay::Reading(message(7)), false);
            },
            |suspicion, _| {
                suspicion.ended(&hung_up(), UnderWay::Nothing, false);
            },
            |suspicion, _| {
                suspicion.ended(&hung_up(), UnderWay::Several, true);
            },
        ];
        for innocent in proofs {
            let mut suspicion = careful();
            strike(&mut suspicion, 7);
            innocent(&mut suspicion, &other);
            assert!(!suspicion.is_careful());
            strike(&mut suspicion, 7);
            assert_eq!(suspicion.conviction(message(7)), None);
        }
    }

    #[test]
    fn a_broker_that_takes_nothing_is_no_fault_of_the_messages() {
        let mut suspicion = careful();
        for sequence in 0..=MOST_SUSPECTS as u64 {
            assert_eq!(strike(&mut suspicion, sequence), Blame::Doubtful);
            let blame = strike(&mut suspicion, sequence);
            let is_last = sequence == MOST_SUSPECTS as u64;
            assert_eq!(blame == Blame::NoMessage, is_last);
        }
        assert_eq!(suspicion.conviction(message(0)), None);
        let blame = suspicion.ended(&hung_up(), UnderWay::RetainedStatus, false);
        assert_eq!(blame, Blame::NothingRetained);
    }
}
