//! Moving the times of packets that were taken from a clock which was set since.

use super::Writer;
use crate::journal::Sourced;
use crate::journal::shared::lock_store;
use crate::repeated::Topic;
use crate::telemetry::TimeShift;

const UNCORRECTED: Topic = Topic::new("times");
const CORRECTED: Topic = Topic::new("times-corrected");

/// A correction that the file has not got yet.
#[derive(Debug)]
pub(super) struct Uncorrected {
    /// The last row that it is for.
    up_to: u64,
    shift: Sourced<TimeShift>,
}

impl Writer {
    /// Moves the times of all packets that this run has taken in so far from these sources.
    pub(super) fn correct(&mut self, corrections: &[Sourced<TimeShift>]) {
        if corrections.is_empty() {
            return;
        }
        let after = self.began_at;
        for shift in corrections {
            let Sourced { source, entry } = shift;
            if let Some(memory) = &self.shared.tiers().memory {
                let end = self.end.sequence;
                if let Err(fault) = lock_store(memory).correct(after, end, source, *entry, false) {
                    tracing::error!(error = %fault, "Times cannot be corrected in memory.");
                }
            }
            if let Some(file) = &self.file {
                let up_to = file.extent().end.sequence;
                let shift = shift.clone();
                self.uncorrected.push(Uncorrected { up_to, shift });
            }
        }
        self.correct_file();
        // From now on they say again how old rows are.
        self.distrusted_until = None;
    }

    /// Moves the times in the file as far as that could not be done before.
    pub(super) fn correct_file(&mut self) {
        let Some(file) = &mut self.file else {
            return;
        };
        let durable = self.terms.durable;
        let after = self.began_at;
        while let Some(Uncorrected { up_to, shift }) = self.uncorrected.first() {
            let Sourced { source, entry } = shift;
            match file.correct(after, *up_to, source, *entry, durable) {
                Ok(rows) => {
                    self.uncorrected.remove(0);
                    CORRECTED.count("journal", "", rows as u64, |sum| {
                        tracing::info!(
                            rows = sum.amount(),
                            repeated = sum.words(),
                            "The times of this run's packets were corrected."
                        );
                    });
                }
                Err(fault) => {
                    UNCORRECTED.say("journal", &fault.to_string(), move |sum| {
                        tracing::warn!(
                            error = %fault,
                            repeated = sum.words(),
                            "Times in the journal cannot be corrected at present; it is tried again."
                        );
                    });
                    break;
                }
            }
        }
    }
}
