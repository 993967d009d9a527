//! What the documentation promises.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::{Fieldgate, Mosquitto, PATIENCE, Subscriber};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).unwrap()
}

/// What stands between a text and the next occurrence of another.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).expect(start);
    rest.split_once(end).expect(end).0
}

#[test]
fn the_readme_shows_what_really_happens() {
    let readme = document("README.md");
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port(), "#");
    let mut gateway =
        Fieldgate::with_arguments(&["--source=-", "--broker-url", &broker.url()]).start();
    gateway.write_stdin(between(&readme, "```json\n", "```").as_bytes());
    let promised: BTreeSet<String> = between(&readme, "retained:\n\n```text\n", "```")
        .lines()
        .map(str::to_owned)
        .collect();
    let messages = subscriber.wait_for_count(promised.len(), PATIENCE);
    let arrived = messages
        .iter()
        .map(|it| format!("{} {}", it.topic, it.payload));
    assert_eq!(arrived.collect::<BTreeSet<_>>(), promised);
    gateway.close_stdin();
    gateway.wait_for_metrics(PATIENCE);

    let path = gateway.folder().join("fieldgate/journal.db");
    let journal = rusqlite::Connection::open(path).unwrap();
    let queries = readme.split("journal.db \"").skip(1);
    let rows = queries.map(|rest| {
        let mut query = journal.prepare(rest.split_once('"').unwrap().0).unwrap();
        query.query_map((), |_| Ok(())).unwrap().count()
    });
    // The readings; and what came in, with what the broker has of it.
    assert_eq!(rows.collect::<Vec<_>>(), [promised.len() - 1, 2]);
}

#[test]
fn every_dependency_is_explained() {
    let manifest: toml::Table = document("Cargo.toml").parse().unwrap();
    let document = document("docs/dependencies.md");
    let (for_use, for_tests) = document.split_once("Only for tests").unwrap();
    for (table, section) in [("dependencies", for_use), ("dev-dependencies", for_tests)] {
        let explained = section
            .lines()
            .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0));
        let needed = manifest[table].as_table().unwrap().keys();
        assert_eq!(
            explained.collect::<Vec<_>>(),
            needed.map(String::as_str).collect::<Vec<_>>()
        );
    }
}
