//! Under what licence a model may be used, as far as its file or what lies beside it says.

use super::preprocessing::BUILTIN;
use crate::onnx::Model;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Files beside a model that hold a licence, as projects name them.
const FILES: [&str; 8] =
    ["LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "LICENCE.md", "COPYING", "COPYING.txt"];
/// Bytes of such a file that are looked at, and characters of what is told.
const BEGINNING: u64 = 4096;
const LONGEST: usize = 200;

/// What is said of the licence and the author, and where: in the metadata (keys with `license`, `licence` or `author` in their
/// names), in the model's description, or in a file beside it. `None` where nothing is.
pub fn licence(model: &Model) -> Option<String> {
    if model.path == Path::new(BUILTIN) {
        return Some("Apache-2.0, copyright 2020 ML Illustrated".into());
    }
    let named = |words: &[&str]| {
        let entries = model.proto.metadata_props.iter().filter(|entry| !entry.value().trim().is_empty());
        let mut fits = entries.filter(|entry| words.iter().any(|word| entry.key().to_lowercase().contains(word)));
        fits.next().map(|entry| format!("{} (metadata {})", beginning(entry.value()), beginning(entry.key())))
    };
    let found = named(&["license", "licence"]).or_else(|| described(model)).or_else(|| beside(&model.path));
    match (found, named(&["author"])) {
        (Some(licence), Some(author)) => Some(format!("{licence}; author {author}")),
        (None, Some(author)) => Some(format!("not stated in the file; author {author}")),
        (found, None) => found,
    }
}

/// The line of the description that speaks of a licence.
fn described(model: &Model) -> Option<String> {
    let texts = [model.proto.doc_string(), model.graph().doc_string()];
    let speaks = |line: &&str| ["license", "licence"].iter().any(|word| line.to_lowercase().contains(word));
    let line = texts.into_iter().flat_map(str::lines).find(speaks)?;
    Some(format!("{} (the model's description)", beginning(line)))
}

/// The first line of a licence's file beside the model.
fn beside(path: &Path) -> Option<String> {
    let folder = path.parent()?;
    FILES.iter().find_map(|name| {
        let file = folder.join(name);
        let file = file.metadata().is_ok_and(|meta| meta.is_file()).then(|| File::open(file).ok())??;
        let mut lines = BufReader::new(file.take(BEGINNING)).lines().map_while(|line| line.ok());
        let line = lines.find(|line| line.chars().any(char::is_alphanumeric))?;
        Some(format!("{} (the file {name} beside it)", beginning(&line)))
    })
}

fn beginning(text: &str) -> String {
    text.trim().chars().take(LONGEST).collect()
}
