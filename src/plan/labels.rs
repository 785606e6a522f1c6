//! Class names of a model that is already trained, ours or anybody's.

use super::preprocessing::sidecar;
use crate::error::{Error, Result};
use crate::onnx::{Model, metadata};
use serde_json::Value;
use std::path::Path;

/// The class names in the order of the output, and where they are from; `None` where nothing tells them.
///
/// Looked for in the metadata (`adapt.contract`, Ultralytics' `names`), in `config.json` and in `labels.txt` beside the
/// file.
///
/// # Errors
/// [`Error::Model`] or [`Error::Data`] when what is found there is damaged.
pub fn find(model: &Model) -> Result<Option<(Vec<String>, String)>> {
    if let Some(text) = metadata::get(&model.proto, "adapt.contract") {
        let json: Value = serde_json::from_str(text)
            .map_err(|e| Error::model(&model.path, format!("metadata adapt.contract is damaged: {e}")))?;
        let names =
            json["classes"].as_array().map(|list| list.iter().map(|v| v.as_str().map(str::to_string)).collect());
        if let Some(Some(names)) = names {
            return Ok(Some((names, "adapt.contract".into())));
        }
        return Err(Error::model(&model.path, "metadata adapt.contract has no list of classes"));
    }
    if let Some(text) = metadata::get(&model.proto, "names") {
        let names = parse_python_dict(text).ok_or_else(|| {
            Error::model(&model.path, "the metadata key `names` does not read as a dict of class names")
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
    if path.is_file() {
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        return Ok(Some((text.lines().map(str::to_string).collect(), "labels.txt".into())));
    }
    Ok(None)
}

/// `{0: 'a', 1: "b"}` as Python's `repr` writes it, or as JSON. Keys must be 0, 1, 2, … in any order.
fn parse_python_dict(text: &str) -> Option<Vec<String>> {
    let mut chars = text.trim().strip_prefix('{')?.strip_suffix('}')?.chars().peekable();
    let mut found = std::collections::BTreeMap::new();
    loop {
        while chars.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
        if chars.peek().is_none() {
            break;
        }
        while chars.next_if(|c| matches!(c, '"' | '\'')).is_some() {}
        let digits: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_digit)).collect();
        while chars.next_if(|c| c.is_whitespace() || matches!(c, '"' | '\'' | ':')).is_some_and(|c| c != ':') {}
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let quote = chars.next().filter(|c| matches!(c, '"' | '\''))?;
        let mut value = String::new();
        loop {
            match chars.next()? {
                c if c == quote => break,
                '\\' => value.push(escaped(&mut chars)?),
                c => value.push(c),
            }
        }
        found.insert(digits.parse::<usize>().ok()?, value);
    }
    found.keys().copied().eq(0..found.len()).then(|| found.into_values().collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dict_is_read_back() {
        let names: Vec<String> =
            ["a b", "it's", "\"q\"", "back\\slash", "naïve, très", "tab\t"].map(String::from).into();
        assert_eq!(parse_python_dict(&python_dict(&names)), Some(names));
        assert_eq!(parse_python_dict(r#"{"0": "cat", "1": "dog"}"#), Some(vec!["cat".into(), "dog".into()]));
        assert_eq!(parse_python_dict("{1: 'b', 0: 'a'}"), Some(vec!["a".into(), "b".into()]));
        for bad in ["", "{", "{0: 'a", "{1: 'a'}", "{0: a}", "[0]"] {
            assert_eq!(parse_python_dict(bad), None, "{bad}");
        }
    }
}
