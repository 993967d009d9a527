//! Points that are written outside of a gateway, those that a server refuses apart from the others.

use super::answer::Answer;
use super::client::Client;
use super::isolation::{Isolation, SearchState};
use crate::telemetry::Reading;

/// Writes readings in batches of at most `limit`, as `push` makes lines of them; returns those that are
/// refused for good, with the server's words. An error is an answer that stops all of them.
pub async fn write_apart(
    client: &Client,
    readings: &[Reading],
    limit: usize,
    push: impl Fn(&mut String, usize),
) -> Result<Vec<(usize, String)>, Answer> {
    let reading = |point: usize| &readings[point];
    let mut isolation = Isolation::new(readings.len(), limit, reading);
    while let Some(part) = isolation.next_part() {
        let mut lines = String::new();
        part.points
            .iter()
            .for_each(|point| push(&mut lines, *point));
        let answer = client.write(&lines).await;
        let state = match &answer {
            Answer::Accepted => {
                isolation.taken();
                continue;
            }
            Answer::TooLarge { reason } => isolation.too_large(&part, reason),
            Answer::BadPoints(rejected) => isolation.bad(&part, rejected.clone()),
            Answer::BackOff(_) | Answer::Refused(_) => return Err(answer),
        };
        if state == SearchState::Configuration {
            return Err(answer);
        }
    }
    Ok(isolation.into_rejected())
}
