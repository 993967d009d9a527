use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::config::{self, Begin, Durability, JournalPath};
use crate::journal::{Enrolled, Journal, Position};
use crate::monitor::{Directive, LinkId, Monitor, SinkId};

/// What a session comes to.
#[derive(Clone)]
enum Course {
    Unavailable,
    Refused,
    /// Up for so long, then gone.
    Held(Duration),
    /// Acknowledges something, then gone.
    Acknowledged,
    /// Is well until it is told to leave.
    Stays,
    /// Looks up a name for ever, then is told to leave.
    LookUp,
    /// Comes upon a fault of its own.
    Panics,
}

struct Scripted {
    courses: Vec<Course>,
    started: Arc<Mutex<Vec<Instant>>>,
    servers: Vec<String>,
    used: Arc<Mutex<Vec<usize>>>,
}

impl Delivery for Scripted {
    fn servers(&self) -> Vec<String> {
        self.servers.clone()
    }

    fn prefer_first(&self) -> Option<Duration> {
        Some(Duration::from_mins(10))
    }

    fn reach_first(&self) -> impl Fn() -> BoxFuture<'static, bool> + Send + 'static {
        || std::future::ready(true).boxed()
    }

    async fn session(&mut self, server: usize, lane: &mut Lane) -> Result<(), Failure> {
        self.used.lock().unwrap().push(server);
        let number = {
            let mut started = self.started.lock().unwrap();
            started.push(Instant::now());
            started.len() - 1
        };
        match self.courses.get(number) {
            None | Some(Course::Unavailable) => {}
            Some(Course::Refused) => return Err(Failure::Refused("no".to_owned())),
            Some(Course::Held(duration)) => {
                lane.set_up();
                tokio::time::sleep(*duration).await;
            }
            Some(Course::Acknowledged) => {
                lane.set_up();
                lane.delivered(Timestamp::now(), 1);
                lane.acknowledge(Position::default());
            }
            Some(Course::Stays) => {
                lane.set_up();
                lane.leave().await;
                return Ok(());
            }
            Some(Course::LookUp) => {
                let _endless = tokio::task::spawn_blocking(|| {
                    loop {
                        std::thread::park();
                    }
                });
                lane.leave().await;
                return Ok(());
            }
            Some(Course::Panics) => panic!("on purpose"),
        }
        Err(Failure::Unavailable("away".to_owned()))
    }
}

fn state(monitor: &Monitor) -> LinkState {
    monitor.link(&LinkId::mqtt()).unwrap().state
}

struct Fixture {
    directive: watch::Sender<Directive>,
    monitor: Arc<Monitor>,
    started: Arc<Mutex<Vec<Instant>>>,
    delivery: Scripted,
    lane: Lane,
}

fn fixture(courses: &[Course]) -> Fixture {
    let journal = config::Journal {
        path: JournalPath::Memory,
        max_messages: 1_000,
        max_bytes: None,
        durability: Durability::Full,
        history: Duration::ZERO,
    };
    let enrolled = Enrolled {
        sink: SinkId::mqtt(),
        begin: Begin::Now,
    };
    let journal = Journal::open(&journal, &[enrolled]).unwrap();
    let directive = watch::Sender::new(Directive::default());
    let monitor = Arc::new(Monitor::default());
    let cursor = journal.cursor(&SinkId::mqtt()).unwrap();
    let (told, started) = (directive.subscribe(), Arc::default());
    Fixture {
        lane: Lane::new(SinkId::mqtt(), cursor, monitor.clone(), told, 1_000),
        delivery: Scripted {
            courses: courses.to_vec(),
            started: Arc::clone(&started),
            servers: vec!["first".to_owned()],
            used: Arc::default(),
        },
        directive,
        monitor,
        started,
    }
}

