//! What the documentation says is tested is tested.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

/// Adds all sources below a folder.
fn read(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn tests_that_the_guarantees_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut sources = String::new();
    for folder in ["tests", "workers", "operator"] {
        read(&root.join(folder), &mut sources);
    }
    let text = std::fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let tests = text.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit_once(" | ").map(|(_, tests)| tests));
    let names: Vec<&str> = tests.flat_map(|tests| tests.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        assert!(sources.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}
