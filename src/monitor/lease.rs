//! A source that is lent: held for a program that uses its port, until the lease is dropped.

use std::fmt;

/// What a lease lasts as long as. However whoever has it ends, dropping it gives the source back.
pub struct Lease {
    peer: String,
    end: Option<Box<dyn FnOnce() + Send>>,
}

impl Lease {
    /// A lease of something known as `peer`; `end` gives it back.
    pub fn new(peer: String, end: impl FnOnce() + Send + 'static) -> Self {
        Self {
            peer,
            end: Some(Box::new(end)),
        }
    }

    /// What is lent, as `serial /dev/ttyACM0`.
    pub fn peer(&self) -> &str {
        &self.peer
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end();
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({})", self.peer)
    }
}
