//! What has been sent and not been acknowledged. Pure.

use std::collections::VecDeque;

use crate::journal::{Position, Rejection, Row};
use crate::monitor::SinkId;
use crate::telemetry::{Reading, Timestamp};

/// A row whose messages were sent, or are being sent.
#[derive(Debug)]
struct FlyingRow {
    row: Row,
    /// Readings of it that were handed to the client, counted from its first.
    handed_over: usize,
    /// Readings of it that have not arrived.
    missing: usize,
    /// Readings of it that the broker refused for good.
    rejections: Vec<Rejection>,
    first_message: Option<String>,
}

/// A row that has arrived as a whole, with all rows before it.
#[derive(Debug, PartialEq)]
pub(super) struct ArrivedRow {
    pub(super) end: Position,
    pub(super) received: Timestamp,
    /// Messages of it that were not rejected.
    pub(super) messages: u64,
    /// Readings of it that the broker refused for good.
    pub(super) rejections: Vec<Rejection>,
    /// Its first message in words, if somebody wants to know.
    pub(super) first_message: Option<String>,
}

/// A publish that was handed to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publish {
    /// A reading.
    Reading {
        /// The number of its row, counted from the beginning of the connection.
        row: u64,
        /// Its place in the row.
        index: usize,
    },
    /// `online` or `offline`.
    Status,
    /// What Home Assistant is told.
    Announcement,
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
    /// Announcements that have arrived.
    announcements: usize,
}

impl Flight {
    /// A row begins whose readings will be handed over.
    pub(super) fn begin_row(&mut self, row: Row, first_message: Option<String>) {
        self.rows.push_back(FlyingRow {
            handed_over: 0,
            missing: row.readings.len(),
            rejections: Vec::new(),
            row,
            first_message,
        });
    }

    /// What is to be handed over next of the rows that were begun: a reading and its row.
    pub(super) fn next_reading(&self) -> Option<(&Row, &Reading)> {
        let FlyingRow {
            row, handed_over, ..
        } = self.rows.back()?;
        Some((row, row.readings.get(*handed_over)?))
    }

    /// The [next reading](Self::next_reading) was handed to the client.
    pub(super) fn reading_handed_over(&mut self) {
        let row = (self.first_row + self.rows.len() as u64).saturating_sub(1);
        if let Some(last) = self.rows.back_mut() {
            let index = last.handed_over;
            last.handed_over += 1;
            self.hand_over(Publish::Reading { row, index });
        }
    }

    /// A status was handed to the client.
    pub(super) fn status_handed_over(&mut self) {
        self.hand_over(Publish::Status);
    }

    /// An announcement was handed to the client.
    pub(super) fn announcement_handed_over(&mut self) {
        self.hand_over(Publish::Announcement);
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
        if let Some(publish) = self.refused(packet_id) {
            self.arrived(publish);
        }
    }

    /// The broker did not take the publish with this identifier, which [`arrived`](Self::arrived) or
    /// [`reject`](Self::reject) settles.
    pub(super) fn refused(&mut self, packet_id: u16) -> Option<Publish> {
        self.unacknowledged
            .get_mut(usize::from(packet_id))
            .and_then(Option::take)
    }

    /// The client will not send the next publish, which is to be settled likewise.
    pub(super) fn not_sent(&mut self) -> Option<Publish> {
        self.handed_over.pop_front()
    }

    /// A publish needs no more attention.
    pub(super) fn arrived(&mut self, publish: Publish) {
        self.outstanding -= 1;
        self.announcements += usize::from(publish == Publish::Announcement);
        if let Publish::Reading { row, .. } = publish
            && let Some(row) = self.index(row).and_then(|index| self.rows.get_mut(index))
        {
            row.missing -= 1;
        }
    }

    /// The broker refused a reading for good.
    pub(super) fn reject(&mut self, publish: Publish, reason: String) {
        let rejection = self.reading(publish).map(|(row, reading)| Rejection {
            sink: SinkId::Mqtt,
            sequence: row.sequence,
            event_time: row.event_time,
            reading: reading.clone(),
            reason,
        });
        if let Publish::Reading { row, .. } = publish
            && let Some(row) = self.index(row).and_then(|index| self.rows.get_mut(index))
        {
            row.rejections.extend(rejection);
        }
        self.arrived(publish);
    }

    /// What a publish was about: a reading and its row; `None`: what the gateway says of itself.
    pub(super) fn reading(&self, publish: Publish) -> Option<(&Row, &Reading)> {
        let Publish::Reading { row, index } = publish else {
            return None;
        };
        let row = &self.rows.get(self.index(row)?)?.row;
        Some((row, row.readings.get(index)?))
    }

    /// Where a row is found.
    fn index(&self, row: u64) -> Option<usize> {
        usize::try_from(row.checked_sub(self.first_row)?).ok()
    }

    /// The next row that has arrived, in their order.
    pub(super) fn next_arrived(&mut self) -> Option<ArrivedRow> {
        let FlyingRow {
            row,
            rejections,
            first_message,
            ..
        } = self.rows.pop_front_if(|row| row.missing == 0)?;
        self.first_row += 1;
        Some(ArrivedRow {
            end: row.end(),
            received: row.received,
            messages: (row.readings.len() - rejections.len()) as u64,
            rejections,
            first_message,
        })
    }

    /// Publishes that were handed over and that the client has not sent.
    pub(super) fn unsent(&self) -> usize {
        self.handed_over.len()
    }

    /// Announcements that have arrived.
    pub(super) fn announcements_arrived(&self) -> usize {
        self.announcements
    }

    /// Publishes that were handed over and have not arrived.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Name;

    fn row(flight: &mut Flight, sequence: u64, messages: u32) {
        let reading = |number: u32| Reading {
            node: Name::new("node1"),
            metric: Name::new("temperature"),
            value: number.into(),
        };
        let row = Row {
            sequence,
            total: sequence * 10,
            received: Timestamp(0),
            event_time: Timestamp(0),
            readings: (0..messages).map(reading).collect(),
        };
        flight.begin_row(row, None);
        while flight.next_reading().is_some() {
            flight.reading_handed_over();
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
        flight.acknowledged(1);
        assert_eq!(flight.outstanding(), 0);
        assert_eq!(flight.announcements_arrived(), 0);
        flight.announcement_handed_over();
        flight.sent(5);
        flight.acknowledged(5);
        assert_eq!(flight.announcements_arrived(), 1);
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

    #[test]
    fn what_is_rejected_goes_with_its_row_and_holds_nothing_up() {
        let mut flight = Flight::default();
        row(&mut flight, 1, 3);
        flight.status_handed_over();
        flight.sent(1);
        let too_large = flight.not_sent().unwrap();
        flight.reject(too_large, "too large".to_owned());
        for packet_id in [2, 3] {
            flight.sent(packet_id);
        }
        assert_eq!(flight.refused(9), None);
        let refused = flight.refused(2).unwrap();
        let (row, reading) = flight.reading(refused).unwrap();
        assert_eq!((row.sequence, reading.value.to_string()), (1, "2".into()));
        flight.reject(refused, "not valid".to_owned());
        let status = flight.refused(3).unwrap();
        assert_eq!(flight.reading(status), None);
        flight.arrived(status);
        assert_eq!(flight.next_arrived(), None);
        flight.acknowledged(1);
        let row = flight.next_arrived().unwrap();
        assert_eq!((row.messages, flight.outstanding()), (1, 0));
        let reasons: Vec<_> = row.rejections.iter().map(|one| &*one.reason).collect();
        assert_eq!(reasons, ["too large", "not valid"]);
    }
}
