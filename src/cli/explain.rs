//! Where a classifier sees what it says of images, or what a number comes from.

use super::predict::warn_of_a_guess;
use super::progress::Reporter;
use super::{RunOptions, print, tables, tell_skipped, vacant};
use adapt::data::{Skipped, Task, images_below};
use adapt::error::printable;
use adapt::explain::{Explained, Explainer, Method, overlay};
use adapt::onnx::cut::nearest;
use adapt::plan::Trained;
use adapt::progress::{Event, emit};
use adapt::report::{json, precise};
use adapt::{Error, Result};
use image::imageops::FilterType;
use image::{ImageFormat, RgbImage};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Smaller images are written larger, so that the shorter side has so many pixels.
const SHORTEST: u32 = 224;
/// As long as no side becomes longer than this.
const LONGEST: u32 = 4096;

#[derive(clap::Args)]
pub struct ExplainOptions {
    /// A model that adapt wrote, or any classifier
    pub model: PathBuf,
    /// Images, folders of images, zip files, lists (.csv, .tsv) with a column of paths, Parquet
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// The folder for PNG files, one an image: what the model sees of it, and over it in yellow where it sees the class
    #[arg(short, long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace existing files
    #[arg(long)]
    pub force: bool,
    /// The class that is looked for, or the target, by name or number from 0 [default: the predicted class, the first target]
    #[arg(long, value_name = "NAME|INDEX")]
    pub class: Option<String>,
    /// cam: exact, for heads that are a global average and a linear layer; gradcam: gradients at a map; occlusion: patches
    /// over the image, the slowest [default: the first of them that the model has]
    #[arg(long, value_enum)]
    pub method: Option<Method>,
    /// The tensor that gradients are taken at, a map or tokens [default: the last one before the head]
    #[arg(long, value_name = "TENSOR")]
    pub at: Option<String>,
    /// Compare each map with occlusion
    #[arg(long)]
    pub check: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub run: RunOptions,
}

/// A row of the result.
#[derive(Serialize)]
struct Row {
    path: String,
    #[serde(flatten)]
    sought: Sought,
    /// Spearman's correlation of the map with occlusion's.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<f64>,
    overlay: PathBuf,
}

/// What was looked for.
#[derive(Serialize)]
#[serde(untagged)]
enum Sought {
    Class { class: String, probability: f32, predicted: String },
    Target { target: String, value: f32 },
}

#[derive(Serialize)]
struct Found<'a> {
    method: Method,
    tensors: Vec<&'a str>,
    images: &'a [Row],
    skipped: &'a [Skipped],
}

pub fn run(options: &ExplainOptions) -> Result<()> {
    options.run.engine.limit_threads();
    if options.at.is_some() && options.method.is_some_and(|method| method != Method::GradCam) {
        return Err(Error::Usage("--at names where gradients are taken: give --method gradcam, or none".into()));
    }
    let reporter = Reporter::new(options.run.verbosity.quiet, options.run.verbosity.verbose);
    let progress = |event: Event| reporter.event(event);
    let trained = Trained::open(&options.model, options.run.input.preprocess.as_ref(), options.run.input.size)?;
    if trained.baked {
        reporter.say("note: maps are made behind the preprocessing in the model's graph; adapt's own takes its place");
    }
    let trained = trained.unbaked()?;
    let (source, paths, mut skipped) = images_below(&options.paths, &progress)?;
    let files = files(&options.out, &paths);
    if options.out.exists() && !options.out.is_dir() {
        let what = "a file, where a folder is to be; choose another --out";
        return Err(Error::Usage(format!("{}: {what}", options.out.display())));
    }
    if options.out.is_dir() {
        files.iter().try_for_each(|file| vacant(file, options.force))?;
    }
    let backend = options.run.engine.resolve(&progress)?;
    let mut explainer = Explainer::open(&trained, &backend, options.method, options.at.as_deref())?;
    let names = trained.names(explainer.classes())?;
    let numbers = trained.task == Task::Regression;
    let class = options.class.as_deref().map(|class| number(class, &names)).transpose()?.or(numbers.then_some(0));
    let check = options.check && explainer.method() != Method::Occlusion;
    if options.check && !check {
        reporter
            .say("note: --check compares maps with occlusion, and these are occlusion's: there is nothing to compare");
    }
    warn_of_a_guess(&reporter, &trained.preprocessing);
    if !options.out.is_dir() {
        fs::create_dir(&options.out).map_err(Error::io(&options.out))?;
    }
    emit(&progress, Event::Stage { name: "explaining", total: paths.len() as u64 })?;
    let mut rows = Vec::new();
    for (path, file) in paths.iter().zip(files) {
        match explainer.image(&source, path) {
            Ok((shown, values)) => {
                let explained = explainer.explain(values.view(), class)?;
                let agreement = check.then(|| explainer.check(values.view(), &explained)).transpose()?;
                save(&shown, &explained, &file)?;
                let [class, predicted] = [explained.class, explained.predicted].map(|class| names[class].clone());
                let sought = match numbers {
                    true => Sought::Target { target: class, value: explained.probability },
                    false => Sought::Class { class, probability: explained.probability, predicted },
                };
                rows.push(Row { path: path.clone(), sought, agreement, overlay: file });
            }
            Err(reason) => skipped.push(source.skipped(path, reason)),
        }
        emit(&progress, Event::Advance(1))?;
    }
    reporter.finish();
    tell_skipped(&skipped);
    if let Some(first) = skipped.first().filter(|_| rows.is_empty()) {
        return Err(Error::data(&first.path, format!("{}; none of the images could be read", first.reason)));
    }
    let (method, tensors) = (explainer.method(), explainer.tensors());
    match options.json {
        true => print(&json(&Found { method, tensors, images: &rows, skipped: &skipped })?),
        false => print(&text(method, &tensors, rows)),
    }
}

