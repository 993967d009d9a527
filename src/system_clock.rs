//! What the system says of its clocks.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::telemetry::{Received, Timestamp};

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
#[cfg(target_pointer_width = "64")]
pub fn is_synchronised() -> Option<bool> {
    use rtime_clock::adjtime::{Timex, adjtimex};

    /// `STA_UNSYNC` of `adjtimex(2)`: nobody keeps the clock right.
    const UNSYNCHRONISED: i32 = 0x40;
    let mut timex = Timex::new();
    adjtimex(&mut timex).ok()?;
    Some(timex.0.status & UNSYNCHRONISED == 0)
}

/// Whether the system says that its clock is kept right: of 32 bits there is nothing to ask it with.
#[cfg(not(target_pointer_width = "64"))]
pub fn is_synchronised() -> Option<bool> {
    None
}
