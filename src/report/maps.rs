//! Where the model sees what it says of the images that the report lists: made at a run's end, and kept for its report.

use super::html::listed;
use super::recorded::Recorded;
use crate::data::Source;
use crate::engine::Backend;
use crate::error::{Error, Result};
use crate::explain::{Explainer, Method};
use crate::plan::Trained;
use crate::progress::{Event, Progress, emit};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The file's name in a run's folder.
pub const MAPS: &str = "maps.json";
/// Places of a map, along each side: thumbnails show no more.
const PLACES: usize = 32;
/// No map is begun after so long.
const LONGEST: Duration = Duration::from_secs(20);

/// Maps of some images.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Maps {
    /// How they are made.
    pub method: Option<Method>,
    /// Why there are none, or not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// One an image.
    pub images: Vec<Map>,
}

/// Where the model sees a class or label in an image, or what a target comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Map {
    /// The image, as `predictions.csv` has it.
    pub path: String,
    /// The class, label or target.
    pub class: String,
    /// Height and width.
    pub size: [usize; 2],
    /// A byte a place, row by row, 255 for the largest relevance; in base64.
    pub relevance: String,
}

impl Maps {
    /// Those of the images that the report of a run lists: exact maps, or by gradients. Where the model has neither, the reason.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn make(
        recorded: &Recorded,
        trained: &Result<Trained>,
        backend: &Backend,
        source: &Source,
        progress: Progress,
    ) -> Result<Maps> {
        let none = |reason: String| Ok(Maps { reason: Some(reason), ..Maps::default() });
        let listed = listed(recorded);
        if listed.is_empty() {
            return Ok(Maps::default());
        }
        let why = |error: &Error| format!("exact maps and gradients are not to be had ({})", error.reason());
        // Occlusion would take a hundred times as long.
        let open =
            |method| Explainer::open(trained.as_ref().map_err(why)?, backend, Some(method), None).map_err(|e| why(&e));
        let mut explainer = match open(Method::Cam).or_else(|_| open(Method::GradCam)) {
            Ok(explainer) => explainer,
            Err(reason) => return none(reason),
        };
        let mut maps = Maps { method: Some(explainer.method()), ..Maps::default() };
        emit(progress, Event::Stage { name: "maps for the report", total: listed.len() as u64 })?;
        let start = Instant::now();
        for (row, class) in listed {
            if start.elapsed() > LONGEST {
                let reason = Some("maps of the other images would have taken long".into());
                return Ok(Maps { reason, ..maps });
            }
            let path = &recorded.held_out[row].path;
            // What cannot be read any more has no picture, either.
            if let Ok(values) = explainer.values(source, path) {
                match explainer.explain(values.view(), Some(class)) {
                    Ok(explained) => {
                        let (size, bytes) = explained.bytes(PLACES);
                        let (path, class) = (path.clone(), recorded.classes[class].clone());
                        maps.images.push(Map { path, class, size, relevance: BASE64_STANDARD.encode(bytes) });
                    }
                    Err(error) => return Ok(Maps { reason: Some(error.reason()), ..maps }),
                }
            }
            emit(progress, Event::Advance(1))?;
        }
        Ok(maps)
    }
}

impl Map {
    /// The relevance, from 0 to 255; `None` where the file is damaged.
    pub fn values(&self) -> Option<Array2<f32>> {
        let [height, width] = self.size;
        let fits = (1..=PLACES).contains(&height) && (1..=PLACES).contains(&width);
        let bytes = BASE64_STANDARD.decode(&self.relevance).ok().filter(|_| fits)?;
        Array2::from_shape_vec((height, width), bytes.into_iter().map(f32::from).collect()).ok()
    }
}
