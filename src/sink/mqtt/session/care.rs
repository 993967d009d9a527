//! What a careful connection does otherwise: see [`suspicion`](super::super::suspicion).

use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use crate::sink::Lane;
use crate::sink::mqtt::connection::{Ending, Event};
use crate::sink::mqtt::flight::Publish;
use crate::sink::mqtt::suspicion::{Conviction, UnderWay};

/// So long a careful connection has to hold before anything is published on it.
const PROOF: Duration = Duration::from_millis(500);

/// A broker that ends the connection over a message does so within this time.
const SOON: Duration = Duration::from_secs(5);

impl Session<'_> {
    /// Makes sure that the connection holds while nothing is published.
    pub(super) async fn prove(&mut self, lane: &mut Lane) -> Result<(), Ending> {
        self.connection.ping();
        let mut is_answered = false;
        let until = Instant::now() + PROOF;
        while !lane.must_leave() {
            while let Some(event) = self.connection.event() {
                is_answered |= event == Event::PingAnswered;
            }
            tokio::select! {
                exchanged = self.connection.exchange() => exchanged?,
                () = lane.leave() => {}
                () = tokio::time::sleep_until(until), if is_answered => {
                    lane.prove();
                    break;
                }
            }
        }
        Ok(())
    }

    /// What was under way when the connection ended.
    pub(super) fn under_way(&self) -> UnderWay {
        match (self.flight.alone(), self.flight.outstanding()) {
            (_, 0) => UnderWay::Nothing,
            (Some(publish), _) if self.is_careful => match self.flight.message(publish) {
                Some(message) if self.last_progress.elapsed() < SOON => UnderWay::Reading(message),
                None if publish == Publish::Status && self.setting.retains => {
                    UnderWay::RetainedStatus
                }
                _ => UnderWay::Other,
            },
            _ => UnderWay::Several,
        }
    }

    /// What is done instead of sending the next reading; false: nothing.
    pub(super) fn take_care(&mut self, lane: &Lane) -> Result<bool, Ending> {
        if !self.is_careful {
            return Ok(false);
        }
        let next = self.flight.next_message();
        let conviction = next.and_then(|message| self.setting.suspicion.conviction(message));
        match conviction.cloned() {
            None => {}
            Some(Conviction::Suspect) => {
                self.flight.withhold_reading();
                return Ok(true);
            }
            Some(Conviction::Guilty(reason)) => {
                if let Some(publish) = self.flight.begin_reading() {
                    self.reject(publish, &reason, lane);
                }
                return Ok(true);
            }
        }
        // Another one got through, or there is none.
        let is_due = self.acknowledged_readings > 0 || next.is_none();
        let Some(publish) = is_due.then(|| self.flight.release()).flatten() else {
            return Ok(false);
        };
        let message = self.message(publish);
        if let Some(message) = message {
            self.publish(publish, message, lane)?;
        }
        Ok(true)
    }

    /// The broker takes this message.
    pub(super) fn acquit(&mut self, publish: Publish) {
        if let Some(message) = self.flight.message(publish) {
            self.acknowledged_readings += 1;
            self.setting.suspicion.acquit(message);
        }
    }

    /// A row has arrived: when what may have been under way as the last connection ended has been seen,
    /// there is no more to be careful of.
    pub(super) fn end_care(&mut self) {
        let setting = &mut self.setting;
        if self.is_careful
            && self.acknowledged_readings >= setting.max_inflight.into()
            && !setting.suspicion.is_about_messages()
        {
            self.is_careful = false;
            setting.suspicion.clear();
        }
    }
}
