//! A source that is lent over a connection: the lease lasts as long as the connection does, so that it
//! ends with whoever has it, however that ends.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::events::KEEP_ALIVE;
use crate::monitor::{Lease, LinkId};

/// The longest name of a program, in bytes.
pub(super) const MAX_NAME: usize = 255;

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaseRequest {
    /// Which source.
    pub(super) link: LinkId,
    /// For which program.
    pub(super) to: String,
}

/// The first line of the answer: the source is free to be used.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Lent {
    /// Which source.
    pub(super) lent: LinkId,
    /// What it is, as `serial /dev/ttyACM0`.
    pub(super) peer: String,
}

struct Lender {
    first: Option<Bytes>,
    _lease: Lease,
    stop: CancellationToken,
}

/// The answer: the first line, then an empty one now and then, so that a dead connection is noticed.
/// It ends with the gateway.
pub(super) fn lines(
    link: LinkId,
    lease: Lease,
    stop: CancellationToken,
) -> serde_json::Result<impl Stream<Item = Result<Bytes, Infallible>> + Send> {
    let mut first = serde_json::to_vec(&Lent {
        lent: link,
        peer: lease.peer().to_owned(),
    })?;
    first.push(b'\n');
    let lender = Lender {
        first: Some(first.into()),
        _lease: lease,
        stop,
    };
    Ok(unfold(lender, |mut lender| async move {
        if let Some(first) = lender.first.take() {
            return Some((Ok(first), lender));
        }
        let stopped = lender.stop.cancelled();
        match tokio::time::timeout(KEEP_ALIVE, stopped).await {
            Ok(()) => None,
            Err(_elapsed) => Some((Ok(Bytes::from_static(b"\n")), lender)),
        }
    }))
}
