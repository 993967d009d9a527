//! How the program is built, read out of its sources: what uses what, and how long functions are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// A module by its names from the root of the crate on.
type Module = Vec<String>;

/// A module uses nothing of those in later lines, nor of its neighbours in the same line but in the
/// first and the last one.
const LAYERS: [&[&str]; 9] = [
    &[
        "telemetry",
        "backoff",
        "causes",
        "disk_writes",
        "escape",
        "http",
        "ownership",
        "repeated",
        "system_clock",
    ],
    &["config"],
    &["monitor"],
    &["journal"],
    &["source", "sink"],
    &["pipeline"],
    &["api"],
    &["tui"],
    &["cli", "commands", "demo", "logging"],
];

/// The lines whose modules may use each other.
const FREE: [usize; 2] = [0, LAYERS.len() - 1];

/// What the screen does not know, though it lies below it.
const BEHIND_THE_OBSERVER: [&str; 4] = ["journal", "pipeline", "sink", "source"];

/// The most lines of a function, comments and empty ones apart.
const LONGEST: usize = 60;

#[test]
fn no_two_files_use_each_other_but_parent_and_child() {
    let house = House::read();
    let mut rings = BTreeSet::new();
    for (module, used) in &house.uses {
        for other in used.iter().filter(|other| *other > module) {
            let is_family = other.starts_with(module) && other.len() == module.len() + 1;
            if house.uses[other].contains(module) && !is_family {
                rings.insert((module.join("::"), other.join("::")));
            }
        }
    }
    assert!(rings.is_empty(), "use each other: {rings:?}");
}

