//! Packet identifiers: there are as many as messages may wait for their acknowledgement at once. Pure.

use std::collections::VecDeque;

/// What becomes of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    /// Published at `QoS` 1: a PUBACK ends it.
    AwaitsPubAck,
    /// Published at `QoS` 2: a PUBREC is the next step.
    AwaitsPubRec,
    /// The broker has the message: a PUBCOMP ends it.
    AwaitsPubComp,
}

/// The identifiers of a connection.
#[derive(Debug)]
pub(super) struct Identifiers {
    /// By identifier, beginning with 1.
    states: Vec<State>,
    /// Those that are free, the longest first.
    free: VecDeque<u16>,
}

impl Identifiers {
    /// So many, from 1 on.
    pub(super) fn new(most: u16) -> Self {
        Self {
            states: vec![State::Free; usize::from(most)],
            free: (1..=most).collect(),
        }
    }

    /// Whether another message may be published.
    pub(super) fn any_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Takes one for a message of `QoS` 1, or 2 if `exactly_once`.
    pub(super) fn take(&mut self, exactly_once: bool) -> Option<u16> {
        let identifier = self.free.pop_front()?;
        if let Some(state) = self.state(identifier) {
            *state = if exactly_once {
                State::AwaitsPubRec
            } else {
                State::AwaitsPubAck
            };
        }
        Some(identifier)
    }

    /// The message was not sent after all.
    pub(super) fn give_back(&mut self, identifier: u16) {
        if let Some(state) = self.state(identifier) {
            *state = State::Free;
            self.free.push_front(identifier);
        }
    }

    /// A PUBACK came; false: nobody waited for it. A broker that takes messages of `QoS` 2 as those of 1
    /// answers so to either, as `RabbitMQ` 3 does.
    pub(super) fn acknowledged(&mut self, identifier: u16) -> bool {
        self.end(identifier, State::AwaitsPubAck) || self.end(identifier, State::AwaitsPubRec)
    }

    /// A PUBREC came that says that the broker has the message; false: nobody waited for it.
    pub(super) fn received(&mut self, identifier: u16) -> bool {
        match self.state(identifier) {
            Some(state @ State::AwaitsPubRec) => {
                *state = State::AwaitsPubComp;
                true
            }
            _ => false,
        }
    }

    /// A PUBREC came that says that the broker does not take the message, which ends it; false:
    /// nobody waited for it.
    pub(super) fn not_received(&mut self, identifier: u16) -> bool {
        self.end(identifier, State::AwaitsPubRec)
    }

    /// A PUBCOMP came; false: nobody waited for it.
    pub(super) fn completed(&mut self, identifier: u16) -> bool {
        self.end(identifier, State::AwaitsPubComp)
    }

    fn end(&mut self, identifier: u16, awaited: State) -> bool {
        match self.state(identifier) {
            Some(state) if *state == awaited => {
                *state = State::Free;
                self.free.push_back(identifier);
                true
            }
            _ => false,
        }
    }

    fn state(&mut self, identifier: u16) -> Option<&mut State> {
        let index = usize::from(identifier).checked_sub(1)?;
        self.states.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_in_flight_than_allowed_and_none_is_lost() {
        let mut identifiers = Identifiers::new(2);
        for _ in 0..3 {
            let (one, two) = (identifiers.take(false), identifiers.take(true));
            let (one, two) = (one.unwrap(), two.unwrap());
            assert!(one != two && !identifiers.any_free());
            assert_eq!(identifiers.take(false), None);
            // Answers of the wrong kind, for a strange identifier and for none change nothing.
            assert!(!identifiers.received(one) && !identifiers.completed(two));
            assert!(!identifiers.acknowledged(3) && !identifiers.acknowledged(0));
            assert!(identifiers.received(two) && !identifiers.not_received(two));
            assert!(!identifiers.acknowledged(two));
            assert!(!identifiers.any_free());
            assert!(identifiers.completed(two) && !identifiers.completed(two));
            assert!(identifiers.acknowledged(one) && !identifiers.acknowledged(one));
        }
        let as_of_one = identifiers.take(true).unwrap();
        assert!(identifiers.acknowledged(as_of_one) && !identifiers.received(as_of_one));
        let refused = identifiers.take(true).unwrap();
        assert!(identifiers.not_received(refused));
        let unsent = identifiers.take(false).unwrap();
        identifiers.give_back(unsent);
        assert_eq!(identifiers.take(false), Some(unsent));
        assert!(identifiers.take(false).is_some() && !identifiers.any_free());
    }
}
