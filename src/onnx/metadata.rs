//! `metadata_props`: what a file says about itself.

use super::schema::{ModelProto, StringStringEntryProto};
use serde_json::{Map, Value};

/// The key of what `adapt` tells of the models that it writes.
const CONTRACT: &str = "adapt.contract";

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

/// What `adapt` tells of a model that it wrote, a JSON object; `None` of others.
///
/// # Errors
/// Why it is none, in a few words.
pub fn contract(proto: &ModelProto) -> Result<Option<Value>, String> {
    let object = get(proto, CONTRACT).map(serde_json::from_str::<Map<String, Value>>).transpose();
    object.map(|object| object.map(Value::Object)).map_err(|e| format!("metadata {CONTRACT} is damaged: {e}"))
}

/// Tells that of a model, or replaces it.
pub fn set_contract(proto: &mut ModelProto, contract: &Value) {
    set(proto, CONTRACT, contract.to_string());
}