#[test]
fn every_module_uses_only_the_layers_below_it() {
    let layer = |module: &Module| {
        let name = module.first()?;
        let mut all = (0..)
            .zip(LAYERS)
            .flat_map(|(at, names)| names.iter().map(move |it| (at, *it)));
        all.find(|(_, other)| other == name)
    };
    let mut faults = BTreeSet::new();
    for (module, used) in &House::read().uses {
        let Some((at, name)) = layer(module) else {
            assert!(module.is_empty(), "{module:?} belongs to no layer");
            continue;
        };
        for (below, other) in used.iter().filter_map(layer) {
            let is_neighbour = below == at && other != name && !FREE.contains(&at);
            let is_hidden = name == "tui" && BEHIND_THE_OBSERVER.contains(&other);
            if below > at || is_neighbour || is_hidden {
                faults.insert(format!("{} uses {other}", module.join("::")));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let begin = Regex::new(r"^( *)(?:pub(?:\([a-z:() ]*\))? )?(?:const |async )*fn (\w+)").unwrap();
    let mut long = Vec::new();
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(found) = begin.captures(line) else {
                continue;
            };
            let end = format!("{}}}", &found[1]);
            let body = lines[at..].iter().take_while(|line| **line != end);
            let is_code = |line: &&&str| {
                let line = line.trim();
                !line.is_empty() && !line.starts_with("//")
            };
            // A declaration without a body ends before any brace does.
            if line.ends_with(';') || line.ends_with('}') {
                continue;
            }
            let length = body.filter(is_code).count() + 1;
            let name = format!("{}: {}", path.display(), &found[2]);
            if length > LONGEST {
                long.push(format!("{name} has {length} lines"));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

/// Which files use which.
struct House {
    uses: BTreeMap<Module, BTreeSet<Module>>,
}

impl House {
    fn read() -> Self {
        let texts: BTreeMap<Module, String> = files()
            .iter()
            .map(|path| {
                (
                    module(path),
                    without_tests(&fs::read_to_string(path).unwrap()),
                )
            })
            .collect();
        let patterns = Patterns::new();
        let imports = texts
            .iter()
            .map(|(module, text)| (module.clone(), Imports::of(text, &patterns)))
            .collect();
        let names = Names { imports };
        let uses = names.imports.keys().map(|module| {
            let all = names.imports[module].all.iter();
            let used = all.filter_map(|path| Some(names.home(&names.absolute(module, path)?)));
            let others = used.filter(|other| other != module).collect();
            (module.clone(), others)
        });
        Self {
            uses: uses.collect(),
        }
    }
}

/// What paths look like, made once: that takes longer than reading a file.
struct Patterns {
    import: Regex,
    inline: Regex,
}

impl Patterns {
    fn new() -> Self {
        Self {
            import: Regex::new(r"(?s)(\bpub(?:\([^)]*\))?\s+)?\buse\s+([^;]+);").unwrap(),
            inline: Regex::new(r"\b(?:crate|super)(?:::\w+)+").unwrap(),
        }
    }
}

/// The paths that a file names.
struct Imports {
    all: Vec<Module>,
    /// Those that it gives on under their last name.
    given_on: BTreeMap<String, Module>,
}

impl Imports {
    fn of(text: &str, Patterns { import, inline }: &Patterns) -> Self {
        let mut all = Vec::new();
        let mut given_on = BTreeMap::new();
        for found in import.captures_iter(text) {
            let mut paths = Vec::new();
            expand(&[], &found[2], &mut paths);
            for path in paths {
                if found.get(1).is_some() {
                    given_on.insert(path[path.len() - 1].clone(), path.clone());
                }
                all.push(path);
            }
        }
        let rest = import.replace_all(text, "");
        let inline = inline.find_iter(&rest).map(|path| names(path.as_str()));
        all.extend(inline);
        Self { all, given_on }
    }
}

/// The files by their modules, as far as names lead to them.
struct Names {
    imports: BTreeMap<Module, Imports>,
}

impl Names {
    /// A path as it is from the root of the crate on; `None`: it leads out of the crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Module> {
        let mut base = module.clone();
        let mut rest = path;
        match rest.first()?.as_str() {
            "crate" => return Some(rest[1..].to_vec()),
            "self" => rest = &rest[1..],
            "super" => {
                while let Some(("super", after)) =
                    rest.split_first().map(|(first, after)| (&**first, after))
                {
                    base.pop();
                    rest = after;
                }
            }
            child => {
                let child = [&module[..], &[child.to_owned()]].concat();
                self.imports.get(&child)?;
            }
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    /// The file in which a name really stands.
    fn home(&self, path: &Module) -> Module {
        let mut module = path.clone();
        while !self.imports.contains_key(&module) {
            module.pop();
        }
        let given_on = path.get(module.len()).and_then(|name| {
            let origin = self.imports[&module].given_on.get(name)?;
            self.absolute(&module, origin)
        });
        match given_on {
            Some(origin) if origin != *path => self.home(&origin),
            _ => module,
        }
    }
}

fn names(path: &str) -> Module {
    let path = path.split(" as ").next().unwrap();
    path.split("::")
        .map(|name| name.trim().to_owned())
        .collect()
}

/// The paths of a tree as `a::{b, c::d}`.
fn expand(before: &[String], tree: &str, paths: &mut Vec<Module>) {
    let mut depth = 0;
    let branches = tree.split(|character| {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    });
    for branch in branches.map(str::trim).filter(|branch| !branch.is_empty()) {
        let tree = branch.strip_suffix('}').and_then(|it| it.split_once('{'));
        match tree {
            Some((path, inner)) => {
                let path = names(path.trim().trim_end_matches("::"));
                let path = path.into_iter().filter(|name| !name.is_empty());
                expand(
                    &before.iter().cloned().chain(path).collect::<Vec<_>>(),
                    inner,
                    paths,
                );
            }
            None => paths.push([before, &names(branch)].concat()),
        }
    }
}

/// The source without comments and without the tests at its end.
fn without_tests(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().map(|line| match line.split_once("//") {
        Some((code, _)) => code,
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The module of a file, `src/lib.rs` being the root.
fn module(path: &Path) -> Module {
    let path = path.strip_prefix("src").unwrap().with_extension("");
    let mut names: Module = path
        .iter()
        .map(|name| name.to_str().unwrap().to_owned())
        .collect();
    if matches!(names.last().map(String::as_str), Some("mod" | "lib")) {
        names.pop();
    }
    names
}

/// The files of the library that are no tests.
fn files() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && name != "tests" {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs")
                && !matches!(&*name, "main.rs" | "tests.rs" | "testing.rs")
            {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 100);
    files
}
