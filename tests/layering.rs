//! Which room of `src/` may use which: the arrows of `docs/design.md`, held.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may use. Every room may use `error`, `progress`, `guard` and `random`; nobody may use `cli`.
const ALLOWED: [(&str, &[&str]); 15] = [
    ("kernels", &[]),
    ("cuda", &["kernels"]),
    ("tensor", &["cuda", "kernels"]),
    ("graph", &["onnx", "kernels", "tensor", "cuda"]),
    ("onnx", &[]),
    ("data", &[]),
    ("metrics", &[]),
    ("engine", &["onnx", "graph", "data", "tensor"]),
    ("train", &["onnx", "data", "graph", "engine", "metrics", "tensor"]),
    ("plan", &["onnx", "data", "graph", "metrics", "engine", "tensor"]),
    ("explain", &["onnx", "data", "graph", "engine", "metrics", "plan", "tensor"]),
    ("rank", &["onnx", "data", "engine", "metrics", "train", "plan"]),
    ("audit", &["data", "engine", "metrics", "train"]),
    ("verify", &["onnx", "data", "engine", "metrics", "train", "plan"]),
    ("report", &["onnx", "data", "engine", "metrics", "train", "plan", "rank", "audit", "explain", "verify"]),
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The rooms that a source text names after `crate::`, in a `use` or on the spot, alone or in braces.
fn uses(text: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or("").split(',').map(str::trim).collect(),
            None => vec![rest],
        };
        for name in names {
            rooms.insert(name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    rooms
}

#[test]
fn rooms_use_only_what_they_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rooms: BTreeSet<String> = fs::read_dir(&src)
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| e.path().is_dir() && e.file_name() != "cli")
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    let known: BTreeSet<String> = ALLOWED.iter().map(|(room, _)| room.to_string()).collect();
    assert_eq!(rooms, known, "every room has its line in ALLOWED");
    for (room, allowed) in ALLOWED {
        let mut found = Vec::new();
        files(&src.join(room), &mut found);
        assert!(!found.is_empty());
        for file in found {
            for used in uses(&fs::read_to_string(&file).unwrap()) {
                // Names at the crate's root are re-exports for users; inside, each is named by its room.
                let fine = ["error", "progress", "guard", "random", room].contains(&used.as_str())
                    || allowed.contains(&used.as_str());
                assert!(fine, "{} uses crate::{used}, which {room} may not", file.display());
            }
        }
    }
}

#[test]
fn the_check_sees_what_it_must() {
    let text = "use crate::{error::Error, plan};\nfn f() { crate::cli::run() }\nuse crate::onnx::Model;";
    assert_eq!(uses(text), ["cli", "error", "onnx", "plan"].map(String::from).into());
}