/// Writes the map over the image.
fn save(shown: &RgbImage, explained: &Explained, file: &Path) -> Result<()> {
    let (shorter, longer) = (shown.width().min(shown.height()).max(1), shown.width().max(shown.height()).max(1));
    let factor = SHORTEST.div_ceil(shorter).min((LONGEST / longer).max(1));
    let larger = image::imageops::resize(shown, shown.width() * factor, shown.height() * factor, FilterType::Nearest);
    let saved = overlay(&larger, &explained.map).save_with_format(file, ImageFormat::Png);
    saved.map_err(|e| Error::data(file, format!("{e}; choose another --out")))
}

/// The class that is called so, or has that number.
fn number(class: &str, names: &[String]) -> Result<usize> {
    let by_name = names.iter().position(|name| name == class);
    by_name.or_else(|| class.parse().ok().filter(|number| *number < names.len())).ok_or_else(|| {
        let near = nearest(class, names.iter().map(String::as_str));
        let what = format!("the model has no class '{class}'{near}");
        Error::Usage(format!("--class: {what}; give one of its {} names, or a number from 0", names.len()))
    })
}

/// `OUT/<name>.png` for each image. Where several images have one name, each is called by as much more as tells them apart: the
/// kind of file, the folder, both. Those that are still called alike get numbers.
fn files(out: &Path, paths: &[String]) -> Vec<PathBuf> {
    let text = |part: Option<&OsStr>| part.map_or("image".into(), |part| part.to_string_lossy().into_owned());
    let names = |path: &String| {
        let path = Path::new(path);
        let (stem, whole) = (text(path.file_stem()), text(path.file_name()));
        let folder = text(path.parent().and_then(Path::file_name));
        [stem.clone(), whole.clone(), format!("{folder}-{stem}"), format!("{folder}-{whole}")]
    };
    let names: Vec<[String; 4]> = paths.iter().map(names).collect();
    let mut counts: [HashMap<&str, usize>; 4] = Default::default();
    for names in &names {
        names.iter().zip(&mut counts).for_each(|(name, counts)| *counts.entry(name).or_default() += 1);
    }
    let mut taken = HashSet::new();
    let file = |names: &[String; 4]| {
        let apart = names.iter().zip(&counts).find(|(name, counts)| counts[name.as_str()] == 1);
        let name = apart.map_or(&names[0], |(name, _)| name);
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| taken.insert(name.clone()));
        out.join(free.unwrap_or_default() + ".png")
    };
    names.iter().map(file).collect()
}

fn text(method: Method, tensors: &[&str], rows: Vec<Row>) -> String {
    let quoted: Vec<String> = tensors.iter().map(|tensor| format!("'{}'", printable(tensor))).collect();
    let at = if tensors.is_empty() { String::new() } else { format!(" at {}", quoted.join(", ")) };
    let how = match method {
        Method::Cam => "exact class activation maps",
        Method::GradCam => "maps by gradients (Grad-CAM)",
        Method::Occlusion => "occlusion by grey patches",
    };
    let checked = rows.iter().any(|row| row.agreement.is_some());
    let numbers = rows.iter().any(|row| matches!(row.sought, Sought::Target { .. }));
    let told: &[&str] = if numbers { &["target", "value"] } else { &["class", "predicted", "probability"] };
    let mut header = [&["path", "overlay"], told].concat();
    header.extend(checked.then_some("agreement"));
    let cells = rows.into_iter().map(|row| {
        let overlay = row.overlay.display().to_string();
        let told = match row.sought {
            Sought::Class { class, probability, predicted } => vec![class, predicted, format!("{probability:.4}")],
            Sought::Target { target, value } => vec![target, precise(f64::from(value))],
        };
        let mut cells = [vec![row.path, overlay], told].concat();
        cells.extend(row.agreement.map(|agreement| format!("{agreement:.2}")));
        cells
    });
    format!("{how}{at}\n{}", tables::table(&header, if numbers { 3 } else { 4 }, cells))
}
