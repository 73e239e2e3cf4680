//! The building has floors: code may use its own module and anything strictly below it. Modules on one floor are
//! strangers.
//!
//! The compiler does not hold this, so this test does. To add a module, give it a floor here.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const FLOORS: &[&[&str]] = &[
    &["domain"],
    &["availability"],
    &["crypto", "config", "telemetry", "lifecycle"],
    &["store", "google", "notify"],
    &["sync", "booking", "outbox", "auth", "index"],
    &["http", "mcp", "portal"],
    &["app"],
    &["cli"],
];
/// Longest file we accept, tests included. Split along a seam before it gets there.
const LINES_MAX: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(below: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(below).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| !path.ends_with("target") && !path.ends_with("node_modules"))
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// Every top-level module of this crate that `source` names.
fn used_modules(source: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in source.match_indices("crate::") {
        let rest = &source[at + "crate::".len()..];
        let (group, rest) = rest.strip_prefix('{').map_or((false, rest), |rest| (true, rest));
        let (mut depth, mut word, mut head) = (0, String::new(), true);
        for c in rest.chars() {
            match c {
                '}' | ';' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    used.push(std::mem::take(&mut word));
                    head = true;
                }
                c if c.is_alphanumeric() || c == '_' => {
                    if head && depth == 0 {
                        word.push(c);
                    }
                }
                c if c.is_whitespace() && word.is_empty() => {}
                _ if !group => break,
                _ => head = false,
            }
        }
        used.push(word);
    }
    used.retain(|word| !word.is_empty());
    used
}

#[test]
fn nothing_reaches_up_or_sideways() {
    let floors = FLOORS.iter().enumerate();
    let floors: BTreeMap<&str, usize> =
        floors.flat_map(|(floor, names)| names.iter().map(move |name| (*name, floor))).collect();
    let src = root().join("src");
    let mut faults = Vec::new();
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).unwrap();
        let module = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = module.strip_suffix(".rs").unwrap_or(module);
        if module == "lib" || module == "main" {
            continue;
        }
        let Some(floor) = floors.get(module) else {
            faults.push(format!("{} has no floor", path.display()));
            continue;
        };
        for used in used_modules(&fs::read_to_string(&path).unwrap()) {
            if used != module && floors.get(used.as_str()).is_some_and(|used| used >= floor) {
                faults.push(format!("{} uses crate::{used}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = ["src", "sandbox", "tests", "benches"]
        .iter()
        .map(|directory| root().join(directory))
        .filter(|directory| directory.exists())
        .flat_map(|directory| sources(&directory))
        .filter(|path| fs::read_to_string(path).unwrap().lines().count() > LINES_MAX)
        .map(|path| path.display().to_string())
        .collect();
    assert!(long.is_empty(), "longer than {LINES_MAX} lines: {long:#?}");
}

#[test]
fn the_scanner_sees_groups_and_paths() {
    let source =
        "use crate::{\n    clock::SharedClock,\n    store::{self, Tx},\n    config,\n};\nlet x = crate::http::f();";
    assert_eq!(used_modules(source), ["clock", "store", "config", "http"]);
}
