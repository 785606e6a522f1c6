//! Labels for images.

use super::progress::Reporter;
use super::{PredictOptions, print, tables, tell_skipped};
use adapt::data::images_below;
use adapt::metrics::argmax;
use adapt::plan::Trained;
use adapt::report::csv;
use adapt::{Error, Result};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Row {
    path: String,
    label: String,
    confidence: f32,
}

pub fn run(options: &PredictOptions) -> Result<()> {
    let reporter = Reporter::new(options.verbosity.quiet, options.verbosity.verbose);
    let progress = |event: adapt::progress::Event| reporter.event(event);
    let trained = Trained::open(&options.model, options.input.preprocess.as_ref(), options.input.size)?;
    if trained.preprocessing.guessed {
        reporter.say(&format!("warning: preprocessing is a guess: {}", trained.preprocessing.source));
    }
    let paths = images_below(&options.paths)?;
    let mut extractor = trained.extractor(&options.engine.resolve(&progress)?)?;
    let found = extractor.run(Path::new(""), &paths, "predicting", &progress)?;
    reporter.finish();
    tell_skipped(&found.skipped);
    if let Some(first) = found.skipped.first().filter(|_| found.places.is_empty()) {
        return Err(Error::data(&first.path, format!("{}; none of the images could be read", first.reason)));
    }
    let names = trained.names(found.rows.ncols())?;
    let probabilities = trained.probabilities(found.rows.view());
    let rows = probabilities.rows().into_iter().zip(&found.places).map(|(row, &place)| {
        let class = argmax(row);
        Row { path: paths[place].clone(), label: names[class].clone(), confidence: row[class] }
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
    let cells = rows.into_iter().map(|r| vec![r.path, r.label, format!("{:.4}", r.confidence)]);
    print(&tables::table(&["path", "label", "confidence"], 2, cells))
}
