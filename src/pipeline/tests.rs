//! What holds between the stages.

use std::future::Future as _;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};

use super::*;
use crate::config::{self, Environment, Overrides};

/// Nothing but the pipeline is polled here, so that its source is asked to end and never does.
#[tokio::test]
async fn it_can_be_told_to_stop_further_while_its_source_ends() {
    let mut overrides = Overrides::default();
    for assignment in ["source.kind=simulator", "journal.path=:memory:"] {
        overrides.assign(assignment);
    }
    let environment: Environment = [("HOME", "/")].into_iter().collect();
    let config = config::load(&overrides, &environment).unwrap();
    let pipeline = Pipeline::start(&config, Activity::default()).await.unwrap();
    let handle = pipeline.handle();
    let mut context = Context::from_waker(Waker::noop());
    let mut running = pin!(pipeline.run());
    assert!(running.as_mut().poll(&mut context).is_pending());
    handle.stop(Stop::Drain);
    assert!(running.as_mut().poll(&mut context).is_pending());
    let (told, is_told) = mpsc::channel();
    std::thread::spawn(move || {
        handle.stop(Stop::Now);
        told.send(()).unwrap();
    });
    is_told
        .recv_timeout(Duration::from_secs(20))
        .expect("the pipeline locks out whoever stops it further");
    running.await;
}
