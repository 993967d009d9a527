//! What came over MQTT connections, message by message.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::packet::{Connect, PublishPacket};
use crate::support::poll;

/// A message that a client published.
#[derive(Debug, Clone)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u8,
    pub(crate) retained: bool,
    pub(crate) at: Instant,
    /// Whether the broker acknowledged it.
    pub(crate) acknowledged: bool,
    packet_id: u16,
}

/// A connection that a client opened, from its CONNECT on.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// 4: MQTT 3.1.1; 5: MQTT 5.
    pub(crate) level: u8,
    pub(crate) client_id: String,
    /// Topic and payload of the last will.
    pub(crate) will: Option<(String, String)>,
    pub(crate) publishes: Vec<Publish>,
    /// Whether the client used an identifier again before its last message was acknowledged.
    pub(crate) misused: bool,
    /// Whether the client said goodbye.
    pub(crate) disconnected: bool,
    /// When the connection ended.
    pub(crate) ended: Option<Instant>,
}

/// All connections so far, shared with the threads that serve them.
#[derive(Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Vec<Session>>>);

impl Record {
    /// All connections so far.
    pub(crate) fn sessions(&self) -> Vec<Session> {
        self.0.lock().unwrap().clone()
    }

    /// How many connections there were.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Messages that the broker acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        let sessions = self.0.lock().unwrap();
        let publishes = sessions.iter().flat_map(|session| &session.publishes);
        publishes.filter(|publish| publish.acknowledged).count()
    }

    /// Waits until the connections are as they should be.
    pub(crate) fn wait_until<T>(
        &self,
        what: &str,
        patience: Duration,
        mut holds: impl FnMut(&[Session]) -> Option<T>,
    ) -> T {
        poll(patience, || holds(&self.0.lock().unwrap())).unwrap_or_else(|| {
            let sessions = self.sessions();
            let shown: Vec<_> = sessions
                .iter()
                .map(|session| {
                    let last = session.publishes.last();
                    (session.publishes.len(), session.disconnected, last)
                })
                .collect();
            panic!("no {what} within {patience:?}; publishes of each connection: {shown:#?}")
        })
    }

    /// Begins a connection; returns its number.
    pub(super) fn begin(&self, connect: Connect) -> usize {
        let mut sessions = self.0.lock().unwrap();
        sessions.push(Session {
            level: connect.level,
            client_id: connect.client_id,
            will: connect.will,
            publishes: Vec::new(),
            misused: false,
            disconnected: false,
            ended: None,
        });
        sessions.len() - 1
    }

    pub(super) fn publish(&self, session: usize, publish: PublishPacket) {
        self.change(session, |session| {
            session.publishes.push(Publish {
                acknowledged: publish.qos == 0,
                topic: publish.topic,
                payload: publish.payload,
                qos: publish.qos,
                retained: publish.retained,
                at: Instant::now(),
                packet_id: publish.packet_id,
            });
        });
    }

    pub(super) fn acknowledge(&self, session: usize, packet_id: u16) {
        self.change(session, |session| {
            let mut recent = session.publishes.iter_mut().rev();
            let publish = recent.find(|publish| publish.packet_id == packet_id);
            publish
                .expect("acknowledged what was never sent")
                .acknowledged = true;
        });
    }

    pub(super) fn misuse(&self, session: usize) {
        self.change(session, |session| session.misused = true);
    }

    pub(super) fn disconnect(&self, session: usize) {
        self.change(session, |session| session.disconnected = true);
    }

    pub(super) fn end(&self, session: usize) {
        self.change(session, |session| session.ended = Some(Instant::now()));
    }

    fn change(&self, session: usize, change: impl FnOnce(&mut Session)) {
        change(&mut self.0.lock().unwrap()[session]);
    }
}
