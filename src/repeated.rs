//! Log lines that repeat: the first is written at once, then a sum at most once a minute, then that it
//! is over. So whatever a wire, a server or a client does again and again, the log stays readable.
//!
//! A [`Topic`] is what a line is about. Its lines are counted by subject (which link, which board) and
//! detail (which reason), so that another reason is said at once. What counts is pure and is told the
//! time; the lines themselves are closures, written by whoever asks and, when nobody does any more, by
//! the thread that [`start`] begins.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// At most one sum in so long.
const INTERVAL: Duration = Duration::from_mins(1);

/// How much longer a sum waits for the next line, which brings newer words with it.
const GRACE: Duration = Duration::from_secs(10);

/// Subjects and details that are told apart in one topic; those beyond are counted as one.
const MAX_SUBJECTS: usize = 16;

/// What a line is about, and how often it is written before it is summed up.
#[derive(Debug, Clone, Copy)]
pub struct Topic {
    name: &'static str,
    at_once: u32,
    over_after: Duration,
}

impl Topic {
    /// Says the first line at once; it is over after a minute without one.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            at_once: 1,
            over_after: INTERVAL,
        }
    }

    /// Attempts, and what else of a link's coming and going is worth a line each: the first eight,
    /// which is the way of the pauses from a second to a minute. Those that follow a minute apart are
    /// lines of their own as well.
    pub const fn of_attempts(name: &'static str) -> Self {
        Self {
            name,
            at_once: 8,
            over_after: Duration::from_mins(5),
        }
    }

    /// Writes so many lines before the first sum.
    #[must_use]
    pub const fn at_once(mut self, lines: u32) -> Self {
        self.at_once = lines;
        self
    }

    /// Has `line` written: now, or in a sum with those that follow.
    pub fn say(&self, subject: &str, detail: &str, line: impl Fn(&Sum) + Send + Sync + 'static) {
        self.count(subject, detail, 1, line);
    }

    /// As [`say`](Self::say), of something that happened so often at once.
    pub fn count(
        &self,
        subject: &str,
        detail: &str,
        amount: u64,
        line: impl Fn(&Sum) + Send + Sync + 'static,
    ) {
        let line: SaySum = Arc::new(line);
        let said = {
            let mut book = book();
            let before = book.len();
            let said = book.note(Instant::now(), *self, (subject, detail), amount, line);
            if book.len() > before {
                CHANGED.notify_one();
            }
            said
        };
        write(said);
    }

    /// It is over for this subject: what is not yet summed up is so as soon as it may.
    pub fn over(&self, subject: &str) {
        book().settle(*self, subject);
        CHANGED.notify_one();
    }
}

/// What one written line stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    /// How many lines.
    times: u64,
    /// What they add up to.
    amount: u64,
    within: Duration,
    is_over: bool,
}

impl Sum {
    /// What the lines add up to.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// Whether it has come to an end: the line stands for all that there was.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The words for the line's field `repeated`; none when it stands for itself.
    pub fn words(&self) -> Option<String> {
        (self.is_over || self.times > 1).then(|| self.to_string())
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = Duration::from_secs(self.within.as_secs().max(1));
        let within = humantime::format_duration(within);
        write!(f, "{} times in {within}", self.times)?;
        if self.is_over {
            f.write_str(", then no more")?;
        }
        Ok(())
    }
}

type SaySum = Arc<dyn Fn(&Sum) + Send + Sync>;

static BOOK: LazyLock<Mutex<Book<SaySum>>> = LazyLock::new(Mutex::default);

/// There is something new to wait for.
static CHANGED: Condvar = Condvar::new();

fn book() -> MutexGuard<'static, Book<SaySum>> {
    BOOK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Outside of the lock: a log that is slow must not hold up those who have nothing to write.
fn write(lines: impl IntoIterator<Item = (SaySum, Sum)>) {
    for (line, sum) in lines {
        line(&sum);
    }
}

/// From now on writes the sums that nobody else writes any more.
pub fn start() -> io::Result<()> {
    let watch = || {
        loop {
            let due = wait_for_due();
            write(due);
        }
    };
    thread::Builder::new()
        .name("log-sums".to_owned())
        .spawn(watch)?;
    Ok(())
}

