//! The end of the main job: figures, the files, the proof.

use super::clock::Clock;
use super::made::Made;
use super::progress::Reporter;
use super::{AdaptOptions, print, report, tables};
use adapt::data::{Dataset, Split};
use adapt::engine::Backend;
use adapt::metrics::{Classification, Figures};
use adapt::onnx::Model;
use adapt::plan::{Plan, Trained, licence};
use adapt::progress::{Event, emit};
use adapt::rank::Ranked;
use adapt::report::recorded::write_scores;
use adapt::report::{Adapted, AnyHead, FineTuning, InputInfo, ModelInfo, OutDir, OutputInfo, Run, columns, csv, json};
use adapt::verify::{Expected, golden, verify, verify_baked};
use adapt::{Error, Result};
use std::collections::BTreeMap;

/// What came out, before it is written and proven.
pub(super) struct Ended {
    /// What the run was called with, however often it was resumed.
    pub command: Vec<String>,
    pub ranking: Vec<Ranked>,
    pub made: Made,
    pub metrics: BTreeMap<String, Figures>,
    pub predictions: Vec<u8>,
    pub fine_tuning: Option<FineTuning>,
}

/// Writes the model, proves it, and tells of all.
pub(super) fn finish(
    ended: Ended,
    options: &AdaptOptions,
    (model, backend): (&Model, &Backend),
    data: &Dataset,
    out: OutDir,
    mut clock: Clock,
    reporter: &Reporter,
) -> Result<()> {
    let progress = |event: Event| reporter.event(event);
    let Ended { command, ranking, made, metrics, predictions, fine_tuning } = ended;
    let plan = &made.plan;
    if made.training.is_none() {
        out.begin_anew()?;
    }
    out.write_model(&made.adapted, plan, &data.classes)?;
    clock.lap(|seconds| &mut seconds.write);

    let (file, images) = (out.path("model.onnx"), (&data.source, &made.sample[..]));
    let expected = Expected { logits: made.expected.view(), features: made.features.as_ref().map(|f| f.view()) };
    let prover = options.engine.prover_of(backend, &made.adapted.model, &plan.input, &progress)?;
    let proof = verify(&file, plan, made.adapted.activation, &prover, images, expected, &progress);
    let (out, parity) = proven(out, proof)?;
    let (out, baked) = if options.bake_preprocessing {
        let model = made.adapted.baked(plan);
        out.replace_model(&model)?;
        let input = model.graph().input[0].name().to_owned();
        drop(model);
        let (out, proof) = proven(out, verify_baked(&file, &prover, images, made.expected.view(), &progress))?;
        (out, Some((input, proof)))
    } else {
        (out, None)
    };
    let input = baked.as_ref().map(|(input, _)| input.as_str());
    let ports = (input, &*made.adapted.output, made.adapted.activation);
    golden::write(&out.path(golden::FOLDER), plan, ports, images, made.expected.view())?;
    clock.lap(|seconds| &mut seconds.verify);
    clock.seconds.total = clock.total();
    let run = Run {
        version: env!("CARGO_PKG_VERSION"),
        command,
        seed: options.seed,
        ranking,
        model: model_info(model, plan, &made.adapted),
        head: made.head,
        thresholds: made.thresholds,
        training: made.training,
        fine_tuning,
        data: data.into(),
        problems: made.problems,
        plan: plan.clone(),
        metrics,
        parity,
        baked: baked.map(|(_, proof)| proof),
        seconds: clock.seconds,
    };
    out.write_results(&run, &predictions)?;
    write_scores(&out, &made.scores, &made.map)?;
    let trained = Trained::of(made.adapted.model, None, None);
    match report::write(&out, &data.source, &trained, &prover, &progress) {
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Err(why) => emit(&progress, Event::Warning(&format!("without report.html: {why}")))?,
        Ok(()) => {}
    }
    let target = out.commit()?;
    reporter.finish();
    print(&if options.json { json(&run)? } else { tables::results(&run, &target, &made.sample) })?;
    // What was reached is kept; that it is not what was asked for is a failure all the same.
    match run.training.and_then(|training| training.diverged) {
        Some(why) => Err(Error::Train(format!("{why}; the best weights so far are in {}", target.display()))),
        None => Ok(()),
    }
}

/// Writes into the model's metadata what its users need.
pub(super) fn describe(made: &mut Made, metrics: &BTreeMap<String, Figures>, data: &Dataset, reporter: &Reporter) {
    made.adapted.describe(&made.plan, &data.classes, metrics);
    if !made.thresholds.is_empty() {
        made.adapted.give_from(&made.thresholds);
    }
    if let Some(outlier) = &made.outlier
        && let Err(why) = made.adapted.tell_outliers(&made.plan, outlier)
    {
        reporter.say_beside(&format!("note: {why}"));
    }
    let Some(AnyHead::Classes(head)) = &made.head else { return };
    if let Some(abstention) = &head.abstention {
        made.adapted.abstain(abstention);
        let (threshold, share) = (abstention.threshold, 100. * abstention.coverage);
        reporter.say(&format!("abstain  answers from {threshold:.3} on are to be taken: {share:.1} % of the images"));
    }
    if let Some(why) = &head.no_abstention {
        let _ = reporter.event(Event::Warning(&format!("--abstain: {why}; the model has no threshold")));
    }
}

/// Figures by split, and what is predicted for every image, as CSV.
pub(super) fn evaluate(made: &Made, data: &Dataset) -> Result<(BTreeMap<String, Figures>, Vec<u8>)> {
    let (mut metrics, mut predictions) = (BTreeMap::new(), Vec::new());
    let own = ["path", "split", "label", "predicted", "group"];
    let mut header: Vec<String> = own[..4].iter().map(|name| (*name).into()).collect();
    header.extend(columns(&data.classes, &own));
    header.extend(data.groups.as_ref().map(|_| own[4].into()));
    let mut rows = vec![header];
    for split in &made.scores {
        let figures = if data.task.is_multiclass() {
            let (figures, own) = split.evaluate(data)?;
            predictions.extend(own);
            let nearest_mean = made.nearest_mean.get(&split.split).copied();
            figures.map(|figures| Classification { nearest_mean, ..figures }.into())
        } else {
            let (figures, own) = split.judge(data, &made.thresholds)?;
            rows.extend(own);
            figures
        };
        // Figures on images that were trained on would only mislead.
        metrics.extend(figures.filter(|_| split.split != Split::Train).map(|m| (split.split.to_string(), m)));
    }
    Ok((metrics, if data.task.is_multiclass() { csv(&predictions)? } else { csv(&rows)? }))
}

/// A folder whose model is what it has to be; any other is set aside.
fn proven<T>(out: OutDir, proof: Result<T>) -> Result<(OutDir, T)> {
    match proof {
        Err(Error::Parity(what)) => {
            // That the model is wrong must be told, whatever becomes of its files.
            let kept = match out.reject() {
                Ok(folder) => format!("the files are kept in {}", folder.display()),
                Err(why) => why.to_string(),
            };
            Err(Error::Parity(format!("{what}; {kept}")))
        }
        other => Ok((out, other?)),
    }
}

fn model_info(model: &Model, plan: &Plan, adapted: &Adapted) -> ModelInfo {
    ModelInfo {
        path: model.path.display().to_string(),
        sha256: model.sha256.clone(),
        licence: licence(model),
        opset: model.opset(),
        input: InputInfo::from(&plan.input),
        output: OutputInfo { name: adapted.output.clone(), activation: adapted.activation },
    }
}
