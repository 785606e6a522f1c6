//! `metadata_props`: what a file says about itself.

use super::schema::{ModelProto, StringStringEntryProto};

/// A value by its key.
pub fn get<'a>(proto: &'a ModelProto, key: &str) -> Option<&'a str> {
    proto.metadata_props.iter().find(|e| e.key() == key).map(|e| e.value())
}

/// Sets a key, or replaces its value.
pub fn set(proto: &mut ModelProto, key: &str, value: impl Into<String>) {
    let value = Some(value.into());
    match proto.metadata_props.iter_mut().find(|e| e.key() == key) {
        Some(entry) => entry.value = value,
        None => proto.metadata_props.push(StringStringEntryProto { key: Some(key.into()), value }),
    }
}

/// Removes a key.
pub fn remove(proto: &mut ModelProto, key: &str) {
    proto.metadata_props.retain(|e| e.key() != key);
}
