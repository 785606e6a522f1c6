//! `report.html`: a run in one file that needs no network, no scripts and nothing beside it.
//!
//! Made of the run's own files, at its end and again by `adapt report`. All texts from outside go through the templates'
//! escaping; the page's policy lets no request out and runs no script but its own.

mod card;
mod code;
mod engine;
mod lists;
mod map;
mod pictures;
mod plots;
mod problems;
mod several;
mod tables;
mod thumbs;

use super::recorded::Recorded;
use crate::data::{Preprocessing, Source, Task};
use crate::error::{Result, printable};
use crate::explain::Method;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minijinja::context;
use pictures::Judged;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use thumbs::Thumb;

/// The file's name in a run's folder.
pub const REPORT: &str = "report.html";

/// How a picture begins in [`engine`]'s template.
const PICTURE: &[u8] = b"<image id=\"t";

/// How a page's title ends in [`engine`]'s template, and within how many bytes.
const TITLE: &[u8] = b": adapt report</title>";
const FIRST: u64 = 8192;

/// The longest name or path that is shown whole, in characters: pages repeat them.
const LONGEST: usize = 200;

/// Where the images are now.
pub enum Images {
    /// Where the user says; their paths may lead anywhere.
    Named(Source),
    /// Where the run says, which a stranger may have written: pictures are made of what lies below it alone.
    Recorded(Source),
    /// Why they are not to be had.
    Gone(String),
}

/// The page.
pub struct Page {
    /// All of the file.
    pub text: String,
    /// Why images have no picture in it that should have one.
    pub gone: Option<String>,
}

/// Whether a file is a page that was made earlier, or has nothing in it.
pub fn is_page(file: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(file).and_then(|file| file.take(FIRST).read_to_end(&mut start));
    read.is_ok() && (start.is_empty() || start.windows(TITLE.len()).any(|part| part == TITLE))
}

/// How many images have a picture in a page.
pub fn pictures(page: &[u8]) -> usize {
    page.windows(PICTURE.len()).filter(|part| *part == PICTURE).count()
}

/// Makes the page.
///
/// # Errors
/// Those of reading the run's files, and [`crate::error::Error::Engine`] where a template cannot be filled in.
pub fn render(recorded: &Recorded, images: &Images) -> Result<Page> {
    let run = &recorded.run;
    let classes = recorded.task.is_multiclass();
    let judged = recorded.judged().filter(|_| classes).map(|split| Judged::new(recorded, split));
    let metrics = judged.as_ref().map(|judged| &run["metrics"][judged.split.to_string()]);
    let several = recorded.judged().filter(|_| !classes).map(|split| several::Several::new(recorded, split));
    let wanted = judged.as_ref().map(Judged::wanted).or(several.as_ref().map(|several| several.wanted()));
    let wanted = wanted.unwrap_or_default();
    let (thumbs, overlays, missing) = match images {
        Images::Named(source) => pictures_of(recorded, source, &wanted),
        Images::Recorded(source) => {
            let (below, beside): (Vec<_>, Vec<_>) =
                wanted.iter().copied().partition(|(_, path)| thumbs::is_below(path));
            let (thumbs, overlays, missing) = pictures_of(recorded, source, &below);
            (thumbs, overlays, missing + beside.iter().map(|(row, _)| row).collect::<HashSet<_>>().len())
        }
        Images::Gone(_) => Default::default(),
    };
    let pictured = thumbs::shown(&thumbs, &overlays);
    let gone = gone(images, &wanted, thumbs.len(), missing);
    let map = match (&judged, &several) {
        (Some(judged), _) => judged.map(&pictured),
        (None, Some(several)) => several.map(&pictured),
        (None, None) => None,
    };
    let programs = code::programs(recorded)?;
    let values = context! {
        title => title(run), style => engine::STYLE, script => engine::SCRIPT, hash => hash(engine::SCRIPT),
        summary => card::summary(recorded), diverged => run["training"]["diverged"].as_str().map(shown), gone => gone.as_ref().filter(|_| thumbs.is_empty()),
        several => several.as_ref().map(|several| several.shown(&pictured, other(recorded))),
        task => recorded.task, split => recorded.judged().map(|split| split.to_string()),
        tiles => metrics.map(tables::tiles), figures => metrics.map(|m| tables::figures(m, other(recorded))),
        other => other(recorded).map(|_| "val"), groups => tables::joined(recorded),
        baseline => metrics.map(|m| shown(m["baseline"]["class"].as_str().unwrap_or_default())),
        nearest => metrics.is_some_and(|m| m["nearest_mean"].is_object()),
        classes => metrics.map(tables::classes), confusion => metrics.and_then(tables::confusion),
        reliability => metrics.and_then(plots::reliability),
        folds => tables::folds(run), calibrated => tables::calibrated(run), uncalibrated => tables::uncalibrated(recorded),
        usual => tables::usual(run),
        ece => metrics.map(|m| m["ece"].as_f64()), abstention => tables::abstention(recorded),
        pairs => judged.as_ref().map(|judged| judged.pairs(&pictured)),
        rightly => judged.as_ref().map(|judged| judged.rightly(&pictured)),
        worst => judged.as_ref().map(|judged| judged.worst(&pictured)),
        unsure => judged.as_ref().map(|judged| judged.unsure(&pictured)),
        map => map,
        training => plots::training(&run["training"]["epochs"]),
        sections => lists::sections(run), fine_tuning => tables::fine_tuning(run), learning => plots::learning(&run["head"]["learning_curve"]),
        no_learning => run["head"]["no_learning_curve"].as_str().map(shown),
        skipped => tables::skipped(run), notes => tables::notes(run), counts => tables::counts(run),
        card => card::entries(recorded),
        python => programs.as_ref().map(|programs| &programs[0]),
        javascript => programs.as_ref().map(|programs| &programs[1]),
        version => run["version"].as_str(), thumbs, overlays, maps => maps(recorded),
        problems => problems::problems(run),
    };
    Ok(Page { text: engine::render("report.html", values)?, gone: gone.map(engine::plain) })
}

