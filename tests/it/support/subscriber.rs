//! A `mosquitto_sub` that keeps what it receives.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::process::{Process, program};
use super::{PATIENCE, poll};

/// A message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: String,
    /// As it was published, because the subscription asks for the highest.
    pub(crate) qos: u8,
    /// Whether it was waiting at the broker when the subscription began, or was published to be kept,
    /// if [`SubscriberOptions::retain_as_published`] is set.
    pub(crate) retained: bool,
}

impl Message {
    /// Whether it is what the gateway says of itself or of nodes, and no reading.
    pub(crate) fn is_of_gateway(&self) -> bool {
        is_of_gateway(&self.topic)
    }
}

/// Whether a topic carries what a gateway says of itself or of nodes.
pub(crate) fn is_of_gateway(topic: &str) -> bool {
    topic.contains("/gateway/") || topic.ends_with("/status")
}

/// Whom to subscribe as.
#[derive(Default)]
pub(crate) struct SubscriberOptions {
    /// Client identifier of a session that the broker keeps while the subscriber is away.
    pub(crate) session: Option<&'static str>,
    /// Name and password.
    pub(crate) user: Option<(&'static str, &'static str)>,
    /// Whether live messages show the flag that they were published with.
    pub(crate) retain_as_published: bool,
}

/// A subscription. It comes back by itself when the broker was away.
pub(crate) struct Subscriber {
    process: Process,
    messages: Arc<Mutex<Vec<Message>>>,
}

impl Subscriber {
    /// Subscribes; when this returns, the broker has confirmed it.
    pub(crate) fn start(port: u16, topic: &str) -> Self {
        Self::start_with(port, topic, &SubscriberOptions::default())
    }

    /// As [`Subscriber::start`], with a session or as a certain user.
    pub(crate) fn start_with(port: u16, topic: &str, options: &SubscriberOptions) -> Self {
        // Line by line: the confirmation stays in the buffer otherwise.
        let mut command = program("stdbuf");
        command.args(["-oL", "mosquitto_sub", "-d", "-h", "127.0.0.1", "-q", "2"]);
        command.args(["-p", &port.to_string(), "-t", topic]);
        command.args(["-F", r"message\t%t\t%q\t%r\t%p"]);
        if let Some(session) = options.session {
            command.args(["-c", "-i", session]);
        }
        if options.retain_as_published {
            command.args(["-V", "mqttv5", "--retain-as-published"]);
            command.args(["-D", "connect", "receive-maximum", "65535"]);
        }
        if let Some((name, password)) = options.user {
            command.args(["-u", name, "-P", password]);
        }
        let messages = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&messages);
        let process = Process::spawn_with("mosquitto_sub", &mut command, move |line| {
            match parse(line) {
                Some(message) => received.lock().unwrap().push(message),
                // A line for every packet would only hide the others.
                None => return line.contains("PUB"),
            }
            true
        });
        let mut subscriber = Self { process, messages };
        subscriber.wait_for_subscriptions(1);
        subscriber
    }

    /// Waits until the broker has confirmed the subscription so many times: after every restart
    /// of it once more.
    pub(crate) fn wait_for_subscriptions(&mut self, count: usize) {
        self.process
            .wait_for("confirmed subscription", PATIENCE, |lines| {
                (lines.count("Subscribed (mid") >= count).then_some(())
            });
    }

    /// What has arrived so far.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.messages.lock().unwrap().clone()
    }

    /// Waits until what has arrived is as it should be, and returns it.
    pub(crate) fn wait_until(
        &self,
        what: &str,
        patience: Duration,
        mut holds: impl FnMut(&[Message]) -> bool,
    ) -> Vec<Message> {
        let complete = poll(patience, || {
            let messages = self.messages.lock().unwrap();
            holds(&messages).then(|| messages.clone())
        });
        complete.unwrap_or_else(|| {
            let messages = self.messages();
            let last = &messages[messages.len().saturating_sub(20)..];
            let count = messages.len();
            panic!("no {what} within {patience:?}; {count} messages, the last: {last:#?}")
        })
    }

    /// Waits for so many messages, and returns all.
    pub(crate) fn wait_for_count(&self, count: usize, patience: Duration) -> Vec<Message> {
        let what = format!("{count} messages");
        self.wait_until(&what, patience, |messages| messages.len() >= count)
    }
}

fn parse(line: &str) -> Option<Message> {
    let mut parts = line.strip_prefix("message\t")?.splitn(4, '\t');
    Some(Message {
        topic: parts.next()?.into(),
        qos: parts.next()?.parse().ok()?,
        retained: parts.next()? == "1",
        payload: parts.next()?.into(),
    })
}
