//! Labels for images.

use super::progress::Reporter;
use super::{PredictOptions, print, tables, tell_skipped};
use adapt::data::{Skipped, Source, Task, images_below};
use adapt::engine::{Backend, Extractor};
use adapt::error::printable;
use adapt::metrics::argmax;
use adapt::plan::Trained;
use adapt::plan::preprocessing::Sourced;
use adapt::report::{columns, csv, precise};
use adapt::{Error, Result};
use ndarray::{Array2, s};
use serde::Serialize;
use serde_json::json;

#[derive(Serialize)]
struct Row {
    path: String,
    label: String,
    confidence: f32,
    /// Whether the answer is to be taken, where the model tells from which probability on.
    #[serde(skip_serializing_if = "Option::is_none")]
    sure: Option<bool>,
    /// How far its features are from the classes', and whether that is farther than images like the training's are, where the model
    /// tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    outlier_score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outlier: Option<bool>,
}

pub fn run(options: &PredictOptions) -> Result<()> {
    options.run.engine.limit_threads();
    let reporter = Reporter::new(options.run.verbosity.quiet, options.run.verbosity.verbose);
    let progress = |event: adapt::progress::Event| reporter.event(event);
    let trained = Trained::open(&options.model, options.run.input.preprocess.as_ref(), options.run.input.size)?;
    trained.labels()?;
    warn_of_a_guess(&reporter, &trained.preprocessing);
    let images = images_below(&options.paths, &progress)?;
    let backend = options.run.engine.resolve(&progress)?;
    let trained = suited(trained, &backend, &reporter)?;
    let mut extractor = trained.extractor_with_features(&backend)?;
    let (paths, mut rows) = rows(images, &mut extractor, "predicting", &reporter)?;
    let outliers = outliers(&trained, &mut rows)?;
    let names = trained.names(rows.ncols())?;
    let probabilities = trained.probabilities(rows.view());
    if trained.task != Task::Multiclass {
        return several(options, &trained, &names, paths, &probabilities);
    }
    let rows = probabilities.rows().into_iter().zip(paths).enumerate().map(|(image, (row, path))| {
        let class = argmax(row);
        let sure = trained.threshold.map(|threshold| row[class] >= threshold);
        let (outlier_score, outlier) = outliers.as_ref().map(|known| known[image]).unzip();
        Row { path, label: names[class].clone(), confidence: row[class], sure, outlier_score, outlier }
    });
    let rows: Vec<Row> = rows.collect();
    if options.csv {
        return print(&String::from_utf8_lossy(&csv(&rows)?));
    }
    if options.json {
        let lines: serde_json::Result<Vec<_>> = rows.iter().map(serde_json::to_string).collect();
        let lines = lines.map_err(|e| Error::Engine(format!("writing JSON: {e}")))?;
        return print(&lines.iter().map(|l| format!("{l}\n")).collect::<String>());
    }
    let doubt = |r: &Row| {
        let unsure = if r.sure == Some(false) { " unsure" } else { "" };
        format!("{:.4}{unsure}{}", r.confidence, if r.outlier == Some(true) { " outlier" } else { "" })
    };
    let cells = rows.into_iter().map(|r| {
        let confidence = doubt(&r);
        vec![r.path, r.label, confidence]
    });
    print(&tables::table(&["path", "label", "confidence"], 2, cells))
}

/// Each image's score, and whether it is an outlier, by the features behind its row, which go.
fn outliers(trained: &Trained, rows: &mut Array2<f32>) -> Result<Option<Vec<(f32, bool)>>> {
    let Some((tensor, outlier)) = &trained.outlier else { return Ok(None) };
    let features = outlier.means.ncols();
    let Some(classes) = rows.ncols().checked_sub(features).filter(|classes| *classes > 0) else {
        let what = format!("its metadata tell of {features} features at '{tensor}', but there are fewer");
        return Err(Error::model(&trained.model.path, what));
    };
    let scores = outlier.scores(rows.slice(s![.., classes..]));
    *rows = rows.slice(s![.., ..classes]).to_owned();
    Ok(Some(scores.into_iter().map(|score| (score, score > outlier.threshold)).collect()))
}

