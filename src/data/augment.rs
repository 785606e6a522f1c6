//! stub
use super::{Layout, Pixels, Preprocessing, preprocess};
use serde::{Deserialize, Serialize};
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level { None, Light, Strong }
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> { pub seed: u64, pub epoch: u64, pub path: &'a str }
pub fn preprocess_changed(p: &Pixels, pre: &Preprocessing, layout: Layout, _: Level, _: Key, out: &mut [f32]) -> Result<(), String> { preprocess(p, pre, layout, out) }
