//! What has been sent and not been acknowledged. Pure.

use std::collections::VecDeque;

use super::suspicion::MessageId;
use crate::journal::{Position, Rejection, Row};
use crate::monitor::SinkId;
use crate::telemetry::{Reading, Timestamp};

/// A row whose messages were sent, or are being sent.
#[derive(Debug)]
struct FlyingRow {
    row: Row,
    /// Readings of it that were sent, or will not be, counted from its first.
    begun: usize,
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

/// A message that was published.
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
#[derive(Debug, Default)]
pub(super) struct Flight {
    rows: VecDeque<FlyingRow>,
    /// The number of `rows[0]`.
    first_row: u64,
    /// By packet identifier.
    unacknowledged: Vec<Option<Publish>>,
    /// Of `QoS` 0, and not written so far.
    unwritten: Vec<Publish>,
    /// Passed over.
    withheld: VecDeque<Publish>,
    outstanding: usize,
    /// Announcements that have arrived.
    announcements: usize,
}

impl Flight {
    /// A row begins whose readings will be sent.
    pub(super) fn begin_row(&mut self, row: Row, first_message: Option<String>) {
        self.rows.push_back(FlyingRow {
            begun: 0,
            missing: row.readings.len(),
            rejections: Vec::new(),
            row,
            first_message,
        });
    }

    /// Whether there is a reading to be sent next, of the rows that were begun.
    pub(super) fn has_reading(&self) -> bool {
        let mut last = self.rows.back().into_iter();
        last.any(|last| last.begun < last.row.readings.len())
    }

    /// The [next reading](Self::has_reading) begins its way.
    pub(super) fn begin_reading(&mut self) -> Option<Publish> {
        let row = (self.first_row + self.rows.len() as u64).checked_sub(1)?;
        let last = self.rows.back_mut()?;
        let index = last.begun;
        last.row.readings.get(index)?;
        last.begun += 1;
        self.outstanding += 1;
        Some(Publish::Reading { row, index })
    }

    /// The [next reading](Self::has_reading) is passed over for now.
    pub(super) fn withhold_reading(&mut self) {
        let publish = self.begin_reading();
        self.withheld.extend(publish);
    }

    /// The next reading that was passed over begins its way after all.
    pub(super) fn release(&mut self) -> Option<Publish> {
        self.withheld.pop_front()
    }

    /// The number of the next reading.
    pub(super) fn next_message(&self) -> Option<MessageId> {
        let FlyingRow { row, begun, .. } = self.rows.back()?;
        (*begun < row.readings.len()).then_some(MessageId {
            sequence: row.sequence,
            index: *begun,
        })
    }

    /// The only publish that is under way.
    pub(super) fn alone(&self) -> Option<Publish> {
        let mut under_way = self.unacknowledged.iter().flatten().chain(&self.unwritten);
        under_way
            .next()
            .copied()
            .filter(|_| under_way.next().is_none())
    }

    /// The number of a reading.
    pub(super) fn message(&self, publish: Publish) -> Option<MessageId> {
        let Publish::Reading { row, index } = publish else {
            return None;
        };
        let sequence = self.rows.get(self.index(row)?)?.row.sequence;
        Some(MessageId { sequence, index })
    }

    /// What the gateway says of itself begins its way.
    pub(super) fn begin(&mut self, publish: Publish) -> Publish {
        self.outstanding += 1;
        publish
    }

    /// The publish was sent under this identifier. At `QoS` 0 that is 0.
    pub(super) fn sent(&mut self, publish: Publish, packet_id: u16) {
        if packet_id == 0 {
            return self.unwritten.push(publish);
        }
        let index = usize::from(packet_id);
        if self.unacknowledged.len() <= index {
            self.unacknowledged.resize(index + 1, None);
        }
        self.unacknowledged[index] = Some(publish);
    }

    /// All that was sent at `QoS` 0 is written, which is all there is to it.
    pub(super) fn written(&mut self) {
        for publish in std::mem::take(&mut self.unwritten) {
            self.arrived(publish);
        }
    }

    /// The broker acknowledged the publish with this identifier.
    pub(super) fn acknowledged(&mut self, packet_id: u16) -> Option<Publish> {
        let publish = self.refused(packet_id)?;
        self.arrived(publish);
        Some(publish)
    }

