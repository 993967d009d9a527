//! Connections over TCP to whichever address of a name answers, as RFC 8305 (happy eyeballs) has it: the
//! next one is tried when one fails, or has not answered for a moment, the families by turns.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper014::client::connect::dns::Name;
use reqwest::dns::{Addrs, Resolve, Resolving};
use tokio::net::{TcpStream, lookup_host};

/// The standard's "connection attempt delay".
const DELAY: Duration = Duration::from_millis(250);

/// Connects to a host by whichever of its addresses answers first. Cancel safe.
pub(super) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = lookup_host((host, port)).await?;
    first_of(by_turns(addresses.collect())).await
}

/// Addresses in the system's order, but after each one of the other family if there is one.
fn by_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else {
        return addresses;
    };
    let is_of_first = first.is_ipv6();
    let (firsts, seconds): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == is_of_first);
    let (mut firsts, mut seconds) = (firsts.into_iter(), seconds.into_iter());
    let mut ordered = Vec::with_capacity(firsts.len() + seconds.len());
    while firsts.len() + seconds.len() > 0 {
        ordered.extend(firsts.next());
        ordered.extend(seconds.next());
    }
    ordered
}

/// The connection that is there first; the error is that of the last one that failed.
async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        attempts.extend(waiting.next().map(TcpStream::connect));
        let mut delay = pin!(tokio::time::sleep(DELAY));
        tokio::select! {
            result = attempts.next() => match result {
                Some(Ok(connection)) => return Ok(connection),
                Some(Err(error)) => failed = error,
                None => return Err(failed),
            },
            () = &mut delay, if waiting.len() > 0 => {}
        }
    }
}

/// Puts the address that answers first in front, for a client that tries them one after the other.
#[derive(Debug)]
pub(super) struct Resolver {
    /// Where it is asked whether it answers.
    pub(super) port: u16,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let port = self.port;
        Box::pin(async move {
            let found = lookup_host((name.as_str(), port)).await?;
            let mut addresses = by_turns(found.collect());
            // One alone is tried in any case.
            if addresses.len() > 1
                && let Ok(connection) = first_of(addresses.clone()).await
            {
                let first = connection.peer_addr()?;
                addresses.sort_by_key(|address| *address != first);
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use tokio::net::TcpSocket;
    use tokio::time::{Instant, timeout};

    use super::*;

    /// An address that answers nothing: its queue is full. Lives as long as what comes with it.
    async fn silent() -> (SocketAddr, impl Sized) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        let brief = Duration::from_millis(100);
        while let Ok(connection) = timeout(brief, TcpStream::connect(address)).await {
            queued.push(connection.unwrap());
        }
        (address, (listener, queued))
    }

    fn listening() -> (SocketAddr, TcpListener) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        (listener.local_addr().unwrap(), listener)
    }

    fn refusing() -> SocketAddr {
        listening().0
    }

    #[test]
    fn families_take_turns() {
        for (addresses, expected) in [
            (
                &["[::1]:1", "1.1.1.1:1", "2.2.2.2:1"][..],
                "[::1]:1 1.1.1.1:1 2.2.2.2:1",
            ),
            (
                &["[::1]:1", "[::2]:1", "1.1.1.1:1"],
                "[::1]:1 1.1.1.1:1 [::2]:1",
            ),
            (
                &["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"],
                "1.1.1.1:1 [::1]:1 2.2.2.2:1",
            ),
            (&[], ""),
        ] {
            let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
            let ordered: Vec<String> = by_turns(addresses)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(ordered.join(" "), expected);
        }
    }

    #[tokio::test]
    async fn a_dead_address_hides_no_other_one() {
        let (dead, _queue) = silent().await;
        let (alive, _listener) = listening();
        for addresses in [
            vec![alive],
            vec![refusing(), alive],
            vec![dead, alive],
            vec![dead, refusing(), dead, alive],
        ] {
            let start = Instant::now();
            let connection = first_of(addresses).await.unwrap();
            assert_eq!(connection.peer_addr().unwrap(), alive);
            assert!(start.elapsed() < Duration::from_secs(3));
        }
    }

    #[tokio::test]
    async fn what_none_of_them_does_is_an_error() {
        let error = first_of(vec![refusing(), refusing()]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(first_of(Vec::new()).await.is_err());
        assert!(connect("no-such-host.invalid", 1).await.is_err());
    }
}
