//! Labels for images.

use super::progress::Reporter;
use super::{PredictOptions, print, tables, tell_skipped};
use adapt::data::{Source, images_below};
use adapt::engine::Extractor;
use adapt::metrics::argmax;
use adapt::plan::Trained;
use adapt::plan::preprocessing::Sourced;
use adapt::report::csv;
use adapt::{Error, Result};
use ndarray::Array2;
use serde::Serialize;

#[derive(Serialize)]
struct Row {
    path: String,
    label: String,
    confidence: f32,
    /// Whether the answer is to be taken, where the model tells from which probability on.
    #[serde(skip_serializing_if = "Option::is_none")]
    sure: Option<bool>,
}

pub fn run(options: &PredictOptions) -> Result<()> {
    options.run.engine.limit_threads();
    let reporter = Reporter::new(options.run.verbosity.quiet, options.run.verbosity.verbose);
    let progress = |event: adapt::progress::Event| reporter.event(event);
    let trained = Trained::open(&options.model, options.run.input.preprocess.as_ref(), options.run.input.size)?;
    trained.labels()?;
    warn_of_a_guess(&reporter, &trained.preprocessing);
    let images = images_below(&options.paths)?;
    let mut extractor = trained.extractor(&options.run.engine.resolve(&progress)?)?;
    let (paths, rows) = rows(images, &mut extractor, "predicting", &reporter)?;
    let names = trained.names(rows.ncols())?;
    let probabilities = trained.probabilities(rows.view());
    let rows = probabilities.rows().into_iter().zip(paths).map(|(row, path)| {
        let class = argmax(row);
        let sure = trained.threshold.map(|threshold| row[class] >= threshold);
        Row { path, label: names[class].clone(), confidence: row[class], sure }
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
    let doubt = |sure: Option<bool>| if sure == Some(false) { " unsure" } else { "" };
    let cells = rows.into_iter().map(|r| vec![r.path, r.label, format!("{:.4}{}", r.confidence, doubt(r.sure))]);
    print(&tables::table(&["path", "label", "confidence"], 2, cells))
}

/// Says that nothing told what the model expects.
pub fn warn_of_a_guess(reporter: &Reporter, known: &Sourced) {
    if known.guessed {
        reporter.say(&format!("warning: preprocessing is a guess: {}", known.source));
    }
}

/// One row of values for each of these images that can be read, and their paths; the others are listed.
///
/// # Errors
/// Those of [`Extractor::run`], and [`Error::Data`] where none can be read.
pub fn rows(
    (source, mut paths): (Source, Vec<String>),
    extractor: &mut Extractor,
    stage: &str,
    reporter: &Reporter,
) -> Result<(Vec<String>, Array2<f32>)> {
    let found = extractor.run(&source, &paths, stage, &|event| reporter.event(event))?;
    reporter.finish();
    tell_skipped(&found.skipped);
    if let Some(first) = found.skipped.first().filter(|_| found.places.is_empty()) {
        return Err(Error::data(&first.path, format!("{}; none of the images could be read", first.reason)));
    }
    let paths = found.places.iter().map(|&place| std::mem::take(&mut paths[place])).collect();
    Ok((paths, found.rows))
}
