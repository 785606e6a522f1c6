//! Class names of a model that is already trained, ours or anybody's.

use super::preprocessing::{MAX_TEXT, sidecar};
use crate::error::{Error, Result};
use crate::onnx::{Model, metadata};
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

/// The names of the classes, labels or targets in the order of the output, and where they are from; `None` where nothing tells them.
///
/// Looked for in the metadata (`adapt.contract`, Ultralytics' `names`), in `config.json` and in `labels.txt` beside the
/// file.
///
/// # Errors
/// [`Error::Model`] or [`Error::Data`] when what is found there is damaged.
pub fn find(model: &Model) -> Result<Option<(Vec<String>, String)>> {
    if let Some(json) = metadata::contract(&model.proto).map_err(|what| Error::model(&model.path, what))? {
        if json["task"] == "features" {
            return Ok(None);
        }
        let list = json["classes"].as_array().or(json["targets"].as_array());
        let names = list.map(|list| list.iter().map(|v| v.as_str().map(str::to_string)).collect());
        if let Some(Some(names)) = names {
            return Ok(Some((names, "adapt.contract".into())));
        }
        return Err(Error::model(&model.path, "metadata adapt.contract has no list of classes"));
    }
    if let Some(text) = metadata::get(&model.proto, "names") {
        let names = parse_names(text).ok_or_else(|| {
            Error::model(&model.path, "the metadata key `names` does not read as a dict or list of class names")
        })?;
        return Ok(Some((names, "metadata names".into())));
    }
    if let Some((_, json)) = sidecar(model, "config.json")?
        && let Some(map) = json["id2label"].as_object()
    {
        let names: Option<Vec<String>> =
            (0..map.len()).map(|i| map.get(&i.to_string())?.as_str().map(str::to_string)).collect();
        let names = names.ok_or_else(|| Error::model(&model.path, "id2label in config.json skips a number"))?;
        return Ok(Some((names, "config.json".into())));
    }
    let path = model.path.parent().unwrap_or(Path::new("")).join("labels.txt");
    if std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_TEXT) {
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        return Ok(Some((text.lines().map(str::to_string).collect(), "labels.txt".into())));
    }
    Ok(None)
}

/// `{0: 'a', 1: "b"}` or `['a', "b"]` as Python's `repr` writes them, or as JSON. A dict's keys must be 0, 1, 2, … in
/// any order.
fn parse_names(text: &str) -> Option<Vec<String>> {
    let in_order = |found: BTreeMap<usize, String>| {
        found.keys().copied().eq(0..found.len()).then(|| found.into_values().collect())
    };
    if let Ok(list) = serde_json::from_str(text) {
        return Some(list);
    }
    if let Ok(found) = serde_json::from_str(text) {
        return in_order(found);
    }
    let text = text.trim();
    let dict = text.starts_with('{');
    let inner =
        if dict { text.strip_prefix('{')?.strip_suffix('}')? } else { text.strip_prefix('[')?.strip_suffix(']')? };
    let mut chars = inner.chars().peekable();
    let mut found = BTreeMap::new();
    loop {
        while chars.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
        if chars.peek().is_none() {
            return in_order(found);
        }
        let key = if dict { key(&mut chars)? } else { found.len() };
        if found.insert(key, quoted(&mut chars)?).is_some() {
            return None;
        }
    }
}

/// `0:` or `'0':`
fn key(chars: &mut Peekable<Chars>) -> Option<usize> {
    let digits: String = match chars.peek() {
        Some('"' | '\'') => quoted(chars)?,
        _ => std::iter::from_fn(|| chars.next_if(char::is_ascii_digit)).collect(),
    };
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
    chars.next_if_eq(&':')?;
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
    digits.parse().ok()
}

/// A string in either kind of quotes.
fn quoted(chars: &mut Peekable<Chars>) -> Option<String> {
    let quote = chars.next().filter(|c| matches!(c, '"' | '\''))?;
    let mut value = String::new();
    loop {
        match chars.next()? {
            c if c == quote => return Some(value),
            '\\' => value.push(escaped(chars)?),
            c => value.push(c),
        }
    }
}

fn escaped(chars: &mut impl Iterator<Item = char>) -> Option<char> {
    let digits = match chars.next()? {
        'n' => return Some('\n'),
        't' => return Some('\t'),
        'r' => return Some('\r'),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        other => return Some(other),
    };
    let code: String = chars.take(digits).collect();
    char::from_u32(u32::from_str_radix(&code, 16).ok()?)
}

/// Class names as a Python dict, the form in which Ultralytics' readers take them (`ast.literal_eval`).
pub fn python_dict(classes: &[String]) -> String {
    let quoted = |name: &String| {
        let mut text = String::from("'");
        for c in name.chars() {
            match c {
                '\'' | '\\' => text.extend(['\\', c]),
                c if (c as u32) < 0x20 || c as u32 == 0x7f => text.push_str(&format!("\\x{:02x}", c as u32)),
                c => text.push(c),
            }
        }
        text + "'"
    };
    let entries: Vec<String> = classes.iter().enumerate().map(|(i, name)| format!("{i}: {}", quoted(name))).collect();
    format!("{{{}}}", entries.join(", "))
}