/// What a model of several labels or numbers says: a column for each, and the labels that it gives.
fn several(
    options: &PredictOptions,
    trained: &Trained,
    names: &[String],
    paths: Vec<String>,
    given: &Array2<f32>,
) -> Result<()> {
    let labels = trained.task == Task::Multilabel;
    let said = |row: &[f32]| trained.task.said(row, names, &trained.thresholds);
    let rows: Vec<(String, Vec<f32>)> =
        paths.into_iter().zip(given.rows().into_iter().map(|row| row.to_vec())).collect();
    if options.json {
        let line = |(path, row): &(String, Vec<f32>)| {
            let values: serde_json::Map<_, _> =
                names.iter().cloned().zip(row.iter().map(|&v| json!(shortest(v)))).collect();
            let own: Vec<&String> = names
                .iter()
                .zip(row)
                .zip(&trained.thresholds)
                .filter(|((_, p), t)| p >= t)
                .map(|((n, _), _)| n)
                .collect();
            let line = match labels {
                true => json!({ "path": path, "labels": own, "probabilities": values }),
                false => json!({ "path": path, "values": values }),
            };
            format!("{line}\n")
        };
        return print(&rows.iter().map(line).collect::<String>());
    }
    let shown = |value: &f32| match (options.csv, labels) {
        (true, _) => value.to_string(),
        (_, true) => format!("{value:.4}"),
        _ => precise(f64::from(*value)),
    };
    let cells = |(path, row): (String, Vec<f32>)| {
        let label = labels.then(|| said(&row));
        [path].into_iter().chain(label).chain(row.iter().map(shown)).collect::<Vec<String>>()
    };
    let own: &[&str] = if labels { &["path", "label"] } else { &["path"] };
    let header: Vec<String> = own.iter().map(|name| (*name).into()).chain(columns(names, own)).collect();
    if options.csv {
        let rows: Vec<_> = [header].into_iter().chain(rows.into_iter().map(cells)).collect();
        return print(&String::from_utf8_lossy(&csv(&rows)?));
    }
    let header: Vec<String> = header.iter().map(|name| printable(name)).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    print(&tables::table(&header, 1 + usize::from(labels), rows.into_iter().map(cells)))
}

/// The number of the fewest digits that is read back as this one.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_default()
}

/// Says that nothing told what the model expects.
pub fn warn_of_a_guess(reporter: &Reporter, known: &Sourced) {
    if known.guessed {
        reporter.say(&format!("warning: preprocessing is a guess: {}", known.source));
    }
}

/// The model as this engine runs it; says where that is without the preprocessing in its graph.
pub fn suited(trained: Trained, backend: &Backend, reporter: &Reporter) -> Result<Trained> {
    let in_graph = trained.baked;
    let trained = trained.suited(backend)?;
    if in_graph && !trained.baked {
        let name = backend.name();
        reporter.say(&format!(
            "note: {name} cannot run the preprocessing in the model's graph; adapt's own takes its place"
        ));
    }
    Ok(trained)
}

/// One row of values for each of these images that can be read, and their paths; the others are listed.
///
/// # Errors
/// Those of [`Extractor::run`], and [`Error::Data`] where none can be read.
pub fn rows(
    (source, mut paths, skipped): (Source, Vec<String>, Vec<Skipped>),
    extractor: &mut Extractor,
    stage: &str,
    reporter: &Reporter,
) -> Result<(Vec<String>, Array2<f32>)> {
    let found = extractor.run(&source, &paths, stage, &|event| reporter.event(event))?;
    reporter.finish();
    tell_skipped(skipped.iter().chain(&found.skipped));
    if let Some(first) = found.skipped.first().filter(|_| found.places.is_empty()) {
        return Err(Error::data(&first.path, format!("{}; none of the images could be read", first.reason)));
    }
    let paths = found.places.iter().map(|&place| std::mem::take(&mut paths[place])).collect();
    Ok((paths, found.rows))
}
