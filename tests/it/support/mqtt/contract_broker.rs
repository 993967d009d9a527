//! A broker that does what MQTT 3.1.1 and 5 allow and forbid, as told, and counts exactly.

use std::collections::{HashSet, VecDeque};
use std::io::{self, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::packet::{Kind, Packet};
use super::record::Record;

/// What a broker does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// All that it should.
    Serve,
    /// Hangs up without a word.
    HangUp,
    /// Hangs up as soon as it has accepted the client.
    AcceptAndHangUp,
    /// Refuses with this return code. One below 0x80 it says in MQTT 3.1.1, as a broker that knows
    /// nothing else.
    Refuse(u8),
    /// Knows MQTT 3.1.1 alone. Says this to a client of MQTT 5, and hangs up.
    ServeOlder(&'static [u8]),
    /// Accepts, and begins a packet as long as MQTT has them.
    AcceptAndFlood,
    /// Accepts, and says with this reason code of MQTT 5 that it is over.
    Dismiss(u8),
    /// Hangs up after so many publishes, and leaves the last of them unacknowledged.
    HangUpAfter {
        /// So many.
        publishes: usize,
        /// So many at the end without acknowledgement.
        unacknowledged: usize,
    },
    /// Hangs up over one message, with this reason code if it speaks MQTT 5.
    HangUpOver {
        /// Where it goes.
        topic: &'static str,
        /// What it says.
        payload: &'static str,
        /// What it says to a client of MQTT 5; `None`: nothing.
        code: Option<u8>,
    },
    /// Answers pings and acknowledges nothing.
    AcknowledgeNothing,
    /// Answers late and in the wrong order, PUBREC and PUBCOMP mixed.
    AcknowledgeBackwards,
}

/// How long a broker that answers late waits for more.
const LULL: Duration = Duration::from_millis(5);

/// PUBACK.
const ACKNOWLEDGED: u8 = 0x40;

/// PUBREC.
const RECEIVED: u8 = 0x50;

/// PUBCOMP.
const COMPLETED: u8 = 0x70;

/// A broker of the test's own.
pub(crate) struct ContractBroker {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    ended: AtomicBool,
    script: Mutex<(VecDeque<Conduct>, Conduct)>,
    record: Record,
    connections: Mutex<Vec<TcpStream>>,
}

impl ContractBroker {
    /// Starts a broker that serves everybody.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            ended: AtomicBool::new(false),
            script: Mutex::new((VecDeque::new(), Conduct::Serve)),
            record: Record::default(),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accepting.accept(&listener));
        Self { port, shared }
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its address as the configuration wants it.
    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// What it does with the next connections, one each, before the standing conduct.
    pub(crate) fn next(&self, conducts: impl IntoIterator<Item = Conduct>) {
        self.shared.script.lock().unwrap().0.extend(conducts);
    }

    /// The standing conduct.
    pub(crate) fn always(&self, conduct: Conduct) {
        self.shared.script.lock().unwrap().1 = conduct;
    }

    /// What came over its connections.
    pub(crate) fn record(&self) -> &Record {
        &self.shared.record
    }
}

impl Drop for ContractBroker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            drop(connection.shutdown(Shutdown::Both));
        }
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for connection in listener.incoming() {
            let Ok(connection) = connection else { continue };
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            let kept = connection.try_clone();
            self.connections.lock().unwrap().extend(kept);
            let conduct = {
                let mut script = self.script.lock().unwrap();
                script.0.pop_front().unwrap_or(script.1)
            };
            let shared = Arc::clone(&self);
            std::thread::spawn(move || {
                // An error is the client's end of the connection.
                drop(shared.serve(&connection, conduct));
                drop(connection.shutdown(Shutdown::Both));
            });
        }
    }

    fn serve(&self, mut connection: &TcpStream, conduct: Conduct) -> io::Result<()> {
        connection.set_nodelay(true)?;
        if conduct == Conduct::HangUp {
            return Ok(());
        }
        let mut reader = BufReader::new(connection);
        let Some(connect) = Packet::read(&mut reader)? else {
            return Ok(());
        };
        assert_eq!(connect.kind(), Kind::Connect);
        let code = match conduct {
            Conduct::Refuse(code) => code,
            _ => 0,
        };
        let connect = connect.connect();
        let level = connect.level;
        let session = self.record.begin(connect);
        if let Conduct::ServeOlder(answer) = conduct
            && level == 5
        {
            self.record.end(session);
            return connection.write_all(answer);
        }
        if level == 5 && (code == 0 || code >= 0x80) {
            connection.write_all(&[0x20, 3, 0, code, 0])?;
        } else {
            connection.write_all(&[0x20, 2, 0, code])?;
        }
        if conduct == Conduct::AcceptAndFlood {
            connection.write_all(&[0x30, 0xff, 0xff, 0xff, 0x7f])?;
        }
        if let Conduct::Dismiss(code) = conduct {
            connection.write_all(&[0xe0, 1, code])?;
        }
        let is_over = conduct == Conduct::AcceptAndHangUp || matches!(conduct, Conduct::Dismiss(_));
        let served = if code == 0 && !is_over {
            if conduct == Conduct::AcknowledgeBackwards {
                connection.set_read_timeout(Some(LULL))?;
            }
            let served = Served {
                record: &self.record,
                session,
                level,
                conduct,
                publishes: 0,
                open: HashSet::new(),
                held_back: Vec::new(),
                answers: Vec::new(),
            };
            served.run(&mut reader, connection)
        } else {
            Ok(())
        };
        self.record.end(session);
        served
    }
}

