//! The one error type of the crate: each text says what happened, where, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong. `Display` is one line, fit to be shown to a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The call cannot be carried out as it was given: a wrong value, a file that is not there.
    #[error("{}", printable(.0))]
    Usage(String),
    /// The operating system refused to read or write.
    #[error("{}: {source}", printable(&path.to_string_lossy()))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A model file is damaged, or holds something that this crate cannot work with.
    #[error("{}: {}", printable(&path.to_string_lossy()), printable(what))]
    Model {
        /// The model's file.
        path: PathBuf,
        /// What is wrong, at which node, and what to do.
        what: String,
    },
    /// The images or labels cannot be used.
    #[error("{}: {}", printable(&path.to_string_lossy()), printable(what))]
    Data {
        /// The folder or image.
        path: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
    /// An inference engine failed or cannot be had.
    #[error("{}", printable(.0))]
    Engine(String),
    /// Training failed.
    #[error("training: {}", printable(.0))]
    Train(String),
    /// The written model does not compute what was trained.
    #[error("{}", printable(.0))]
    Parity(String),
    /// The caller's progress callback asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// The process exit code: 2 for a call that cannot be carried out as given, 130 when interrupted, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Interrupted => 130,
            _ => 1,
        }
    }

    /// What is wrong, for a sentence about that file: without its name, and without the advice behind the first `; `.
    pub fn reason(&self) -> String {
        let text = match self {
            Error::Model { what, .. } | Error::Data { what, .. } => printable(what),
            other => other.to_string(),
        };
        text.split("; ").next().unwrap_or_default().to_owned()
    }

    /// An [`Error::Io`] about `path`, for `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { path, source }
    }

    /// An [`Error::Model`] about `path`.
    pub fn model(path: impl AsRef<Path>, what: impl Into<String>) -> Error {
        Error::Model { path: path.as_ref().to_path_buf(), what: what.into() }
    }

    /// An [`Error::Data`] about `path`.
    pub fn data(path: impl AsRef<Path>, what: impl Into<String>) -> Error {
        Error::Data { path: path.as_ref().to_path_buf(), what: what.into() }
    }
}

/// Names in messages come from strangers' files: line breaks, terminal controls and what turns the direction of text are shown,
/// not obeyed.
pub fn printable(text: &str) -> String {
    let obeyed = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().flat_map(|c| if obeyed(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[31m\nb\u{202e}c\u{2066}é 猫"), "a\\u{1b}[31m\\nb\\u{202e}c\\u{2066}é 猫");
    }
}