/// Why none of the images that are wanted has a picture, or not each of them: so many cannot be read. Names are isolated.
fn gone(images: &Images, wanted: &[(usize, &str)], pictures: usize, missing: usize) -> Option<String> {
    let name = |text: &str| engine::isolated(printable(text));
    match images {
        // An error begins with its place.
        Images::Gone(why) => Some(match why.split_once(": ") {
            Some((place, why)) => format!("{}: {}", name(place), printable(why)),
            None => printable(why),
        }),
        _ if missing == 0 => None,
        Images::Named(source) | Images::Recorded(source) => {
            let place = name(&source.place().to_string_lossy());
            let elsewhere = wanted.iter().find(|(_, path)| !thumbs::is_below(path));
            if let Some((_, path)) = elsewhere.filter(|_| matches!(images, Images::Recorded(_))) {
                let path = name(path);
                return Some(format!("'{path}' lies elsewhere than the data; --data {place} says that this is right"));
            }
            let which = if pictures == 0 { "none".into() } else { missing.to_string() };
            let can = if pictures == 0 { "can" } else { "cannot" };
            Some(format!(
                "{which} of the images that it shows {can} be read in {place}; --data says where they are now"
            ))
        }
    }
}

/// The images that a report lists as worst and as least sure, by their rows in [`Recorded::held_out`], each with the class or
/// label of which it is to be shown where the model sees it: the predicted one, or the label or target that is farthest off.
pub fn listed(recorded: &Recorded) -> Vec<(usize, usize)> {
    let rows = match (recorded.judged(), recorded.task) {
        (None, _) => Vec::new(),
        (Some(split), Task::Multiclass) => Judged::new(recorded, split).listed(),
        (Some(split), _) => several::Several::new(recorded, split).listed(),
    };
    let mut seen = HashSet::new();
    rows.into_iter().filter(|(row, _)| seen.insert(*row)).collect()
}

/// Pictures of images, and of what the model sees in them; and how many images cannot be read.
fn pictures_of(recorded: &Recorded, source: &Source, wanted: &[(usize, &str)]) -> (Vec<Thumb>, Vec<Thumb>, usize) {
    let (thumbs, missing) = thumbs::make(source, wanted);
    let preprocessing = prepared(&recorded.run["plan"]);
    let overlays = preprocessing.map(|p| thumbs::overlays(source, recorded, &thumbs, &p));
    (thumbs, overlays.unwrap_or_default(), missing)
}

/// How the maps were made, or why there are none; nothing of runs that did not look for any.
fn maps(recorded: &Recorded) -> Option<[Option<String>; 2]> {
    let maps = recorded.maps.as_ref()?;
    let how = maps.method.map(|method| match method {
        Method::Cam => "exact class activation maps (the score is made of their places)",
        Method::GradCam => "maps by gradients (Grad-CAM)",
        Method::Occlusion => "occlusion",
    });
    Some([how.map(String::from), maps.reason.as_deref().map(shown)])
}

/// How a run's images become values.
fn prepared(plan: &Value) -> std::result::Result<Preprocessing, String> {
    let size = ["height", "width"].map(|side| plan["input"][side].as_u64().unwrap_or_default() as u32);
    Preprocessing::from_json(&plan["preprocessing"], Some((size[0], size[1])))
}

/// The validation images' figures, where the test images' are the main ones.
fn other(recorded: &Recorded) -> Option<&Value> {
    let metrics = &recorded.run["metrics"];
    metrics.get("test").and_then(|_| metrics.get("val"))
}

/// The data's own name.
fn title(run: &Value) -> String {
    let path = run["data"]["path"].as_str().unwrap_or_default();
    let name = path.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or(path);
    shown(name)
}

/// A name or a path from outside as a page has it: of a long one the beginning.
fn shown(text: &str) -> String {
    engine::isolated(match text.char_indices().nth(LONGEST) {
        Some((end, _)) => printable(&text[..end]) + "…",
        None => printable(text),
    })
}

/// As a page's policy names a script that may run.
fn hash(script: &str) -> String {
    BASE64_STANDARD.encode(Sha256::digest(script))
}