/// A client that was accepted.
struct Served<'a> {
    record: &'a Record,
    session: usize,
    level: u8,
    conduct: Conduct,
    publishes: usize,
    /// Identifiers that are in use.
    open: HashSet<u16>,
    /// Answers to be given from the last to the first: kinds and identifiers.
    held_back: Vec<(u8, u16)>,
    answers: Vec<u8>,
}

impl Served<'_> {
    fn run(mut self, reader: &mut BufReader<&TcpStream>, mut to: &TcpStream) -> io::Result<()> {
        loop {
            match Packet::read(reader) {
                Ok(None) => return Ok(()),
                Ok(Some(packet)) => {
                    if !self.take(&packet) {
                        return to.write_all(&self.answers);
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    // Half of them each time, so that the steps of QoS 2 overtake each other.
                    let kept = self.held_back.len() / 2;
                    for (kind, packet_id) in self.held_back.split_off(kept).into_iter().rev() {
                        self.answer(kind, packet_id);
                    }
                }
                Err(error) => return Err(error),
            }
            if reader.buffer().is_empty() {
                to.write_all(&self.answers)?;
                self.answers.clear();
            }
        }
    }

    /// False when the connection is to end.
    fn take(&mut self, packet: &Packet) -> bool {
        match packet.kind() {
            Kind::Publish => return self.take_publish(packet),
            Kind::PubRel => self.answer_in_time(COMPLETED, packet.packet_id()),
            Kind::PingRequest => self.answers.extend([0xd0, 0]),
            Kind::Disconnect => {
                self.record.disconnect(self.session);
                return false;
            }
            _ => {}
        }
        true
    }

    fn take_publish(&mut self, packet: &Packet) -> bool {
        let publish = packet.publish(self.level);
        let (qos, packet_id) = (publish.qos, publish.packet_id);
        if let Conduct::HangUpOver {
            topic,
            payload,
            code,
        } = self.conduct
            && (publish.topic == topic && publish.payload == payload)
        {
            let code = code.filter(|_| self.level == 5);
            self.answers
                .extend(code.iter().flat_map(|code| [0xe0, 1, *code]));
            return false;
        }
        self.record.publish(self.session, publish);
        self.publishes += 1;
        let acknowledged = match self.conduct {
            Conduct::AcknowledgeNothing => false,
            Conduct::HangUpAfter {
                publishes,
                unacknowledged,
            } => self.publishes + unacknowledged <= publishes,
            _ => true,
        };
        if qos > 0 && !self.open.insert(packet_id) {
            // It is the client's fault: [MQTT-2.2.1-3].
            self.record.misuse(self.session);
            return false;
        }
        if qos > 0 && acknowledged {
            let kind = if qos == 2 { RECEIVED } else { ACKNOWLEDGED };
            self.answer_in_time(kind, packet_id);
        }
        !matches!(self.conduct, Conduct::HangUpAfter { publishes, .. } if self.publishes >= publishes)
    }

    /// Answers at once, or later if that is how it behaves.
    fn answer_in_time(&mut self, kind: u8, packet_id: u16) {
        if self.conduct == Conduct::AcknowledgeBackwards {
            self.held_back.push((kind, packet_id));
        } else {
            self.answer(kind, packet_id);
        }
    }

    fn answer(&mut self, kind: u8, packet_id: u16) {
        if kind != RECEIVED {
            self.record.acknowledge(self.session, packet_id);
            self.open.remove(&packet_id);
        }
        let [high, low] = packet_id.to_be_bytes();
        self.answers.extend([kind, 2, high, low]);
    }
}
