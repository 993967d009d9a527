//! A cable to a server that can be pulled.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::port::Port;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    Swallow,
    Ended,
}

const TICK: Duration = Duration::from_millis(5);

struct Shared {
    upstream: u16,
    mode: Mutex<Mode>,
    listener: Mutex<Option<TcpListener>>,
    connections: Mutex<Vec<TcpStream>>,
}

/// Passes connections on to a server on this machine, until told otherwise.
pub(crate) struct TcpProxy {
    port: Port,
    shared: Arc<Shared>,
}

impl TcpProxy {
    /// A proxy in front of a port.
    pub(crate) fn start(upstream: u16) -> Self {
        let proxy = Self {
            port: Port::reserve(),
            shared: Arc::new(Shared {
                upstream,
                mode: Mutex::new(Mode::Forward),
                listener: Mutex::new(None),
                connections: Mutex::default(),
            }),
        };
        proxy.listen();
        let shared = Arc::clone(&proxy.shared);
        std::thread::spawn(move || shared.accept());
        proxy
    }

    /// The port to connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// The pulled cable: connections stay and begin, and nothing passes in either direction.
    pub(crate) fn swallow(&self) {
        self.shared.set(Mode::Swallow);
    }

    /// The dead server: ends all connections and refuses new ones.
    pub(crate) fn refuse(&self) {
        *self.shared.listener.lock().unwrap() = None;
        self.cut();
    }

    /// Ends all connections; new ones are welcome.
    pub(crate) fn cut(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            // Fails when the other side was first.
            drop(connection.shutdown(Shutdown::Both));
        }
    }

    /// Everything passes again; what was swallowed comes late, as TCP has it.
    pub(crate) fn resume(&self) {
        self.shared.set(Mode::Forward);
        self.listen();
    }

    fn listen(&self) {
        let mut listener = self.shared.listener.lock().unwrap();
        if listener.is_none() {
            let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port())).unwrap();
            bound.set_nonblocking(true).unwrap();
            *listener = Some(bound);
        }
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.shared.set(Mode::Ended);
        self.refuse();
    }
}

impl Shared {
    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap()
    }

    /// Waits while nothing may pass; false when nothing ever will.
    fn may_pass(&self) -> bool {
        while self.mode() == Mode::Swallow {
            std::thread::sleep(TICK);
        }
        self.mode() == Mode::Forward
    }

    fn accept(self: Arc<Self>) {
        while self.mode() != Mode::Ended {
            let accepted = self
                .listener
                .lock()
                .unwrap()
                .as_ref()
                .map(TcpListener::accept);
            match accepted {
                Some(Ok((client, _))) => {
                    let shared = Arc::clone(&self);
                    std::thread::spawn(move || drop(shared.serve(client)));
                }
                _ => std::thread::sleep(TICK),
            }
        }
    }

    fn serve(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        client.set_nonblocking(false)?;
        self.remember(&client)?;
        if !self.may_pass() {
            return Ok(());
        }
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.upstream)) else {
            return client.shutdown(Shutdown::Both);
        };
        self.remember(&server)?;
        let (shared, from, to) = (Arc::clone(self), server.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || drop(shared.pass(from, to)));
        self.pass(client, server)
    }

    fn remember(&self, connection: &TcpStream) -> io::Result<()> {
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(Duration::from_millis(50)))?;
        self.connections
            .lock()
            .unwrap()
            .push(connection.try_clone()?);
        Ok(())
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = match from.read(&mut buffer) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if self.mode() == Mode::Ended {
                        return Ok(());
                    }
                    continue;
                }
                Err(_) => 0,
                Ok(count) => count,
            };
            if !self.may_pass() {
                return Ok(());
            }
            if count == 0 {
                return to.shutdown(Shutdown::Write);
            }
            to.write_all(&buffer[..count])?;
        }
    }
}
