//! The metrics of a ready model on a labelled folder.

use super::predict::warn_of_a_guess;
use super::progress::Reporter;
use super::{EvalOptions, print, tables, tell_skipped};
use adapt::data::{Skipped, labelled};
use adapt::metrics::Classification;
use adapt::plan::Trained;
use adapt::report::json;
use adapt::{Error, Result};
use serde::Serialize;

/// What `--json` prints: the figures, and what they do not cover.
#[derive(Serialize)]
struct Measured<'a> {
    #[serde(flatten)]
    metrics: &'a Classification,
    skipped: &'a [Skipped],
}

pub fn run(options: &EvalOptions) -> Result<()> {
    options.run.engine.limit_threads();
    let reporter = Reporter::new(options.run.verbosity.quiet, options.run.verbosity.verbose);
    let progress = |event: adapt::progress::Event| reporter.event(event);
    let trained = Trained::open(&options.model, options.run.input.preprocess.as_ref(), options.run.input.size)?;
    trained.labels()?;
    let Some(classes) = trained.classes.clone() else {
        let what = "its class names are not known; put a labels.txt with one name a line beside it";
        return Err(Error::model(&options.model, what));
    };
    let data = labelled(&options.data, &classes, &options.columns.columns(), &progress)?;
    let paths: Vec<&str> = data.items.iter().map(|i| i.path.as_str()).collect();
    let mut extractor = trained.extractor(&options.run.engine.resolve(&progress)?)?;
    warn_of_a_guess(&reporter, &trained.preprocessing);
    let found = extractor.run(&data.source, &paths, "evaluating", &progress)?;
    reporter.finish();
    let skipped = [data.skipped, found.skipped].concat();
    tell_skipped(&skipped);
    if found.places.is_empty() {
        return Err(Error::data(&options.data, "none of the images could be read"));
    }
    let names = trained.names(found.rows.ncols())?;
    let labels: Vec<usize> = found.places.iter().map(|&i| data.items[i].label).collect();
    let probabilities = trained.probabilities(found.rows.view());
    let metrics = Classification::from_probabilities(&labels, probabilities.view(), &names)?;
    match options.json {
        true => print(&json(&Measured { metrics: &metrics, skipped: &skipped })?),
        false => print(&tables::figures([("eval", &metrics)])),
    }
}
