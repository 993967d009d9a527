//! Counts what the radio received and the gateway never saw.

/// Follows `sts.rx`, the board's count of packets since it booted: a gap in it is packets lost
/// between the board and the gateway.
#[derive(Debug, Default)]
pub struct LossCounter {
    last: Option<u32>,
}

impl LossCounter {
    /// How many packets are missing between the last one and this one.
    ///
    /// A count that does not grow is a packet that came again or a board that restarted: it says
    /// nothing about loss, and counting goes on from it. `restarted` says that the device clock
    /// showed a reboot, after which a higher count is no gap either.
    pub fn observe(&mut self, count: u32, restarted: bool) -> u64 {
        let last = self.last.replace(count);
        match last {
            Some(last) if !restarted && count > last => u64::from(count - last - 1),
            // The counter's own wrap after 2³² packets.
            Some(last) if !restarted && last > u32::MAX - 1000 && count < 1000 => {
                u64::from(count.wrapping_sub(last) - 1)
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_losses_and_restarts_are_not() {
        let mut counter = LossCounter::default();
        for (count, restarted, lost) in [
            (7, false, 0), // The first one seen says nothing of those before.
            (8, false, 0),
            (10, false, 1),
            (10, false, 0), // Came again.
            (20, false, 9),
            (1, true, 0), // Rebooted.
            (2, false, 0),
            (40, true, 0), // Rebooted long ago, nobody listened.
            (41, false, 0),
            (3, false, 0), // Restarted, though the clock did not show it.
            (u32::MAX - 1, true, 0),
            (1, false, 2), // Wrapped: MAX and 0 are missing.
        ] {
            assert_eq!(counter.observe(count, restarted), lost, "{count}");
        }
    }
}
