//! What each link is told, by its name.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::monitor::{Directive, LinkId};

/// The directives of all links.
#[derive(Debug, Default)]
pub(super) struct Directives(Mutex<Links>);

#[derive(Debug, Default)]
struct Links {
    told: Vec<(LinkId, watch::Sender<Directive>)>,
    /// Whether a sink that comes is held until all are released.
    holds_sinks: bool,
}

impl Directives {
    /// No links yet; sinks are held from their beginning, or not.
    pub(super) fn new(holds_sinks: bool) -> Self {
        let told = Vec::new();
        Self(Mutex::new(Links { told, holds_sinks }))
    }

    /// Takes in a link; returns what it hears.
    pub(super) fn begin(&self, link: LinkId) -> watch::Receiver<Directive> {
        let mut links = self.lock();
        let sender = watch::Sender::new(Directive {
            held: links.holds_sinks && link.sink().is_some(),
            ..Directive::default()
        });
        let receiver = sender.subscribe();
        links.told.push((link, sender));
        receiver
    }

    /// Ends the hold of all sinks, and of those to come.
    pub(super) fn release_sinks(&self) {
        // Before they are told: one that comes in between is not held.
        self.lock().holds_sinks = false;
        self.tell_sinks(|directive| directive.held = false);
    }

    /// What a link hears; `None`: there is no such link.
    pub(super) fn subscribe(&self, link: &LinkId) -> Option<watch::Receiver<Directive>> {
        let links = self.lock();
        let (_, sender) = links.told.iter().find(|(id, _)| id == link)?;
        Some(sender.subscribe())
    }

    /// Tells a link something; false: there is no such link.
    pub(super) fn tell(&self, link: &LinkId, change: impl FnOnce(&mut Directive)) -> bool {
        let links = self.lock();
        let found = links.told.iter().find(|(id, _)| id == link);
        found.is_some_and(|(_, sender)| {
            sender.send_modify(change);
            true
        })
    }

    /// Tells every sink something.
    pub(super) fn tell_sinks(&self, change: impl Fn(&mut Directive)) {
        self.tell_all(|link| link.sink().is_some(), change);
    }

    /// Tells every source something.
    pub(super) fn tell_sources(&self, change: impl Fn(&mut Directive)) {
        self.tell_all(|link| link.sink().is_none(), change);
    }

    fn tell_all(&self, is_meant: impl Fn(&LinkId) -> bool, change: impl Fn(&mut Directive)) {
        let links = self.lock();
        for (_, sender) in links.told.iter().filter(|(link, _)| is_meant(link)) {
            sender.send_modify(&change);
        }
    }

    /// There is no such link any more.
    pub(super) fn end(&self, link: &LinkId) {
        self.lock().told.retain(|(id, _)| id != link);
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_comes_is_held_as_long_as_all_are() {
        let directives = Directives::new(true);
        let begin = |name: &str| directives.begin(name.parse().unwrap());
        let [first, source] = ["mqtt", "source"].map(begin);
        let later = begin("influxdb");
        let held = |links: &[&watch::Receiver<Directive>]| -> Vec<bool> {
            links.iter().map(|link| link.borrow().held).collect()
        };
        assert_eq!(held(&[&first, &later, &source]), [true, true, false]);
        directives.release_sinks();
        let last = begin("mqtt cloud");
        assert_eq!(held(&[&first, &later, &last]), [false; 3]);
    }
}
