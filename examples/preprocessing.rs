//! Whether the preprocessing that images decide is the right one: models whose own is known are adapted with it, and with
//! what is found without being told.
//!
//!     cargo run --release --example preprocessing -- DATA MODEL.onnx=SPEC...
//!
//! DATA has train/ and test/ folders; SPEC is what `--preprocess` would be given.

use adapt::data::{Dataset, ReadOptions, Split};
use adapt::metrics::argmax;
use adapt::plan::evidence::Trying;
use adapt::plan::{Plan, PlanOptions};
use adapt::progress::silent;
use adapt::train::{Options, fit_softmax};
use adapt::{Backend, Choice, Error, Features, Model, Result};
use std::path::Path;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = || Error::Usage("give a folder with train/ and test/, and models as MODEL.onnx=SPEC".into());
    let folder = arguments.next().ok_or_else(usage)?;
    println!("| model | its own | found | images' margin | accuracy with its own | with what was found | difference |");
    println!("|---|---|---|---|---|---|---|");
    for model in arguments {
        let (path, spec) = model.split_once('=').ok_or_else(usage)?;
        let known = right(&folder, path, Some(spec))?;
        let found = right(&folder, path, None)?;
        // Paired over the test images.
        let each: Vec<f64> = known.0.iter().zip(&found.0).map(|(known, found)| found - known).collect();
        let difference = mean(&each);
        let square = mean(&each.iter().map(|each| (each - difference).powi(2)).collect::<Vec<_>>());
        let error = (square / each.len() as f64).sqrt();
        let name = Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let accuracies = [mean(&known.0), mean(&found.0)].map(|accuracy| format!("{accuracy:.3}")).join(" | ");
        println!("| {name} | {spec} | {} | {} | {accuracies} | {difference:.3} ± {error:.3} |", found.1, found.2);
    }
    Ok(())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Which test images are right (1, else 0), the preprocessing and its margin.
fn right(folder: &str, path: &str, spec: Option<&str>) -> Result<(Vec<f64>, String, String)> {
    let mut model = Model::open(path)?;
    let mut data = Dataset::read(Path::new(folder), &ReadOptions::new(0., 0), &silent)?;
    let backend = Backend::resolve(Choice::Auto, None, false, &silent)?;
    let preprocess = spec.map(|spec| spec.parse().map_err(Error::Usage)).transpose()?;
    let options = PlanOptions { preprocess, ..PlanOptions::default() };
    let (mut plan, extractor) = Plan::make(&mut model, &backend, &options, &silent)?;
    // A file beside the model may tell it: not here.
    plan.guessed = spec.is_none();
    let trying = Trying { backend: &backend, options: &options, data: &data, cache: None, progress: &silent };
    let mut extractor = trying.decide(&mut plan, &mut model, extractor)?;
    let train = Features::extract(&mut data, Split::Train, &mut extractor, &silent)?;
    let test = Features::extract(&mut data, Split::Test, &mut extractor, &silent)?;
    let fit = fit_softmax(train.rows.view(), &train.labels, data.classes.len(), &Options::default(), &silent)?;
    let scores = test.scored(&fit.head)?;
    let right = scores.rows.rows().into_iter().zip(&scores.labels);
    let right = right.map(|(row, label)| f64::from(u8::from(argmax(row) == *label))).collect();
    let (mut chosen, mut margin) = (spec.unwrap_or("a guess").to_string(), String::new());
    if let [values, .., shapes] = &plan.evidence[..] {
        chosen.clone_from(&shapes.candidates[shapes.chosen].spec);
        if let Some((other, [ahead, error])) = values.runner_up.zip(values.margin) {
            margin = format!("{ahead:.3} ± {error:.3} before {}", values.candidates[other].spec);
        }
    }
    Ok((right, chosen, margin))
}