/// The pauses after each of so many sessions, in whole seconds; no time passes for that.
async fn pauses(courses: &[Course], count: usize) -> Vec<u64> {
    let Fixture {
        directive,
        started,
        delivery,
        lane,
        ..
    } = fixture(courses);
    let running = tokio::spawn(run(delivery, lane));
    while started.lock().unwrap().len() <= count {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    directive.send_modify(|directive| directive.abandon = true);
    running.await.unwrap();
    let started = started.lock().unwrap();
    let pairs = started.windows(2).zip(courses).take(count);
    pairs
        .map(|(pair, course)| {
            let held = match course {
                Course::Held(duration) => *duration,
                _ => Duration::ZERO,
            };
            (pair[1] - pair[0]).saturating_sub(held).as_secs()
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_pauses_double_up_to_a_minute() {
    let pauses = pauses(&vec![Course::Unavailable; 9], 9).await;
    let (growing, longest) = pauses.split_at(6);
    for (pause, expected) in growing.iter().zip([1, 2, 4, 8, 16, 32]) {
        assert!(
            (expected..=expected + expected / 10 + 1).contains(pause),
            "{growing:?}"
        );
    }
    assert!(
        longest.iter().all(|pause| (60..=66).contains(pause)),
        "{longest:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn only_a_connection_that_proved_itself_starts_the_pauses_anew() {
    let short = Course::Held(Duration::from_secs(9));
    let long = Course::Held(Duration::from_secs(10));
    let courses = [
        Course::Unavailable,
        short.clone(),
        short,
        long,
        Course::Unavailable,
        Course::Unavailable,
        Course::Acknowledged,
        Course::Unavailable,
    ];
    assert_eq!(pauses(&courses, 8).await, [1, 2, 4, 1, 2, 4, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_next_server_is_tried_at_once_and_the_first_one_is_gone_back_to() {
    use Course::{Acknowledged, Refused, Stays, Unavailable};
    let courses = [
        Unavailable,
        Refused,
        Unavailable,
        Refused,
        Stays,
        Acknowledged,
        Stays,
        Stays,
    ];
    let Fixture {
        directive,
        monitor,
        started,
        mut delivery,
        lane,
    } = fixture(&courses);
    delivery.servers = ["first", "second"].map(str::to_owned).into();
    let used = Arc::clone(&delivery.used);
    let running = tokio::spawn(run(delivery, lane));
    let link = || monitor.link(&LinkId::mqtt()).unwrap();
    let peer = || link().peer;
    let begun = Instant::now();
    while used.lock().unwrap().len() < 7 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if used.lock().unwrap().len() == 5 {
            assert_eq!((peer(), link().state), ("first".into(), LinkState::Up));
            directive.send_modify(|directive| directive.reconnects += 1);
        }
    }
    assert_eq!(*used.lock().unwrap(), [0, 1, 0, 1, 0, 0, 1]);
    assert_eq!(peer(), "second");
    let pauses: Vec<u64> = started
        .lock()
        .unwrap()
        .windows(2)
        .map(|it| (it[1] - it[0]).as_secs())
        .collect();
    assert_eq!(pauses[..4], [0, 1, 0, 2]);
    // Ten minutes later.
    let since = begun.elapsed();
    while used.lock().unwrap().len() < 8 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(begun.elapsed().saturating_sub(since).as_secs() / 60, 10);
    assert_eq!((used.lock().unwrap()[7], peer()), (0, "first".to_owned()));
    directive.send_modify(|directive| directive.abandon = true);
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_tried_again_every_minute() {
    assert_eq!(pauses(&vec![Course::Refused; 3], 3).await, [60, 60, 60]);
}

#[tokio::test(start_paused = true)]
async fn a_hold_and_a_reconnect_end_a_pause() {
    let Fixture {
        directive,
        monitor,
        started,
        delivery,
        lane,
    } = fixture(&vec![Course::Refused; 3]);
    let running = tokio::spawn(run(delivery, lane));
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    directive.send_modify(|directive| directive.reconnects += 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(started.lock().unwrap().len(), 2);
    directive.send_modify(|directive| directive.held = true);
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(state(&monitor), LinkState::Held);
    assert_eq!(started.lock().unwrap().len(), 2);
    directive.send_modify(|directive| directive.held = false);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(started.lock().unwrap().len(), 3);
    directive.send_modify(|directive| directive.drain_to = Some(0));
    running.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 303);
    assert_eq!(state(&monitor), LinkState::Ended);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_panics_is_tried_again_and_says_so() {
    let courses = [Course::Panics, Course::Panics, Course::Acknowledged];
    assert_eq!(pauses(&courses, 3).await, [1, 2, 1]);
    let Fixture {
        directive,
        monitor,
        delivery,
        lane,
        ..
    } = fixture(&[Course::Panics]);
    let running = tokio::spawn(run(delivery, lane));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let LinkState::BackingOff { reason, .. } = state(&monitor) else {
        panic!("{:?}", state(&monitor));
    };
    assert_eq!(
        reason,
        "a fault in fieldgate itself, please report it: on purpose"
    );
    directive.send_modify(|directive| directive.abandon = true);
    running.await.unwrap();
}

#[test]
fn a_name_that_is_looked_up_for_ever_does_not_hold_up_the_end() {
    let Fixture {
        directive,
        started,
        delivery,
        lane,
        ..
    } = fixture(&[Course::LookUp]);
    let thread = spawn(delivery, lane).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let wait = |done: &dyn Fn() -> bool| {
        while !done() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    wait(&|| started.lock().unwrap().len() == 1);
    directive.send_modify(|directive| directive.abandon = true);
    wait(&|| thread.is_finished());
}
