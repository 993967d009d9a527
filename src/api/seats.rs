//! How many connections there are, what each of them is doing, and which one goes when there is no room.
//!
//! Nobody waits for a seat: whoever comes when all are taken gets that of the one who has been longest at
//! something that takes no time. So those who finish what they begin are always answered, however many
//! others begin and do not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Connections at once.
pub(super) const SEATS: usize = 64;

/// How long a request's head may take, and how long a connection may be idle between two requests.
pub(super) const HEAD: Duration = Duration::from_secs(10);

/// How long an answer may take, with the body of its request.
const ANSWER: Duration = Duration::from_mins(1);

/// What a connection is doing. The later ones keep their seats longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// Nothing, or sending the head of a request.
    Asking,
    /// Getting an answer that has an end.
    Answering,
    /// Listening to events, which has rules of its own, and fewer listeners than there are seats.
    Listening,
}

#[derive(Debug)]
struct Taken {
    number: u64,
    doing: Doing,
    since: Instant,
    /// Ends the connection.
    end: CancellationToken,
}

impl Taken {
    fn limit(&self) -> Option<Instant> {
        match self.doing {
            Doing::Asking => Some(self.since + HEAD),
            Doing::Answering => Some(self.since + ANSWER),
            Doing::Listening => None,
        }
    }
}

/// All seats.
#[derive(Debug, Clone, Default)]
pub(super) struct Seats(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    taken: Vec<Taken>,
    next_number: u64,
}

/// One connection's seat, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    number: u64,
    end: CancellationToken,
}

/// An answer on its way: when it is dropped, the connection may ask again.
#[derive(Debug)]
pub(super) struct Answering(Arc<Seat>);

impl Seats {
    /// A seat, if need be that of somebody else.
    pub(super) fn take(&self) -> Seat {
        let end = CancellationToken::new();
        let mut inner = self.lock();
        if inner.taken.len() >= SEATS {
            inner.free_one();
        }
        let number = inner.next_number;
        inner.next_number += 1;
        inner.taken.push(Taken {
            number,
            doing: Doing::Asking,
            since: Instant::now(),
            end: end.clone(),
        });
        Seat {
            seats: self.clone(),
            number,
            end,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Ends the connection that can be missed most.
    fn free_one(&mut self) {
        let order = |taken: &&Taken| (taken.doing, taken.since, taken.number);
        let Some(number) = self
            .taken
            .iter()
            .min_by_key(order)
            .map(|taken| taken.number)
        else {
            return;
        };
        self.taken.retain(|taken| {
            let stays = taken.number != number;
            if !stays {
                taken.end.cancel();
            }
            stays
        });
    }
}

impl Seat {
    /// A request has come.
    pub(super) fn answering(self: &Arc<Self>) -> Answering {
        self.now(Doing::Answering);
        Answering(Arc::clone(self))
    }

    /// Comes back when the seat has to be left: it is given away, or something took too long.
    pub(super) async fn left(&self) {
        loop {
            let limit = {
                let inner = self.seats.lock();
                let own = inner.taken.iter().find(|taken| taken.number == self.number);
                own.map(Taken::limit)
            };
            match limit {
                None => return,
                Some(Some(limit)) if limit <= Instant::now() => return,
                Some(limit) => {
                    // Looked at anew then: it may do something else by now.
                    let at = limit.unwrap_or_else(|| Instant::now() + HEAD);
                    let _given_away = tokio::time::timeout_at(at, self.end.cancelled()).await;
                }
            }
        }
    }

    fn now(&self, doing: Doing) {
        let mut inner = self.seats.lock();
        let mut taken = inner.taken.iter_mut();
        if let Some(own) = taken.find(|taken| taken.number == self.number) {
            own.doing = doing;
            own.since = Instant::now();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let number = self.number;
        self.seats
            .lock()
            .taken
            .retain(|taken| taken.number != number);
    }
}

impl Answering {
    /// The answer goes on for as long as somebody listens.
    pub(super) fn has_no_end(&self) {
        self.0.now(Doing::Listening);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.now(Doing::Asking);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_left(seat: &Seat) -> bool {
        tokio::time::timeout(Duration::from_millis(1), seat.left())
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_asked_for_longest_gives_up_the_seat() {
        let seats = Seats::default();
        let mut taken = Vec::new();
        for _ in 0..SEATS {
            taken.push(Arc::new(seats.take()));
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        let answering = taken[0].answering();
        let listening = taken[1].answering();
        listening.has_no_end();
        let _new = seats.take();
        for (number, seat) in taken.iter().enumerate() {
            assert_eq!(is_left(seat).await, number == 2, "{number}");
        }
        drop(answering);
        // It has only just been answered: the next one is older.
        let _another = seats.take();
        assert!(is_left(&taken[3]).await);
        assert!(!is_left(&taken[0]).await);
        assert_eq!(seats.lock().taken.len(), SEATS);
        taken.clear();
        assert!(seats.lock().taken.len() <= 3);
    }

    #[tokio::test(start_paused = true)]
    async fn each_thing_has_its_time() {
        let seats = Seats::default();
        let start = Instant::now();
        let seat = Arc::new(seats.take());
        seat.left().await;
        assert_eq!(start.elapsed(), HEAD);

        let seat = Arc::new(seats.take());
        let (start, answering) = (Instant::now(), seat.answering());
        seat.left().await;
        assert_eq!(start.elapsed(), ANSWER);
        drop(answering);

        let seat = Arc::new(seats.take());
        let listening = seat.answering();
        listening.has_no_end();
        let hour = Duration::from_hours(1);
        assert!(tokio::time::timeout(hour, seat.left()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_room_full_of_answers_has_room_for_the_next_request() {
        let seats = Seats::default();
        let taken: Vec<_> = (0..SEATS).map(|_| Arc::new(seats.take())).collect();
        let _answers: Vec<_> = taken.iter().map(Seat::answering).collect();
        let new = Arc::new(seats.take());
        assert!(is_left(&taken[0]).await);
        assert!(!is_left(&new).await);
    }
}
