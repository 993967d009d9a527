//! Files that are deleted, moved or replaced under the running gateway.

use std::fs;

use super::*;
use crate::journal::{JournalState, names};
use crate::telemetry::KnownName;

/// What somebody does to the files in a folder.
type Deed = fn(&Path);

const FILES: [&str; 4] = [
    "journal.db",
    "journal.db-wal",
    "journal.db-shm",
    "journal.db.lock",
];

fn delete(folder: &Path, names: &[&str]) {
    for name in names {
        fs::remove_file(folder.join(name)).unwrap();
    }
}

/// What is done, and whether something that is not the journal's is left in its place.
const DEEDS: [(&str, Deed, bool); 11] = [
    ("all deleted", |folder| delete(folder, &FILES), false),
    (
        "the file deleted",
        |folder| delete(folder, &FILES[..1]),
        false,
    ),
    (
        "the log deleted",
        |folder| delete(folder, &FILES[1..2]),
        false,
    ),
    (
        "the index deleted",
        |folder| delete(folder, &FILES[2..3]),
        false,
    ),
    ("replaced by its copy", replace_by_copy, true),
    (
        "replaced by a text",
        |folder| {
            delete(folder, &FILES[..1]);
            fs::write(folder.join("journal.db"), "theirs").unwrap();
        },
        true,
    ),
    (
        "replaced by an empty file",
        |folder| {
            delete(folder, &FILES[..1]);
            fs::write(folder.join("journal.db"), "").unwrap();
        },
        false,
    ),
    (
        "moved",
        |folder| fs::rename(folder.join("journal.db"), folder.join("x.db")).unwrap(),
        false,
    ),
    (
        "the folder deleted",
        |folder| fs::remove_dir_all(folder).unwrap(),
        false,
    ),
    (
        "the folder moved",
        |folder| fs::rename(folder, folder.with_extension("moved")).unwrap(),
        false,
    ),
    (
        "the folder made anew",
        |folder| {
            fs::remove_dir_all(folder).unwrap();
            fs::create_dir(folder).unwrap();
        },
        false,
    ),
];

fn replace_by_copy(folder: &Path) {
    let file = folder.join("journal.db");
    fs::copy(&file, folder.join("x")).unwrap();
    fs::rename(folder.join("x"), file).unwrap();
}

/// Files that are kept though they are not the journal's.
fn found(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    let is_kept = |name: &str| !name.ends_with("-wal") && !name.ends_with("-shm");
    names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.contains(".found-") && is_kept(name))
        .count()
}

/// A journal with ten rows, of which MQTT has four, a refusal and a name.
fn begin(config: &config::Journal) -> (Bench, Cursor) {
    let mut bench = Bench::open(config);
    bench.append_ids(1..11);
    let mut mqtt = bench.cursor(&SinkId::mqtt());
    let rows = mqtt.read(6).unwrap();
    mqtt.acknowledge(rows[3].end());
    let name = KnownName {
        node: "n7".to_owned(),
        metric: None,
    };
    bench
        .writer
        .shared()
        .inbox
        .learn(&"source".into(), vec![name]);
    bench.step();
    bench.keep_house();
    (bench, mqtt)
}

/// All that was in the journal is in the one at the path, and nothing twice.
fn assert_whole(config: &config::Journal, last: u32, deed: &str) {
    let mut bench = Bench::open(config);
    assert_eq!(bench.status().notice, None, "{deed}");
    assert_eq!(bench.status().end.sequence, u64::from(last), "{deed}");
    let counts = (
        bench.depth(&SinkId::mqtt()),
        bench.depth(&SinkId::influxdb()),
    );
    assert_eq!(counts, (u64::from(last) - 4, u64::from(last)), "{deed}");
    assert_eq!(
        (
            bench.dropped(&SinkId::mqtt()),
            bench.dropped(&SinkId::influxdb())
        ),
        (0, 0),
        "{deed}"
    );
    assert_eq!(
        names::known(bench.writer.shared(), &"source".into()).len(),
        1,
        "{deed}"
    );
    let mut influxdb = bench.cursor(&SinkId::influxdb());
    let all: Vec<u32> = (1..=last).collect();
    assert_eq!(drain(&mut bench, &mut influxdb), all, "{deed}");
}

