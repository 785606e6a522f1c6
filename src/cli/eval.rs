//! The metrics of a ready model on a labelled folder.

use super::predict::{suited, warn_of_a_guess};
use super::progress::Reporter;
use super::{EvalOptions, figures, print, tell_skipped};
use adapt::data::{Columns, Dataset, Skipped, Task, labelled};
use adapt::metrics::{Classification, Figures, MultiLabel, Regression};
use adapt::plan::Trained;
use adapt::report::json;
use adapt::train::by_path;
use adapt::train::heads::Answered;
use adapt::{Error, Result};
use ndarray::{Array2, Axis};
use serde::Serialize;

/// What `--json` prints: the figures, and what they do not cover.
#[derive(Serialize)]
struct Measured<'a> {
    #[serde(flatten)]
    metrics: &'a Figures,
    /// What the model's threshold for its answers does with these images, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    abstention: Option<Answered>,
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
    let columns = match (trained.task, options.columns.columns()) {
        (own, Columns { task: Some(task), .. }) if own != task => {
            let what = format!("it was trained for {own:?}, and --task says otherwise; leave that out").to_lowercase();
            return Err(Error::Usage(format!("{}: {what}", options.model.display())));
        }
        (task, columns) => Columns { task: Some(task), groups: options.groups.clone(), ..columns },
    };
    let data = labelled(&options.data, &classes, &columns, &progress)?;
    data.notes.iter().for_each(|note| reporter.say_beside(&format!("note: {note}")));
    let paths: Vec<&str> = data.items.iter().map(|i| i.path.as_str()).collect();
    let backend = options.run.engine.resolve(&progress)?;
    let trained = suited(trained, &backend, &reporter)?;
    let mut extractor = trained.extractor(&backend)?;
    warn_of_a_guess(&reporter, &trained.preprocessing);
    let found = extractor.run(&data.source, &paths, "evaluating", &progress)?;
    reporter.finish();
    let skipped = [&data.skipped[..], &found.skipped].concat();
    tell_skipped(&skipped);
    if found.places.is_empty() {
        return Err(Error::data(&options.data, "none of the images could be read"));
    }
    let names = trained.names(found.rows.ncols())?;
    let order = by_path(&found.places.iter().map(|&i| paths[i]).collect::<Vec<_>>());
    let groups = data.groups_of(&order.iter().map(|&i| paths[found.places[i]].to_string()).collect::<Vec<_>>());
    let labels: Vec<usize> = order.iter().map(|&i| data.items[found.places[i]].label).collect();
    let given = trained.probabilities(found.rows.select(Axis(0), &order).view());
    let abstention = trained.threshold.filter(|_| trained.task.is_multiclass());
    let abstention = abstention.map(|threshold| Answered::new(threshold, &labels, given.view()));
    let metrics = measure(&trained, &data, (&labels, &groups), given, &names)?;
    if options.json {
        return print(&json(&Measured { metrics: &metrics, abstention, skipped: &skipped })?);
    }
    let answered = abstention.map(|told| figures::answered("eval", &told)).unwrap_or_default();
    print(&(figures::figures([("eval", &metrics)]) + &answered))
}

fn measure(
    trained: &Trained,
    data: &Dataset,
    (labels, groups): (&[usize], &[usize]),
    given: Array2<f32>,
    names: &[String],
) -> Result<Figures> {
    let (truth, given) = (data.truth(labels), given.view());
    Ok(match trained.task {
        Task::Multiclass => Classification::grouped(labels, given, names, groups)?.into(),
        Task::Regression => Figures::Values(Regression::grouped(truth.view(), given, names, groups)?),
        Task::Multilabel => {
            let own = truth.mapv(|value| value > 0.5);
            Figures::Labels(MultiLabel::grouped(own.view(), given, names, &trained.thresholds, groups)?)
        }
    })
}
