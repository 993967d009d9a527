//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);

/// A connection that held so long was a good one, whatever came over it.
pub(crate) const HELD: Duration = Duration::from_secs(10);

/// The largest share of a delay that is added to it by chance, so that many gateways that lost the
/// same server do not come back in the same instant.
const JITTER: f64 = 0.1;

/// The waits between attempts: 1, 2, 4, 8, … seconds up to a cap, each up to 10 % longer by chance.
///
/// A value without any I/O or clock in it: whoever uses it does the waiting.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    cap: Duration,
    random: fastrand::Rng,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Self::CAP)
    }
}

impl Backoff {
    /// The longest wait, unless told otherwise; jitter comes on top.
    pub const CAP: Duration = Duration::from_mins(1);

    /// Starts at one second, or at the cap if that is less.
    pub fn new(cap: Duration) -> Self {
        Self::with_random(cap, fastrand::Rng::new())
    }

    /// As [`new`](Self::new), with the jitter taken from `random`.
    pub fn with_random(cap: Duration, random: fastrand::Rng) -> Self {
        Self {
            next: FIRST.min(cap),
            cap,
            random,
        }
    }

    /// How long to wait before the next attempt. Each call is one more failure.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = delay.saturating_mul(2).min(self.cap);
        delay.mul_f64(1.0 + JITTER * self.random.f64())
    }

    /// A connection ended that held for so long. Only one that carried an acknowledgement, or held
    /// for ten seconds, proves that the peer is well: the waits then start at one second again. A
    /// peer that takes a connection and drops it at once is left alone for longer and longer.
    pub fn connection_ended(&mut self, held: Duration, acknowledged: bool) {
        if acknowledged || held >= HELD {
            self.reset();
        }
    }

    /// The waits start at one second again.
    pub fn reset(&mut self) {
        self.next = FIRST.min(self.cap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(backoff: &mut Backoff, count: usize) -> Vec<f64> {
        (0..count)
            .map(|_| backoff.next_delay().as_secs_f64())
            .collect()
    }

    #[test]
    fn waits_double_up_to_the_cap_with_little_jitter() {
        for (cap, expected) in [
            (60, [1, 2, 4, 8, 16, 32, 60, 60, 60]),
            (5, [1, 2, 4, 5, 5, 5, 5, 5, 5]),
            (1, [1; 9]),
            (0, [0; 9]),
        ] {
            for seed in 0..100 {
                let random = fastrand::Rng::with_seed(seed);
                let mut backoff = Backoff::with_random(Duration::from_secs(cap), random);
                for (delay, base) in delays(&mut backoff, 9).into_iter().zip(expected) {
                    let base = f64::from(base);
                    assert!(
                        (base..=base * 1.1).contains(&delay),
                        "{delay} for {base} with cap {cap}"
                    );
                }
            }
        }
    }

    #[test]
    fn jitter_differs_from_gateway_to_gateway() {
        let first =
            |seed| Backoff::with_random(Backoff::CAP, fastrand::Rng::with_seed(seed)).next_delay();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn only_a_connection_that_proved_itself_starts_the_waits_anew() {
        for (held_millis, acknowledged, starts_anew) in [
            (0, false, false),
            (9_999, false, false),
            (10_000, false, true),
            (0, true, true),
        ] {
            let mut backoff = Backoff::default();
            assert!(delays(&mut backoff, 3)[2] >= 4.0);
            backoff.connection_ended(Duration::from_millis(held_millis), acknowledged);
            let next = backoff.next_delay().as_secs_f64();
            assert_eq!(next < 2.0, starts_anew, "{held_millis} {acknowledged}");
            assert_eq!(next >= 8.0, !starts_anew, "{held_millis} {acknowledged}");
        }
    }
}
