//! What each link is told, by its name.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::monitor::{Directive, LinkId};

/// The directives of all links.
#[derive(Debug, Default)]
pub(super) struct Directives(Mutex<Vec<(LinkId, watch::Sender<Directive>)>>);

impl Directives {
    /// Takes in a link that is told this at first; returns what it hears.
    pub(super) fn begin(&self, link: LinkId, first: Directive) -> watch::Receiver<Directive> {
        let sender = watch::Sender::new(first);
        let receiver = sender.subscribe();
        self.lock().push((link, sender));
        receiver
    }

    /// What a link hears; `None`: there is no such link.
    pub(super) fn subscribe(&self, link: &LinkId) -> Option<watch::Receiver<Directive>> {
        let links = self.lock();
        let (_, sender) = links.iter().find(|(id, _)| id == link)?;
        Some(sender.subscribe())
    }

    /// Tells a link something; false: there is no such link.
    pub(super) fn tell(&self, link: &LinkId, change: impl FnOnce(&mut Directive)) -> bool {
        let links = self.lock();
        let found = links.iter().find(|(id, _)| id == link);
        found.is_some_and(|(_, sender)| {
            sender.send_modify(change);
            true
        })
    }

    /// Tells every sink something.
    pub(super) fn tell_sinks(&self, change: impl Fn(&mut Directive)) {
        for (_, sender) in self.lock().iter().filter(|(id, _)| id.sink().is_some()) {
            sender.send_modify(&change);
        }
    }

    /// Tells every source something.
    pub(super) fn tell_sources(&self, change: impl Fn(&mut Directive)) {
        for (_, sender) in self.lock().iter().filter(|(id, _)| id.sink().is_none()) {
            sender.send_modify(&change);
        }
    }

    /// There is no such link any more.
    pub(super) fn end(&self, link: &LinkId) {
        self.lock().retain(|(id, _)| id != link);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(LinkId, watch::Sender<Directive>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