fn wait_for_due() -> Vec<(SaySum, Sum)> {
    let mut book = book();
    loop {
        let now = Instant::now();
        let due = book.due(now);
        if !due.is_empty() {
            return due;
        }
        let wait = book.next_due().map(|at| at.saturating_duration_since(now));
        // Which of the two ended the wait is found out by looking.
        book = match wait {
            Some(wait) => {
                let waited = CHANGED.wait_timeout(book, wait);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => CHANGED.wait(book).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Ends all that is not over yet, before the log ends.
pub fn finish() {
    let rest = book().end(Instant::now());
    write(rest);
}

/// What was said, and what was not yet, by topic.
#[derive(Debug)]
struct Book<T> {
    topics: HashMap<&'static str, HashMap<Key, Entry<T>>>,
}

/// Subject and detail, as hashes: they can be long, and are only compared.
type Key = (u64, u64);

#[derive(Debug)]
struct Entry<T> {
    topic: Topic,
    /// How many lines may still be written at once.
    at_once: u32,
    first: Instant,
    last_seen: Instant,
    last_said: Instant,
    /// Since the last line that was written.
    unsaid: Tally,
    all: Tally,
    /// Whether a line stood for more than itself, so that its end is worth a line.
    is_summed: bool,
    /// Whether it was said to be over.
    is_settled: bool,
    latest: T,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    times: u64,
    amount: u64,
}

impl Tally {
    fn add(&mut self, amount: u64) {
        self.times += 1;
        self.amount = self.amount.saturating_add(amount);
    }
}

impl<T> Default for Book<T> {
    fn default() -> Self {
        Self {
            topics: HashMap::new(),
        }
    }
}

impl<T: Clone> Book<T> {
    /// Something happened: returns the line if it is to be written now.
    fn note(
        &mut self,
        now: Instant,
        topic: Topic,
        (subject, detail): (&str, &str),
        amount: u64,
        line: T,
    ) -> Option<(T, Sum)> {
        let entries = self.topics.entry(topic.name).or_default();
        let key = key_among(entries, hash(subject), hash(detail));
        let entry = entries
            .entry(key)
            .or_insert_with(|| Entry::new(topic, now, line.clone()));
        entry.note(now, amount, line)
    }

    /// The subject's lines are over, unless another one comes.
    fn settle(&mut self, topic: Topic, subject: &str) {
        let subject = hash(subject);
        let entries = self.topics.get_mut(topic.name).into_iter().flatten();
        for (_, entry) in entries.filter(|((of, _), _)| *of == subject) {
            entry.is_settled = true;
        }
    }

    /// What is to be written now. Forgets what is over.
    fn due(&mut self, now: Instant) -> Vec<(T, Sum)> {
        let mut due = Vec::new();
        for entries in self.topics.values_mut() {
            entries.retain(|_, entry| {
                due.extend(entry.due(now));
                !entry.is_forgotten(now)
            });
        }
        due
    }

    /// When [`due`](Self::due) has something to do.
    fn next_due(&self) -> Option<Instant> {
        let entries = self.topics.values().flat_map(HashMap::values);
        entries.map(Entry::due_at).min()
    }

    /// All that is not over yet.
    fn end(&mut self, now: Instant) -> Vec<(T, Sum)> {
        let entries = self.topics.drain().flat_map(|(_, entries)| entries);
        entries
            .filter_map(|(_, mut entry)| entry.end(now))
            .collect()
    }

    fn len(&self) -> usize {
        self.topics.values().map(HashMap::len).sum()
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Where a subject is counted: with its own kind, or with all those for which there is no room.
fn key_among<T>(entries: &HashMap<Key, T>, subject: u64, detail: u64) -> Key {
    let key = (subject, detail);
    if entries.len() < MAX_SUBJECTS || entries.contains_key(&key) {
        key
    } else {
        (0, 0)
    }
}

impl<T: Clone> Entry<T> {
    fn new(topic: Topic, now: Instant, latest: T) -> Self {
        Self {
            topic,
            at_once: topic.at_once,
            first: now,
            last_seen: now,
            last_said: now,
            unsaid: Tally::default(),
            all: Tally::default(),
            is_summed: false,
            is_settled: false,
            latest,
        }
    }

    fn note(&mut self, now: Instant, amount: u64, line: T) -> Option<(T, Sum)> {
        if self.all.times == 0 {
            self.first = now;
        }
        self.last_seen = now;
        self.latest = line;
        self.is_settled = false;
        self.unsaid.add(amount);
        self.all.add(amount);
        if self.at_once == 0 && now < self.last_said + INTERVAL {
            return None;
        }
        self.at_once = self.at_once.saturating_sub(1);
        self.sum(now)
    }

    /// The line for all that is not yet said.
    fn sum(&mut self, now: Instant) -> Option<(T, Sum)> {
        let Tally { times, amount } = std::mem::take(&mut self.unsaid);
        let sum = Sum {
            times,
            amount,
            within: now.saturating_duration_since(self.last_said),
            is_over: false,
        };
        self.last_said = now;
        self.is_summed |= times > 1;
        (times > 0).then(|| (self.latest.clone(), sum))
    }

    /// The line that says that it is over, if it was ever summed up.
    fn end(&mut self, now: Instant) -> Option<(T, Sum)> {
        let is_worth_a_line = self.is_summed || self.unsaid.times > 0;
        let Tally { times, amount } = std::mem::take(&mut self.all);
        self.unsaid = Tally::default();
        self.is_summed = false;
        if !is_worth_a_line {
            return None;
        }
        self.last_said = now;
        let sum = Sum {
            times,
            amount,
            within: self.last_seen.saturating_duration_since(self.first),
            is_over: true,
        };
        Some((self.latest.clone(), sum))
    }

    fn due(&mut self, now: Instant) -> Option<(T, Sum)> {
        if self.over_at() <= now {
            self.end(now)
        } else if self.sum_at().is_some_and(|at| at <= now) {
            self.sum(now)
        } else {
            None
        }
    }

    fn due_at(&self) -> Instant {
        let over_at = self.over_at();
        self.sum_at().map_or(over_at, |at| at.min(over_at))
    }

    fn sum_at(&self) -> Option<Instant> {
        (self.unsaid.times > 0).then(|| self.last_said + INTERVAL + GRACE)
    }

    /// When it is over: after silence, or when somebody said so; not before a line may be written.
    fn over_at(&self) -> Instant {
        let silent_at = self.last_seen + self.topic.over_after;
        if !self.is_worth_an_end() {
            return silent_at;
        }
        let over_at = if self.is_settled {
            self.last_seen
        } else {
            silent_at
        };
        over_at.max(self.last_said + INTERVAL)
    }

    fn is_worth_an_end(&self) -> bool {
        self.is_summed || self.unsaid.times > 0
    }

    /// Only after silence: what comes and goes all the time is to be summed up for good.
    fn is_forgotten(&self, now: Instant) -> bool {
        !self.is_worth_an_end() && self.over_at() <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    /// A book with a clock, and what was written with the second in which it was.
    struct Log {
        book: Book<String>,
        start: Instant,
        now: u64,
        written: Vec<(u64, String, Sum)>,
    }

    impl Log {
        fn new() -> Self {
            Self {
                book: Book::default(),
                start: Instant::now(),
                now: 0,
                written: Vec::new(),
            }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        fn write(&mut self, second: u64, lines: impl IntoIterator<Item = (String, Sum)>) {
            let lines = lines.into_iter().map(|(line, sum)| (second, line, sum));
            self.written.extend(lines);
        }

        /// As the thread does, second by second.
        fn advance_to(&mut self, second: u64) {
            while self.now < second {
                self.now += 1;
                let now = self.at(self.now);
                if self.book.next_due().is_some_and(|due| due <= now) {
                    let due = self.book.due(now);
                    self.write(self.now, due);
                    assert!(self.book.next_due().is_none_or(|due| due > now));
                }
            }
        }

        fn note(&mut self, second: u64, topic: Topic, key: (&str, &str), line: &str) {
            self.advance_to(second);
            let now = self.at(second);
            let said = self.book.note(now, topic, key, 10, line.to_owned());
            self.write(second, said);
        }

        fn lines(&self) -> Vec<String> {
            let words = |sum: &Sum| sum.words().unwrap_or_default();
            let lines = self.written.iter();
            lines
                .map(|(second, line, sum)| format!("{second} {line} {}", words(sum)))
                .collect()
        }

        /// What the lines stand for, without those that say it a second time because it is over.
        fn times(&self) -> u64 {
            let lines = self.written.iter();
            lines
                .filter(|(_, _, sum)| !sum.is_over)
                .map(|(_, _, sum)| sum.times)
                .sum()
        }
    }

    const FAULT: Topic = Topic::new("fault");
    const ATTEMPT: Topic = Topic::of_attempts("attempt");

    #[test]
    fn the_first_is_written_at_once_then_a_sum_then_the_end() {
        let mut log = Log::new();
        for second in 0..150 {
            for number in 0..10 {
                log.note(second, FAULT, ("link", ""), &format!("line {number}"));
            }
        }
        log.advance_to(1_000);
        assert_eq!(
            log.lines(),
            [
                "0 line 0 ",
                "60 line 0 600 times in 1m",
                "120 line 0 600 times in 1m",
                "190 line 9 299 times in 1m 10s",
                "250 line 9 1500 times in 2m 29s, then no more",
            ]
        );
        assert_eq!(log.written[1].2.amount(), 6_000);
        assert_eq!(log.written[4].2.amount(), 15_000);
        assert_eq!(log.book.len(), 0);
        log.note(1_001, FAULT, ("link", ""), "again");
        assert_eq!(log.lines().last().unwrap(), "1001 again ");
    }

    #[test]
    fn what_happens_once_is_one_line() {
        let mut log = Log::new();
        log.note(0, FAULT, ("link", ""), "line");
        log.advance_to(1_000);
        assert_eq!(log.lines(), ["0 line "]);
    }

    #[test]
    fn a_burst_that_is_over_is_summed_up_when_the_log_ends() {
        let mut log = Log::new();
        for _ in 0..1_400 {
            log.note(0, FAULT, ("link", ""), "line");
        }
        let rest = log.book.end(log.at(3));
        log.write(3, rest);
        assert_eq!(
            log.lines(),
            ["0 line ", "3 line 1400 times in 1s, then no more"]
        );
        assert!(log.book.end(log.at(4)).is_empty());
    }

    #[test]
    fn attempts_with_growing_pauses_are_a_line_each() {
        let mut log = Log::new();
        let mut second = 0;
        for attempt in 0..100_u32 {
            log.note(second, ATTEMPT, ("mqtt", "refused"), "line");
            second += 2_u64.pow(attempt.min(6)).min(60) + 1;
        }
        assert_eq!(log.written.len(), 100);
        assert_eq!(log.times(), 100);
    }

    #[test]
    fn an_attempt_every_five_seconds_is_a_line_a_minute() {
        let mut log = Log::new();
        for second in (0..DAY).step_by(5) {
            log.note(
                second,
                ATTEMPT,
                ("source", "no port"),
                &format!("at {second}"),
            );
        }
        let lines = log.written.len();
        assert!((1_400..1_450).contains(&lines), "{lines}");
        // A sum is written with the newest words, and its pause has only just begun.
        assert!(
            log.written
                .iter()
                .all(|(second, line, _)| *line == format!("at {second}"))
        );
        log.book.settle(ATTEMPT, "source");
        log.advance_to(DAY + 60);
        let (_, _, end) = log.written.last().unwrap();
        assert_eq!((end.is_over, end.times), (true, DAY / 5));
    }

    #[test]
    fn another_reason_is_said_at_once() {
        let mut log = Log::new();
        for second in 0..30 {
            let reason = if second == 20 { "full" } else { "refused" };
            log.note(second, FAULT, ("link", reason), reason);
        }
        assert_eq!(log.lines(), ["0 refused ", "20 full "]);
    }

    #[test]
    fn what_comes_and_goes_is_summed_up() {
        let mut log = Log::new();
        for second in (0..DAY).step_by(12) {
            log.note(second, ATTEMPT, ("mqtt", "closed"), "lost");
            log.advance_to(second + 1);
            log.book.settle(ATTEMPT, "mqtt");
            log.note(second + 1, Topic::of_attempts("up"), ("mqtt", ""), "up");
        }
        let lines = log.written.len();
        assert!(lines < 2 * 24 * 60 + 50, "{lines}");
        let ups = log.written.iter().filter(|(_, line, _)| line == "up");
        let ups: u64 = ups.map(|(_, _, sum)| sum.times).sum();
        assert!(ups > DAY / 12 - 10, "{ups}");
    }

    #[test]
    fn made_up_subjects_neither_flood_the_log_nor_the_memory() {
        let mut log = Log::new();
        for number in 0..100_000_u64 {
            let name = number.to_string();
            log.note(number / 1_000, FAULT, (&name, &name), &name);
        }
        assert!(log.book.len() <= MAX_SUBJECTS + 1);
        assert!(log.written.len() < 60, "{:?}", log.lines());
        log.advance_to(1_000);
        let (_, _, end) = log.written.last().unwrap();
        assert!(end.is_over && end.times > 99_900, "{end:?}");
        assert_eq!(log.book.len(), 0);
    }

    #[test]
    fn no_two_sums_of_a_subject_are_within_a_minute() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut log = Log::new();
            let mut second = 0;
            for _ in 0..300 {
                let longest = if random.bool() { 3 } else { 100 };
                second += random.u64(0..longest);
                log.note(second, FAULT, ("link", ""), "line");
                if random.u8(..) < 20 {
                    log.book.settle(FAULT, "link");
                }
            }
            log.advance_to(second + 1_000);
            let mut sums = log
                .written
                .iter()
                .filter(|(_, _, sum)| sum.words().is_some());
            let mut last = sums.next().unwrap().0;
            for (second, _, sum) in sums {
                assert!(
                    *second >= last + 60,
                    "seed {seed}: {sum:?} at {second} after {last}"
                );
                last = *second;
            }
        }
    }

    #[test]
    fn lines_are_written_where_they_are_asked_for() {
        static TOPIC: Topic = Topic::new("lines_are_written_where_they_are_asked_for");
        let (written, lines) = std::sync::mpsc::channel();
        for _ in 0..3 {
            let written = written.clone();
            TOPIC.count("here", "", 7, move |sum| {
                written.send((sum.amount(), sum.words())).unwrap();
            });
        }
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), [(7, None)]);
        finish();
        assert_eq!(
            lines.recv().unwrap(),
            (21, Some("3 times in 1s, then no more".to_owned()))
        );
    }
}
