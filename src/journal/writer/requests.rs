//! What is sent on after all goes the one way: as a packet of its own at the end of the journal.

use super::Writer;
use super::terms::Terms;
use crate::journal::error::Fault;
use crate::journal::inbox::Work;
use crate::journal::store::Batch;

impl Writer {
    /// Appends what somebody asked for, and notes in the same transaction that it was done.
    pub(super) fn take_requests(&mut self) {
        if self.trouble.is_none()
            && self.astray.is_none()
            && let Err(fault) = self.append_requests()
        {
            self.housekeeping_failed(&fault);
        }
    }

    fn append_requests(&mut self) -> Result<(), Fault> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let requests = file.requests()?;
        if requests.is_empty() {
            return Ok(());
        }
        self.settle();
        if self.trouble.is_some() {
            return Ok(());
        }
        let ids: Vec<i64> = requests.iter().map(|request| request.id).collect();
        let packets = requests.into_iter().map(|request| request.packet);
        let mut work = Work::default();
        work.packets
            .extend(packets.filter(|packet| !packet.entry.readings.is_empty()));
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let limits = self.terms.file_limits(file);
        let batch = Batch {
            sent_on: &ids,
            ..Terms::batch(self.end, &work, &[])
        };
        file.commit(batch, limits, self.terms.durable)?;
        self.advance(&work);
        tracing::info!(
            entries = ids.len(),
            "Entries of the table `rejected` are sent on after all.",
        );
        Ok(())
    }
}
