//! The figures of any task.

use super::{Classification, MultiLabel, Regression};
use serde::Serialize;
use serde_json::{Value, json};

/// How good a model is, by what it was trained for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Figures {
    /// One class an image.
    Classes(Box<Classification>),
    /// Several labels.
    Labels(MultiLabel),
    /// Numbers.
    Values(Regression),
}

impl From<Classification> for Figures {
    fn from(figures: Classification) -> Figures {
        Figures::Classes(Box::new(figures))
    }
}

impl Figures {
    /// Groups of the images, where whole ones were drawn for intervals.
    pub fn groups(&self) -> Option<usize> {
        match self {
            Figures::Classes(m) => m.groups,
            Figures::Labels(m) => m.groups,
            Figures::Values(m) => m.groups,
        }
    }

    /// Those that say most, with the number of images: what a model's metadata have of it.
    pub fn summary(&self) -> Value {
        match self {
            Figures::Classes(m) => json!({
                "images": m.n, "accuracy": m.accuracy, "macro_f1": m.macro_f1, "log_loss": m.log_loss
            }),
            Figures::Labels(m) => json!({
                "images": m.n, "micro_f1": m.micro_f1, "macro_f1": m.macro_f1, "log_loss": m.log_loss,
                "average_precision": m.average_precision
            }),
            Figures::Values(m) => json!({ "images": m.n, "r2": m.r2, "mae": m.mae, "rmse": m.rmse }),
        }
    }
}