    /// The broker did not take the publish with this identifier, which [`arrived`](Self::arrived) or
    /// [`reject`](Self::reject) settles.
    pub(super) fn refused(&mut self, packet_id: u16) -> Option<Publish> {
        self.unacknowledged
            .get_mut(usize::from(packet_id))
            .and_then(Option::take)
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
    pub(super) fn reject(&mut self, publish: Publish, reason: String, sink: &SinkId) {
        let rejection = self.reading(publish).map(|(row, reading)| Rejection {
            sink: sink.clone(),
            source: row.source.clone(),
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

    /// Announcements that have arrived.
    pub(super) fn announcements_arrived(&self) -> usize {
        self.announcements
    }

    /// Publishes that are under way.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding - self.withheld.len()
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
            source: Name::new("source"),
            received: Timestamp(0),
            event_time: Timestamp(0),
            readings: (0..messages).map(reading).collect(),
        };
        flight.begin_row(row, None);
    }

    /// Sends the next reading under this identifier.
    fn send(flight: &mut Flight, packet_id: u16) {
        let publish = flight.begin_reading().unwrap();
        flight.sent(publish, packet_id);
    }

    fn arrived(flight: &mut Flight) -> Vec<u64> {
        std::iter::from_fn(|| flight.next_arrived())
            .map(|row| row.end.sequence)
            .collect()
    }

    #[test]
    fn a_row_arrives_with_its_last_message_and_not_before_the_one_before_it() {
        let mut flight = Flight::default();
        let status = flight.begin(Publish::Status);
        flight.sent(status, 1);
        row(&mut flight, 1, 2);
        (2..=3).for_each(|packet_id| send(&mut flight, packet_id));
        assert!(!flight.has_reading());
        row(&mut flight, 2, 1);
        send(&mut flight, 4);
        flight.acknowledged(4);
        flight.acknowledged(2);
        assert_eq!(arrived(&mut flight), [] as [u64; 0]);
        flight.acknowledged(3);
        assert_eq!(arrived(&mut flight), [1, 2]);
        assert_eq!(flight.outstanding(), 1);
        flight.acknowledged(1);
        assert_eq!(flight.outstanding(), 0);
        assert_eq!(flight.announcements_arrived(), 0);
        let announcement = flight.begin(Publish::Announcement);
        flight.sent(announcement, 5);
        flight.acknowledged(5);
        assert_eq!(flight.announcements_arrived(), 1);
    }

    #[test]
    fn without_acknowledgements_written_is_arrived() {
        let mut flight = Flight::default();
        row(&mut flight, 7, 2);
        send(&mut flight, 0);
        assert_eq!(arrived(&mut flight), [] as [u64; 0]);
        flight.written();
        send(&mut flight, 0);
        assert_eq!(arrived(&mut flight), [] as [u64; 0]);
        flight.written();
        assert_eq!(arrived(&mut flight), [7]);
    }

    #[test]
    fn identifiers_come_again_and_strange_ones_are_ignored() {
        let mut flight = Flight::default();
        for sequence in 1..100 {
            row(&mut flight, sequence, 1);
            send(&mut flight, 3);
            flight.acknowledged(9);
            assert_eq!(arrived(&mut flight), [] as [u64; 0]);
            flight.acknowledged(3);
            flight.acknowledged(3);
            assert_eq!(arrived(&mut flight), [sequence]);
        }
    }

    #[test]
    fn what_is_withheld_holds_nothing_up_but_its_row() {
        let mut flight = Flight::default();
        row(&mut flight, 1, 2);
        send(&mut flight, 1);
        let sent = flight.alone().unwrap();
        assert_eq!(flight.message(sent).unwrap().index, 0);
        let next = flight.next_message().unwrap();
        assert_eq!((next.sequence, next.index), (1, 1));
        flight.withhold_reading();
        assert_eq!((flight.next_message(), flight.outstanding()), (None, 1));
        flight.acknowledged(1);
        assert_eq!((flight.alone(), flight.outstanding()), (None, 0));
        assert_eq!(flight.next_arrived(), None);
        let publish = flight.release().unwrap();
        assert_eq!(flight.outstanding(), 1);
        flight.reject(publish, "not taken".to_owned(), &SinkId::mqtt());
        let row = flight.next_arrived().unwrap();
        assert_eq!((row.messages, row.rejections.len()), (1, 1));
        assert_eq!(flight.outstanding(), 0);
    }

    #[test]
    fn what_is_rejected_goes_with_its_row_and_holds_nothing_up() {
        let mut flight = Flight::default();
        row(&mut flight, 1, 3);
        send(&mut flight, 1);
        let too_large = flight.begin_reading().unwrap();
        flight.reject(too_large, "too large".to_owned(), &SinkId::mqtt());
        send(&mut flight, 2);
        let status = flight.begin(Publish::Status);
        flight.sent(status, 3);
        assert_eq!(flight.refused(9), None);
        let refused = flight.refused(2).unwrap();
        let (row, reading) = flight.reading(refused).unwrap();
        assert_eq!((row.sequence, reading.value.to_string()), (1, "2".into()));
        flight.reject(refused, "not valid".to_owned(), &SinkId::mqtt());
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
