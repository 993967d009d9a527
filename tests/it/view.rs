//! A journal that was copied from a gateway, looked at without writing anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::{Fieldgate, PATIENCE, Terminal};

const SIZE: (u16, u16) = (110, 30);

/// All files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    };
    fs::read_dir(folder).unwrap().map(read).collect()
}

/// A gateway that ends tidily leaves no write-ahead log, and one that is killed does.
#[test]
fn a_copied_journal_is_shown_and_left_as_it_is() {
    for is_killed in [false, true] {
        let mut gateway = Fieldgate::new(
            "[source]\nkind = \"simulator\"\nrate = 50\n[journal]\npath = \"journal.db\"\n",
        )
        .start();
        let journal = gateway.folder().join("journal.db");
        let log = gateway.folder().join("journal.db-wal");
        let is_written = || {
            fs::metadata(&log)
                .is_ok_and(|log| log.len() > 100_000)
                .then_some(())
        };
        crate::support::poll(PATIENCE, is_written).expect("nothing is journaled");
        if is_killed {
            gateway.kill();
        } else {
            gateway.signal(crate::support::Signal::SIGTERM);
            assert!(gateway.wait_exit(PATIENCE).success());
        }
        // A name that means something in an address.
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("from the field?#1.db");
        fs::copy(&journal, &copy).unwrap();
        if is_killed {
            fs::copy(&log, folder.path().join("from the field?#1.db-wal")).unwrap();
        }
        let before = files(folder.path());
        let mut terminal = Terminal::start(SIZE, &["view", copy.to_str().unwrap()]);
        let screen = terminal.wait_for("temperature");
        assert!(screen.contains("■ ended"), "{screen}");
        terminal.type_keys("2");
        terminal.wait_for("● heard");
        terminal.type_keys("3");
        terminal.wait_for("°C");
        terminal.type_keys("4w");
        terminal.wait_for("there is no gateway");
        terminal.type_keys("q");
        assert_eq!(terminal.wait_exit(), 0);
        terminal.assert_restored();
        assert!(files(folder.path()) == before, "it wrote something");
    }
}

#[test]
fn what_is_no_journal_is_refused_before_the_screen_opens() {
    let mut terminal = Terminal::start(SIZE, &["view", "/etc/hostname"]);
    assert_eq!(terminal.wait_exit(), 1);
    assert!(terminal.is_restored());
}

/// Two boards that use one name, of which one is damaged by its line.
#[test]
fn a_copied_journal_tells_its_sources_apart_and_shows_what_was_set_aside() {
    let source = |name: &str, damage: f64| {
        format!(
            "[[source]]\nname = \"{name}\"\nkind = \"simulator\"\nrate = 50\ndamage = {damage}\n"
        )
    };
    let journal = "[journal]\npath = \"journal.db\"\n";
    let config = [journal, &source("north", 0.0), &source("south", 0.5)].concat();
    let mut gateway = Fieldgate::new(&config).start();
    let journal = gateway.folder().join("journal.db");
    let is_written = || {
        let written = fs::metadata(gateway.folder().join("journal.db-wal"));
        written.is_ok_and(|it| it.len() > 100_000).then_some(())
    };
    crate::support::poll(PATIENCE, is_written).expect("nothing is journaled");
    gateway.signal(crate::support::Signal::SIGTERM);
    assert!(gateway.wait_exit(PATIENCE).success());
    let mut terminal = Terminal::start((160, 50), &["view", journal.to_str().unwrap()]);
    terminal.wait_for("Source south");
    terminal.type_keys("2");
    let nodes = terminal.wait_for("source");
    for name in ["north", "south"] {
        assert!(nodes.contains(name), "{nodes}");
    }
    terminal.type_keys("4");
    terminal.wait_for("✖ rejected");
    terminal.type_keys("q");
    assert_eq!(terminal.wait_exit(), 0);
}
