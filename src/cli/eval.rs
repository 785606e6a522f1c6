//! The metrics of a ready model on a labelled folder.

use super::progress::Reporter;
use super::{EvalOptions, print, tables, tell_skipped};
use adapt::data::labelled;
use adapt::metrics::Classification;
use adapt::plan::Trained;
use adapt::report::json;
use adapt::{Error, Result};

pub fn run(options: &EvalOptions) -> Result<()> {
    let reporter = Reporter::new(options.verbosity.quiet, options.verbosity.verbose);
    let progress = |event: adapt::progress::Event| reporter.event(event);
    let trained = Trained::open(&options.model, options.input.preprocess.as_ref(), options.input.size)?;
    let Some(classes) = trained.classes.clone() else {
        let what = "its class names are not known; put a labels.txt with one name a line beside it";
        return Err(Error::model(&options.model, what));
    };
    let data = labelled(&options.data, &classes, &progress)?;
    let paths: Vec<&str> = data.items.iter().map(|i| i.path.as_str()).collect();
    let mut extractor = trained.extractor(&options.engine.resolve(&progress)?)?;
    if trained.preprocessing.guessed {
        reporter.say(&format!("warning: preprocessing is a guess: {}", trained.preprocessing.source));
    }
    let found = extractor.run(&data.root, &paths, "evaluating", &progress)?;
    reporter.finish();
    tell_skipped(data.skipped.iter().chain(&found.skipped));
    if found.places.is_empty() {
        return Err(Error::data(&options.data, "none of the images could be read"));
    }
    let names = trained.names(found.rows.ncols())?;
    let labels: Vec<usize> = found.places.iter().map(|&i| data.items[i].label).collect();
    let probabilities = trained.probabilities(found.rows.view());
    let metrics = Classification::from_probabilities(&labels, probabilities.view(), &names)?;
    match options.json {
        true => print(&json(&metrics)?),
        false => print(&tables::figures([("eval", &metrics)])),
    }
}
