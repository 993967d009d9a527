//! The ways back to the sources, by the links' names.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::monitor::LinkId;
use crate::source::Console;

/// The consoles of all sources.
#[derive(Debug, Default)]
pub(super) struct Consoles(Mutex<Vec<(LinkId, Arc<Console>)>>);

impl Consoles {
    /// Takes in a source.
    pub(super) fn begin(&self, link: LinkId, console: Arc<Console>) {
        self.lock().push((link, console));
    }

    /// The way back to a source; `None`: there is no such source.
    pub(super) fn find(&self, link: &LinkId) -> Option<Arc<Console>> {
        let consoles = self.lock();
        let (_, console) = consoles.iter().find(|(id, _)| id == link)?;
        Some(Arc::clone(console))
    }

    /// There is no such source any more.
    pub(super) fn end(&self, link: &LinkId) {
        self.lock().retain(|(id, _)| id != link);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(LinkId, Arc<Console>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
