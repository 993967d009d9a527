//! Ports that stay a test's own, also while its server is down.

use std::net::{Ipv4Addr, TcpListener};

/// Below the range from which the system takes ports for outgoing connections: none of those can
/// grab the port of a server that is down for a moment.
const PORTS: std::ops::Range<u16> = 20_000..26_000;

/// Every port has a second one, this far above, that says who uses it.
const GUARD_OFFSET: u16 = 6_000;

/// A port that no other fixture, in this process or another, uses at the same time.
pub(crate) struct Port {
    number: u16,
    _guard: TcpListener,
}

impl Port {
    /// Takes a free one.
    pub(crate) fn reserve() -> Self {
        std::iter::repeat_with(|| fastrand::u16(PORTS))
            .take(1_000)
            .find_map(|number| {
                let guard = TcpListener::bind((Ipv4Addr::LOCALHOST, number + GUARD_OFFSET)).ok()?;
                TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
                Some(Self {
                    number,
                    _guard: guard,
                })
            })
            .expect("no free port")
    }

    /// Its number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
