//! Listens in on the way to a real broker: what was published over which connection, and what of it
//! the broker acknowledged. A subscriber cannot know that: what a killed broker had acknowledged
//! and not passed on is the broker's loss, not the gateway's.

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::packet::{Kind, Packet};
use super::record::Record;

/// A broker's other address, at which everything is recorded.
pub(crate) struct Tap {
    port: u16,
    ended: Arc<AtomicBool>,
    record: Record,
}

impl Tap {
    /// A tap in front of a broker. While the broker is away, its connections end at once.
    pub(crate) fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (ended, record) = (Arc::new(AtomicBool::new(false)), Record::default());
        let (stop, recorded) = (Arc::clone(&ended), record.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(client), record) = (client, recorded.clone()) else {
                    continue;
                };
                // An error is the end of the connection on one of its sides.
                std::thread::spawn(move || drop(serve(&client, upstream, &record)));
            }
        });
        Self {
            port,
            ended,
            record,
        }
    }

    /// The port to connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its address as the configuration wants it.
    pub(crate) fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// What came over its connections.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

fn serve(client: &TcpStream, upstream: u16, record: &Record) -> io::Result<()> {
    let broker = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream))?;
    for connection in [client, &broker] {
        connection.set_nodelay(true)?;
    }
    let mut from_client = BufReader::new(client);
    let Some(connect) = Packet::read(&mut from_client)? else {
        return Ok(());
    };
    let connected = connect.connect();
    let level = connected.level;
    let session = record.begin(connected);
    (&broker).write_all(connect.bytes())?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            drop(pass(&mut BufReader::new(&broker), client, |packet| {
                let is_end = matches!(packet.kind(), Kind::PubAck | Kind::PubComp);
                if is_end && !packet.is_refusal() {
                    record.acknowledge(session, packet.packet_id());
                }
            }));
            drop(client.shutdown(Shutdown::Both));
        });
        drop(pass(&mut from_client, &broker, |packet| {
            match packet.kind() {
                Kind::Publish => record.publish(session, packet.publish(level)),
                Kind::Disconnect => record.disconnect(session),
                _ => {}
            }
        }));
        drop(broker.shutdown(Shutdown::Both));
    });
    record.end(session);
    Ok(())
}

/// Passes packets on until one side ends; what was read together is written together.
fn pass(
    from: &mut BufReader<&TcpStream>,
    mut to: &TcpStream,
    mut note: impl FnMut(&Packet),
) -> io::Result<()> {
    let mut bytes = Vec::new();
    while let Some(packet) = Packet::read(from)? {
        note(&packet);
        bytes.extend_from_slice(packet.bytes());
        if from.buffer().is_empty() {
            to.write_all(&bytes)?;
            bytes.clear();
        }
    }
    Ok(())
}
