//! What has been sent and not been acknowledged. Pure.

use std::collections::VecDeque;

use crate::journal::Position;
use crate::telemetry::Timestamp;

/// A row whose messages were sent, or are being sent.
#[derive(Debug)]
struct FlyingRow {
    end: Position,
    received: Timestamp,
    messages: u64,
    unacknowledged: u64,
    first_message: Option<String>,
}

/// A row that has arrived as a whole, with all rows before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ArrivedRow {
    pub(super) end: Position,
    pub(super) received: Timestamp,
    pub(super) messages: u64,
    /// Its first message in words, if somebody wants to know.
    pub(super) first_message: Option<String>,
}

/// A publish that was handed to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Publish {
    /// A message of the row with this number, counted from the beginning of the connection.
    Message { row: u64 },
    /// What the gateway says of itself: `online`, `offline`, or what it has.
    Status,
}

/// Maps acknowledgements to rows.
///
/// The client assigns packet identifiers in the order in which it was handed the publishes, and says
/// so one by one; so a queue tells which publish got which identifier.
#[derive(Debug, Default)]
pub(super) struct Flight {
    rows: VecDeque<FlyingRow>,
    /// The number of `rows[0]`.
    first_row: u64,
    /// Handed to the client, without an identifier so far.
    handed_over: VecDeque<Publish>,
    /// By packet identifier.
    unacknowledged: Vec<Option<Publish>>,
    outstanding: usize,
    /// Messages of the gateway about itself that have arrived.
    statuses: usize,
}

impl Flight {
    /// A row begins of which `messages` messages will be handed over.
    pub(super) fn begin_row(
        &mut self,
        end: Position,
        received: Timestamp,
        messages: u64,
        first_message: Option<String>,
    ) {
        let unacknowledged = messages;
        let row = FlyingRow {
            end,
            received,
            messages,
            unacknowledged,
            first_message,
        };
        self.rows.push_back(row);
    }

    /// A message of the last begun row was handed to the client.
    pub(super) fn message_handed_over(&mut self) {
        let row = (self.first_row + self.rows.len() as u64).saturating_sub(1);
        self.hand_over(Publish::Message { row });
    }

    /// A message of the gateway about itself was handed to the client.
    pub(super) fn status_handed_over(&mut self) {
        self.hand_over(Publish::Status);
    }

    fn hand_over(&mut self, publish: Publish) {
        self.handed_over.push_back(publish);
        self.outstanding += 1;
    }

    /// The client sent the next publish under this identifier. At `QoS` 0 the identifier is 0, and
    /// being sent is all there is.
    pub(super) fn sent(&mut self, packet_id: u16) {
        let Some(publish) = self.handed_over.pop_front() else {
            return;
        };
        if packet_id == 0 {
            return self.arrived(publish);
        }
        let index = usize::from(packet_id);
        if self.unacknowledged.len() <= index {
            self.unacknowledged.resize(index + 1, None);
        }
        self.unacknowledged[index] = Some(publish);
    }

    /// The broker acknowledged the publish with this identifier.
    pub(super) fn acknowledged(&mut self, packet_id: u16) {
        let publish = self
            .unacknowledged
            .get_mut(usize::from(packet_id))
            .and_then(Option::take);
        if let Some(publish) = publish {
            self.arrived(publish);
        }
    }

    fn arrived(&mut self, publish: Publish) {
        self.outstanding -= 1;
        self.statuses += usize::from(publish == Publish::Status);
        if let Publish::Message { row } = publish
            && let Some(row) = usize::try_from(row - self.first_row)
                .ok()
                .and_then(|index| self.rows.get_mut(index))
        {
            row.unacknowledged -= 1;
        }
    }

    /// The next row that has arrived, in their order.
    pub(super) fn next_arrived(&mut self) -> Option<ArrivedRow> {
        let row = self.rows.pop_front_if(|row| row.unacknowledged == 0)?;
        self.first_row += 1;
        let FlyingRow {
            end,
            received,
            messages,
            first_message,
            ..
        } = row;
        Some(ArrivedRow {
            end,
            received,
            messages,
            first_message,
        })
    }

    /// Publishes that were handed over and that the client has not sent.
    pub(super) fn unsent(&self) -> usize {
        self.handed_over.len()
    }

    /// Messages of the gateway about itself that have arrived.
    pub(super) fn statuses_arrived(&self) -> usize {
        self.statuses
    }

    /// Publishes that were handed over and have not arrived.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(flight: &mut Flight, sequence: u64, messages: u64) {
        let end = Position {
            sequence,
            total: sequence * 10,
        };
        flight.begin_row(end, Timestamp(0), messages, None);
        for _ in 0..messages {
            flight.message_handed_over();
        }
    }

    fn arrived(flight: &mut Flight) -> Vec<u64> {
        std::iter::from_fn(|| flight.next_arrived())
            .map(|row| row.end.sequence)
            .collect()
    }

    #[test]
    fn a_row_arrives_with_its_last_message_and_not_before_the_one_before_it() {
        let mut flight = Flight::default();
        flight.status_handed_over();
        row(&mut flight, 1, 2);
        row(&mut flight, 2, 1);
        (1..=4).for_each(|packet_id| flight.sent(packet_id));
        flight.acknowledged(4);
        flight.acknowledged(2);
        assert_eq!(arrived(&mut flight), [] as [u64; 0]);
        flight.acknowledged(3);
        assert_eq!(arrived(&mut flight), [1, 2]);
        assert_eq!(flight.outstanding(), 1);
        assert_eq!(flight.statuses_arrived(), 0);
        flight.acknowledged(1);
        assert_eq!(flight.outstanding(), 0);
        assert_eq!(flight.statuses_arrived(), 1);
    }

    #[test]
    fn without_acknowledgements_sent_is_arrived() {
        let mut flight = Flight::default();
        row(&mut flight, 7, 2);
        flight.sent(0);
        assert_eq!(arrived(&mut flight), [] as [u64; 0]);
        flight.sent(0);
        assert_eq!(arrived(&mut flight), [7]);
    }

    #[test]
    fn identifiers_come_again_and_strange_ones_are_ignored() {
        let mut flight = Flight::default();
        for sequence in 1..100 {
            row(&mut flight, sequence, 1);
            flight.sent(3);
            flight.acknowledged(9);
            assert_eq!(arrived(&mut flight), [] as [u64; 0]);
            flight.acknowledged(3);
            flight.acknowledged(3);
            assert_eq!(arrived(&mut flight), [sequence]);
        }
    }
}
