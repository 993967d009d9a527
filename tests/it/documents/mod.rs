//! What the documentation promises.

mod blocks;
mod markdown;
mod page;
mod programs;
mod shell;

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::{Fieldgate, Message, Mosquitto, PATIENCE, Subscriber};

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
    // What it says of nodes and of problems comes when it has looked at them.
    let is_promised = |it: &Message| promised.contains(&format!("{} {}", it.topic, it.payload));
    let mut messages = subscriber.wait_until("what is promised", PATIENCE, |messages| {
        messages.iter().filter(|it| is_promised(it)).count() >= promised.len()
    });
    messages.retain(|it| !it.is_of_gateway() || is_promised(it));
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
    let manifest: toml::Value = toml::from_str(&document("Cargo.toml")).unwrap();
    let targets = manifest["target"].as_table().unwrap().values();
    let manifests: Vec<_> = targets.chain([&manifest]).collect();
    let document = document("docs/architecture.md");
    let (_, dependencies) = document.split_once("\n## Dependencies\n").unwrap();
    let (for_use, for_tests) = dependencies.split_once("Only for tests").unwrap();
    let code = regex::Regex::new("`([^`]+)`").unwrap();
    for (table, section) in [("dependencies", for_use), ("dev-dependencies", for_tests)] {
        // Nothing else stands in code marks there.
        let explained: BTreeSet<&str> = code
            .captures_iter(section)
            .map(|found| found.get(1).unwrap().as_str())
            .collect();
        let tables = manifests.iter().filter_map(|it| it.get(table)?.as_table());
        let needed = tables.flat_map(toml::Table::keys);
        assert_eq!(explained, needed.map(String::as_str).collect());
    }
}

/// Slow: it runs what a reader would run, page by page, with servers for each page.
#[test]
fn everything_in_the_documentation_works() {
    let documents = markdown::documents();
    let faults: Vec<String> = std::thread::scope(|scope| {
        let checks: Vec<_> = documents
            .iter()
            .map(|document| (document, scope.spawn(|| blocks::faults(document))))
            .collect();
        let faults = checks.into_iter().flat_map(|(document, check)| {
            let path = document.path.display();
            // Its server did not start, or its program did not end; both have said why.
            check
                .join()
                .unwrap_or_else(|_| vec![format!("{path}: see the panic above")])
        });
        faults.collect()
    });
    assert!(faults.is_empty(), "\n{}", faults.join("\n\n"));
}

#[test]
fn every_link_leads_somewhere() {
    let documents = markdown::documents();
    let mut dead = Vec::new();
    for document in &documents {
        let folder = document.path.parent().unwrap();
        for (line, link) in &document.links {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                document.path.clone()
            } else {
                folder.join(file)
            };
            let found = target.canonicalize();
            let has_anchor = anchor.is_empty()
                || documents.iter().any(|other| {
                    other.path.canonicalize().ok() == found.as_ref().ok().cloned()
                        && other.anchors.iter().any(|known| known == anchor)
                });
            if found.is_err() || !has_anchor {
                dead.push(format!("{}:{line}: {link}", document.path.display()));
            }
        }
    }
    assert!(
        dead.is_empty(),
        "links that lead nowhere:\n{}",
        dead.join("\n")
    );
}

#[test]
fn the_readme_tells_of_keys_as_they_are() {
    let known = fieldgate::config::known_keys();
    let mut rows = 0;
    for line in document("README.md").lines() {
        let Some((key, rest)) = line
            .strip_prefix("| `")
            .and_then(|row| row.split_once("` | "))
        else {
            continue;
        };
        let Some(known) = known.iter().find(|known| known.path == key) else {
            panic!("there is no key {key}");
        };
        let default = known
            .default
            .as_ref()
            .map_or("none".to_owned(), |text| format!("`{text}`"));
        assert!(
            rest.starts_with(&format!("{default} | ")),
            "{line}: the default is {default}"
        );
        rows += 1;
    }
    assert!(rows > 10, "{rows}");
}

#[test]
fn the_changelog_tells_of_this_version() {
    let heading = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(document("CHANGELOG.md").contains(&heading), "{heading}");
}
