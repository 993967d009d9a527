//! What the system says of its clocks.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use rtime_clock::adjtime::{Timex, adjtimex};

use crate::telemetry::{Received, Timestamp};

/// `STA_UNSYNC` of `adjtimex(2)`: nobody keeps the clock right.
const UNSYNCHRONISED: i32 = 0x40;

/// Both clocks now: the one that can be set, and one that never is, which counts on while the machine
/// sleeps.
pub fn now() -> Received {
    let steady = clock_gettime(ClockId::CLOCK_BOOTTIME);
    Received {
        wall: Timestamp::now(),
        monotonic: steady.map_or(Duration::ZERO, Duration::from),
    }
}

/// Whether the system says that its clock is kept right, as by NTP; `None`: it does not say.
pub fn is_synchronised() -> Option<bool> {
    let mut timex = Timex::new();
    adjtimex(&mut timex).ok()?;
    Some(timex.0.status & UNSYNCHRONISED == 0)
}
