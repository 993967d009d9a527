//! Made-up nodes, for a demonstration without any hardware and for load tests.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use tracing::info;

use super::stream::{Feed, Pace, Stream, produce};
use super::{Generator, SourceError};
use crate::config::Simulator;

/// Packets that are due at once go out together up to this size, so that 100,000 a second cost
/// little.
const LARGEST_CHUNK: usize = 16 * 1024;

/// Between two packets, should the rate be no number that makes sense.
const LONGEST_STEP: Duration = Duration::from_hours(1);

/// Starts the made-up board.
#[expect(
    clippy::unnecessary_wraps,
    reason = "all kinds that are played to their end open in the same way"
)]
pub(super) fn open(settings: &Simulator, started: Instant) -> Result<Stream, SourceError> {
    let seed = settings.seed.unwrap_or_else(|| fastrand::u64(..));
    info!(
        seed,
        nodes = settings.nodes,
        "The simulator makes up packets."
    );
    let generator = Generator::new(settings.nodes, settings.damage, seed);
    let step = Duration::try_from_secs_f64(settings.rate.recip()).unwrap_or(LONGEST_STEP);
    let count = settings.count;
    Ok(produce(started, move |feed| {
        simulate(generator, step, count, feed)
    }))
}

async fn simulate(
    mut generator: Generator,
    step: Duration,
    count: Option<u64>,
    feed: Feed,
) -> Result<(), SourceError> {
    let mut pace = Pace::new();
    let mut left = count.unwrap_or(u64::MAX);
    let mut buffer = BytesMut::with_capacity(LARGEST_CHUNK);
    while left > 0 {
        loop {
            generator.write_next(step, &mut buffer);
            left = left.saturating_sub(1);
            let more_due = pace.advance(step);
            if !more_due || left == 0 || buffer.len() >= LARGEST_CHUNK {
                break;
            }
        }
        if feed.put(buffer.split().freeze()).await.is_err() {
            return Ok(());
        }
        if left > 0 {
            pace.wait().await;
        }
    }
    Ok(())
}
