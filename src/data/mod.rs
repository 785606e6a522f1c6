//! From folders and lists of image files, or files of many images, to the tensors that a model takes: listing, decoding,
//! preprocessing.

mod archive;
pub mod augment;
mod beside;
mod checks;
mod cifar;
mod config;
pub mod dataset;
mod decimals;
pub mod decode;
pub mod facts;
mod groups;
mod idx;
mod jitter;
mod jpeg;
mod labelled;
mod parquet;
pub mod preprocess;
mod presets;
mod records;
mod resample;
mod rows;
mod scan;
mod source;
pub mod spec;
mod summary;
mod table;
mod task;
mod truths;
mod values;

pub use beside::Beside;
pub use dataset::{Dataset, Item, ReadOptions, Skipped, Split};
pub use decode::{Frame, Pixels, Reduced, decode, decode_bytes, decode_with_alpha};
pub use facts::Facts;
pub use groups::{Groups, numbered};
pub use jitter::Jitter;
pub use labelled::{images_below, labelled, reopen};
pub use preprocess::{Color, Filter, Layout, Preprocessing, Resize, preprocess};
pub use source::{Content, Source};
pub use spec::Spec;
pub use summary::{ClassCounts, Summary, TargetRange, each_image};
pub use table::Columns;
pub use task::{Task, strata};
pub(crate) use truths::MOST_VALUES;