#[test]
fn what_becomes_of_the_files_is_noticed_and_everything_saved_at_the_path() {
    for (deed, act, leaves_theirs) in DEEDS {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("place");
        let config = file_config(&folder, 100_000);
        let (mut bench, mut mqtt) = begin(&config);
        act(&folder);
        bench.append_ids(11..16);
        bench.keep_house();
        let state = bench.status().state;
        assert!(
            matches!(state, JournalState::Fallback { .. }),
            "{deed}: {state:?}"
        );
        // Meanwhile it goes on in the open files.
        bench.append_ids(16..21);
        assert_eq!(ids(&mqtt.read(100).unwrap()), (7..21).collect::<Vec<_>>());
        bench.writer.retry_now();
        bench.keep_house();
        assert_eq!(bench.status().state, JournalState::File, "{deed}");
        let notice = bench.status().notice.unwrap();
        assert!(notice.contains("was saved into a new file"), "{notice}");
        bench.append_ids(21..26);
        assert_eq!(ids(&mqtt.read(100).unwrap()), (21..26).collect::<Vec<_>>());
        assert_eq!(found(&folder), usize::from(leaves_theirs), "{deed}");
        drop(mqtt);
        // As after a crash: all is where the next start looks.
        drop(bench);
        assert_whole(&config, 25, deed);
    }
}

#[test]
fn what_becomes_of_the_files_before_a_stop_is_noticed_at_it() {
    for (deed, act, _) in DEEDS {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("place");
        let config = file_config(&folder, 100_000);
        let (mut bench, mqtt) = begin(&config);
        drop(mqtt);
        act(&folder);
        bench.append_ids(11..16);
        bench.close().unwrap();
        assert_whole(&config, 15, deed);
    }
}

#[test]
fn what_cannot_be_saved_is_said_at_the_stop() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("place");
    let config = file_config(&folder, 100_000);
    let (mut bench, mqtt) = begin(&config);
    drop(mqtt);
    fs::remove_dir_all(&folder).unwrap();
    // No folder can be where a file is.
    fs::write(&folder, "").unwrap();
    bench.append_ids(11..16);
    bench.keep_house();
    bench.writer.retry_now();
    bench.keep_house();
    assert!(matches!(
        bench.status().state,
        JournalState::Fallback { .. }
    ));
    let message = bench.close().unwrap_err().to_string();
    assert!(
        message.starts_with("15 messages could not be written"),
        "{message}"
    );
}

#[test]
fn files_that_come_back_are_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 100_000);
    let (mut bench, mqtt) = begin(&config);
    drop(mqtt);
    let (file, elsewhere) = (folder.path().join("journal.db"), folder.path().join("x"));
    fs::rename(&file, &elsewhere).unwrap();
    bench.keep_house();
    bench.append_ids(11..16);
    fs::rename(&elsewhere, &file).unwrap();
    bench.keep_house();
    assert_eq!(bench.status().state, JournalState::File);
    drop(bench);
    assert_whole(&config, 15, "moved back");
}

#[test]
fn a_link_that_leads_elsewhere_is_followed() {
    let root = tempfile::tempdir().unwrap();
    let (one, two) = (root.path().join("one"), root.path().join("two"));
    fs::create_dir(&one).unwrap();
    fs::create_dir(&two).unwrap();
    let link = root.path().join("link");
    std::os::unix::fs::symlink(&one, &link).unwrap();
    let config = file_config(&link, 100_000);
    let (mut bench, mqtt) = begin(&config);
    drop(mqtt);
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&two, &link).unwrap();
    bench.keep_house();
    bench.writer.retry_now();
    bench.keep_house();
    assert!(two.join("journal.db").exists());
    drop(bench);
    assert_whole(&config, 10, "another link");
}

#[test]
fn a_lock_file_that_is_gone_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = file_config(folder.path(), 100_000);
    let (mut bench, mqtt) = begin(&config);
    drop(mqtt);
    delete(folder.path(), &FILES[3..]);
    bench.keep_house();
    assert_eq!(bench.status().state, JournalState::File);
    assert!(matches!(
        Bench::try_open(&config),
        Err(JournalError::InUse { .. })
    ));
}
