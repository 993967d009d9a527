//! The journal's files go while the gateway runs and the broker is away: what waited still waits after
//! the next start.

use std::fs;
use std::path::Path;

use crate::api::listening_port;
use crate::outage_mqtt::finish;
use crate::support::numbered::ANY_VALUE;
use crate::support::{
    Conduct, ContractBroker, Fieldgate, PATIENCE, Signal, Tally, packets, poll, request,
};

fn config(broker: &ContractBroker) -> String {
    format!(
        "shutdown_timeout = \"1s\"\n[source]\nkind = \"stdin\"\n\
         [mqtt]\nbroker_url = \"{}\"\n\
         [journal]\npath = \"place/journal.db\"\n\
         [api]\nlisten = \"127.0.0.1:0\"\n\
         [telemetry]\nclock_tolerance = \"1h\"\n{ANY_VALUE}",
        broker.url(),
    )
}

fn readiness(port: u16) -> (u16, String) {
    let response = request(port, "GET", "/readyz", &[], b"").unwrap();
    (response.status, response.body)
}

fn remove_all(place: &Path) {
    for suffix in ["", "-wal", "-shm", ".lock"] {
        fs::remove_file(place.join(format!("journal.db{suffix}"))).unwrap();
    }
}

fn replace_by_a_copy(place: &Path) {
    fs::copy(place.join("journal.db"), place.join("x")).unwrap();
    fs::rename(place.join("x"), place.join("journal.db")).unwrap();
}

fn move_the_folder(place: &Path) {
    fs::rename(place, place.with_extension("elsewhere")).unwrap();
}

/// How the gateway ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Stopped,
    Killed,
}

fn what_waited_still_waits(act: fn(&Path), end: End) {
    let broker = ContractBroker::start();
    broker.always(Conduct::HangUp);
    let mut gateway = Fieldgate::new(&config(&broker)).start();
    let port = listening_port(&mut gateway);
    let place = gateway.folder().join("place");
    gateway.write_stdin(packets(1..=500).as_bytes());
    let path = place.join("journal.db");
    let written = || (crate::crash::try_journaled(&path).ok()?.len() == 500).then_some(());
    poll(PATIENCE, written).expect("the packets are not in the journal");

    act(&place);
    let unready = poll(PATIENCE, || {
        Some(readiness(port)).filter(|ready| ready.0 == 503)
    });
    let (_, body) = unready.expect("it goes on as if nothing had happened");
    assert!(body.contains("\"fallback\""), "{body}");
    let line = gateway.wait_for_log("The journal's files are gone", PATIENCE);
    assert!(line.contains("ERROR"), "{line}");
    gateway.write_stdin(packets(501..=550).as_bytes());
    gateway.wait_for_log("The journal is saved into a new file", PATIENCE);
    let ready = poll(PATIENCE, || {
        Some(readiness(port)).filter(|ready| ready.0 == 200)
    });
    ready.expect("it is saved and not ready");
    gateway.write_stdin(packets(551..=600).as_bytes());
    let written = || (crate::crash::try_journaled(&path).ok()?.len() == 600).then_some(());
    poll(PATIENCE, written).expect("the packets are not in the new file");
    if end == End::Killed {
        gateway.kill();
    } else {
        gateway.signal(Signal::SIGINT);
        assert!(gateway.wait_exit(PATIENCE).success());
    }

    broker.always(Conduct::Serve);
    gateway.start_again();
    finish(&mut gateway);
    let tally = Tally::of_acknowledged(&broker.record().sessions());
    tally.assert_complete("MQTT", 1..=600);
}

#[test]
fn a_journal_that_is_deleted_loses_nothing() {
    what_waited_still_waits(remove_all, End::Killed);
    what_waited_still_waits(remove_all, End::Stopped);
}

#[test]
fn a_journal_that_is_replaced_loses_nothing() {
    what_waited_still_waits(replace_by_a_copy, End::Killed);
}

#[test]
fn a_journal_whose_folder_is_moved_loses_nothing() {
    what_waited_still_waits(move_the_folder, End::Killed);
}

/// Where no new file can be, the end says what is lost and names no file that has it.
#[test]
fn a_journal_that_cannot_be_saved_is_not_named_at_the_end() {
    let broker = ContractBroker::start();
    broker.always(Conduct::HangUp);
    let mut gateway = Fieldgate::new(&config(&broker)).start();
    let port = listening_port(&mut gateway);
    let place = gateway.folder().join("place");
    gateway.write_stdin(packets(1..=10).as_bytes());
    let path = place.join("journal.db");
    let written = || (crate::crash::try_journaled(&path).ok()?.len() == 10).then_some(());
    poll(PATIENCE, written).expect("the packets are not in the journal");
    fs::remove_dir_all(&place).unwrap();
    fs::write(&place, "no folder").unwrap();
    let unready = poll(PATIENCE, || (readiness(port).0 == 503).then_some(()));
    unready.expect("it goes on as if nothing had happened");
    gateway.signal(Signal::SIGINT);
    assert!(!gateway.wait_exit(PATIENCE).success());
    let last = gateway.stdout().pop().unwrap();
    assert!(last.starts_with("Stopped."), "{last}");
    assert!(!last.contains("journal.db"), "{last}");
    let lost = gateway.logged("are lost");
    assert!(lost.contains("could not be written to journal"), "{lost}");
}
