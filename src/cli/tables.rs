//! What a person reads: the plan before the work, the results after it.

use super::epochs;
use super::figures::{answered, figures};
use super::inside::Job;
use adapt::data::{Dataset, Skipped, Split, Task};
use adapt::error::printable;
use adapt::onnx::Model;
use adapt::plan::preprocessing::in_words;
use adapt::plan::{Input, Plan};
use adapt::report::{self, AnyHead, FineTuning, Measured, Run, precise, predicted_by, time};
use adapt::train::heads::{Chosen, Curve, Metric, Point, Several, kind};
use comfy_table::{CellAlignment, Table, presets};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::path::Path;

/// A table without lines; columns from `numbers` on are aligned to the right.
pub fn table(header: &[&str], numbers: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    let shown = |row: Vec<String>| row.iter().map(|cell| printable(cell)).collect::<Vec<_>>();
    table.load_style(presets::NOTHING).set_header(header.to_vec()).add_rows(rows.into_iter().map(shown));
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        column.set_cell_alignment(if i < numbers { CellAlignment::Left } else { CellAlignment::Right });
    }
    table.lines().map(|line| line.trim_end().to_string() + "\n").collect()
}

/// `float32 images [N, 3, 224, 224]`
pub fn input(input: &Input) -> String {
    let [_, a, b, c] = input.shape(1);
    let batch = input.batch.map_or("N".into(), |b| b.to_string());
    format!("{} {} [{batch}, {a}, {b}, {c}]", input.data_type, input.name)
}

/// The plan, before any work.
pub fn plan(model: &Model, plan: &Plan, data: &Dataset, job: Option<&Job>) -> String {
    let count = |split| data.split(split).count();
    let counts = [Split::Train, Split::Val, Split::Test].map(|s| (s, count(s))).into_iter().filter(|(_, n)| *n > 0);
    let counts: Vec<_> = counts.map(|(split, n)| format!("{n} {split}")).collect();
    let frozen = if job.is_some() { "" } else { "; the rest stays frozen" };
    let mut rows = vec![
        ("model", format!("{} (opset {})", model.path.display(), model.opset())),
        ("input", input(&plan.input)),
        ("images", in_words(&plan.preprocessing)),
        ("", format!("from {}", plan.preprocessing_source)),
        ("cut", format!("{}, {} features", plan.cut, plan.features)),
        ("head", format!("{} for the output '{}'{frozen}", plan.head, plan.output)),
        ("data", format!("{}, {} images", data.task.names(data.classes.len()), counts.join(", "))),
    ];
    if let Some(groups) = &data.groups {
        let counts: Vec<_> = data.group_counts().iter().map(|(split, n)| format!("{n} {split}")).collect();
        rows.push((
            "groups",
            format!("by '{}', {}; none is on both sides of a split or fold", groups.column, counts.join(", ")),
        ));
    }
    rows.extend([("engine", format!("{} {}", plan.engine.name, plan.engine.version))]);
    if plan.device != "cpu" {
        rows.push(("device", plan.device.clone()));
    }
    rows.extend(job.iter().flat_map(|job| epochs::plan(job)));
    let mut text: String = rows.iter().map(|(key, value)| format!("{key:8} {}\n", printable(value))).collect();
    for warning in &plan.notes {
        let _ = writeln!(text, "warning: {}", printable(warning));
    }
    for note in &data.notes {
        let _ = writeln!(text, "note: {}", printable(note));
    }
    if !data.skipped.is_empty() {
        let _ = writeln!(
            text,
            "note: {} skipped already; first: {}: {}",
            counted(data.source.place(), &data.skipped),
            printable(&data.skipped[0].path),
            printable(&data.skipped[0].reason)
        );
    }
    text.trim_end().into()
}

/// The heads that were compared.
pub fn heads(chosen: &Chosen, metric: Metric) -> String {
    let rows = chosen.compared.iter().enumerate().map(|(place, c)| {
        let mark = if place == chosen.place { "chosen" } else { "" };
        let behind = match c.behind {
            [0., _] => "best".into(),
            [mean, error] => format!("{:.4} ± {error:.4}", -mean),
        };
        let figures = [c.macro_f1, c.accuracy, c.log_loss].map(|v| format!("{v:.4}"));
        [vec![c.name(), c.taps.to_string(), c.features.to_string()], figures.to_vec(), vec![behind, mark.into()]]
            .concat()
    });
    let name = match metric {
        Metric::MacroF1 => "by macro-F1",
        Metric::Accuracy => "by accuracy",
        Metric::LogLoss => "by log-loss",
    };
    let text = table(&["head", "taps", "features", "macro-F1", "accuracy", "log-loss", name, ""], 1, rows);
    let times = if chosen.repeats > 1 { format!(", {} times", chosen.repeats) } else { String::new() };
    let (folds, temperature) = (chosen.folds, chosen.temperature);
    let expected = if chosen.compared.iter().any(|c| c.expected > 0.) {
        "'by macro-F1': with what is expected of classes that no fold can judge\n"
    } else {
        ""
    };
    format!("{text}{expected}in {folds} folds{times}; temperature {temperature:.2}{}", curve(chosen.curve.as_ref()))
}

/// The learning curve in a line of its own, or why there is none, where one was wanted.
pub fn curve(found: Option<&std::result::Result<Curve, &'static str>>) -> String {
    match found {
        None => String::new(),
        Some(Err(why)) => format!("\nno learning curve: {why}"),
        Some(Ok(curve)) => {
            let point = |p: &Point| format!("{:.3} with {}", p.reached.value(), p.images);
            let points = curve.points.iter().map(point).collect::<Vec<_>>().join(", ");
            let expected = |p: &Point| format!("{:.3} ± {:.3} with {}", p.reached.value(), p.std_err, p.images);
            let expected = curve.expected.iter().map(expected).collect::<Vec<_>>().join(", ");
            let figure = curve.points.first().map_or("", |point| point.reached.name());
            format!("\n{figure} by training images: {points}; expected: {expected}")
        }
    }
}

/// The depths that were compared, for several labels or numbers.
pub fn several(chosen: &Several) -> String {
    let rows = chosen.compared.iter().enumerate().map(|(place, tried)| {
        let mark = if place == chosen.place { "chosen" } else { "" };
        let behind = match tried.behind {
            [0., _] => "best".into(),
            [mean, error] => format!("{mean:+.4} ± {error:.4}"),
        };
        let cells = [tried.taps.to_string(), tried.features.to_string(), format!("{:.4}", tried.loss)];
        [vec![kind(chosen.task).to_string()], cells.to_vec(), vec![behind, mark.into()]].concat()
    });
    let loss = if chosen.task == Task::Regression { "squared error" } else { "log-loss" };
    let text = table(&["head", "taps", "features", loss, "behind the best", ""], 1, rows);
    let times = if chosen.repeats > 1 { format!(", {} times", chosen.repeats) } else { String::new() };
    let judged = match chosen.folds {
        0 => "each image left out by itself; 1 is the squared error of always the mean".into(),
        folds => format!("in {folds} folds{times}"),
    };
    format!("{text}{judged}{}", curve(chosen.curve.as_ref()))
}

/// What is known where no images were held out.
fn unmeasured(head: Option<&AnyHead>) -> String {
    match head.and_then(folds) {
        Some(told) => format!("no images were held out (see --val); {told}\n"),
        None => "no figures: no images were held out (see --val)\n".into(),
    }
}

/// What the head reaches on images that it did not learn from, where cross-validation judged it.
fn folds(head: &AnyHead) -> Option<String> {
    match head {
        AnyHead::Classes(head) => Some(in_folds(head.folds, head.repeats, &spread(head.cross_validation.as_ref()?))),
        AnyHead::Several(head) => {
            if !head.by_fold.is_empty() {
                return Some(in_folds(head.folds, head.repeats, &spread(&head.by_fold)));
            }
            let figures = head.cross_validation.as_object()?.iter().filter(|(name, _)| *name != "images");
            let told: Vec<String> =
                figures.filter_map(|(name, value)| Some(format!("{name} {}", precise(value.as_f64()?)))).collect();
            Some(format!("the head on each image left out: {}", told.join(", ")))
        }
    }
}

fn in_folds(folds: usize, repeats: usize, told: &str) -> String {
    let times = if repeats > 1 { format!(", dealt {repeats} times") } else { String::new() };
    format!("the head in {folds} folds{times}, mean and deviation: {told}")
}

/// `accuracy 0.8219 ± 0.0473, …`
fn spread(figures: &BTreeMap<impl Display, [f64; 2]>) -> String {
    let told =
        figures.iter().map(|(name, [mean, deviation])| format!("{name} {} ± {}", precise(*mean), precise(*deviation)));
    told.collect::<Vec<_>>().join(", ")
}

/// What came out, where it is, and what to type next.
pub fn results(run: &Run, out: &Path, images: &[String]) -> String {
    // The last is shown class by class: the test set where there is one.
    let own = run.head.as_ref().filter(|_| run.training.is_none());
    let splits = ["val", "test"].into_iter().filter_map(|name| Some((name, run.metrics.get(name)?)));
    let mut text = match run.metrics.is_empty() {
        true => unmeasured(own),
        false => figures(splits) + &own.and_then(folds).map(|told| format!("{told}\n")).unwrap_or_default(),
    };
    let p = &run.parity;
    let same = if p.engine == "onnxruntime" { "ONNX Runtime" } else { p.engine.as_str() };
    let _ = writeln!(
        text,
        "\nproof    {same} {} on {}: outputs within {:.1e} of training's{}",
        p.version,
        report::images(p.images),
        p.max_rel_logit_diff,
        if run.plan.task.is_multiclass() {
            format!(", {:.0} % the same class", 100.0 * p.class_agreement)
        } else {
            String::new()
        }
    );
    text.push_str(&own.and_then(sureness).unwrap_or_default());
    text.push_str(&run.fine_tuning.as_ref().map_or(String::new(), fine_tuning));
    if !run.data.skipped.is_empty() {
        let skipped = counted(Path::new(&run.data.path), &run.data.skipped);
        let _ = writeln!(text, "skipped  {skipped}, listed in run.json:");
        for s in run.data.skipped.iter().take(5) {
            let _ = writeln!(text, "         {}: {}", printable(&s.path), printable(&s.reason));
        }
    }
    let s = &run.seconds;
    let _ = writeln!(
        text,
        "time     {:.1} s: features {:.1}, audit {:.1}, head {:.2}, verification {:.1}",
        s.total,
        s.extract_train + s.extract_eval,
        s.audit,
        s.train,
        s.verify
    );
    let _ = writeln!(text, "written  {}", printable(&out.to_string_lossy()));
    let data = Path::new(&run.data.path);
    // Paths in a list begin where it lies; a record or member of a file has no path that could be named.
    let folder = if data.is_file() { data.parent().unwrap_or(data) } else { data };
    let example = images.first().map(|image| folder.join(image)).filter(|image| image.is_file());
    let example = example.unwrap_or_else(|| data.to_path_buf()).display().to_string();
    let _ = writeln!(
        text,
        "next     adapt predict {} {}",
        quoted(&out.join("model.onnx").display().to_string()),
        quoted(&example)
    );
    text
}

/// How sure the head is of held-out images, and what it answers of them where it is to be sure.
fn sureness(head: &AnyHead) -> Option<String> {
    let AnyHead::Classes(head) = head else { return None };
    let (split, [before, after]) = head.held_out_calibration_error.iter().next()?;
    let mut text = format!("sureness {split}: calibration error {after:.3}, without the temperature {before:.3}\n");
    if let Some(told) = head.held_out_abstention.get(split) {
        text += &answered(split, told);
    }
    Some(text)
}

/// What training inside the network would take, and what is known of its gain.
fn fine_tuning(told: &FineTuning) -> String {
    let one = |m: &Measured| match (m.seconds, &m.reason) {
        (Some(seconds), _) => format!("--train {} would take about {}", m.train, time(seconds.max(1.))),
        (None, reason) => format!("--train {}: {}", m.train, printable(reason.as_deref().unwrap_or_default())),
    };
    let measured = told.measured.iter().map(one).collect::<Vec<_>>().join(", ");
    // Deeper features are taken for another figure's sake, too: then they have gained nothing here.
    let depth = told.gain_of_depth.filter(|gain| *gain > 0.);
    let depth = depth.map(|gain| format!("a tail begins without deeper features, which gained {gain:+.4} accuracy"));
    let images = told.gain_of_images.map(|[gain, error]| format!("twice the images may gain {gain:+.3} ± {error:.3}"));
    let hints = depth.into_iter().chain(images).reduce(|all, next| format!("{all}, {next}"));
    let predicted = told.measured.iter().filter_map(|m| Some((&m.train, m.predicted_gain?)));
    let predicted: Vec<_> =
        predicted.map(|(train, [least, most])| format!("{least:+.3} to {most:+.3} by --train {train}")).collect();
    let gain = told.measured.iter().any(|m| m.seconds.is_some()).then(|| {
        let by = told.trials_with.map(|with| format!("{}: {}; ", predicted_by(with), predicted.join(", ")));
        let none = told.no_predicted_gain.as_ref().map(|why| format!("no gain is predicted: {}; ", printable(why)));
        by.or(none).unwrap_or_default() + "what it gains here is not known until it is tried"
    });
    let lines =
        [measured].into_iter().chain(gain.into_iter().chain(hints).reduce(|all, next| format!("{all}; {next}")));
    format!("inside   {}\n", lines.collect::<Vec<_>>().join("\n         "))
}

/// `2 folders and 1 image`; a damaged file of Parquet may have been many of these.
fn counted(root: &Path, skipped: &[Skipped]) -> String {
    let folders = skipped.iter().filter(|s| root.join(&s.path).is_dir()).count();
    let files = skipped.iter().filter(|s| s.path.ends_with(".parquet") && root.join(&s.path).is_file()).count();
    let kinds = [(folders, "folder"), (files, "file"), (skipped.len() - folders - files, "image")];
    let kinds = kinds.into_iter().filter(|(count, _)| *count > 0);
    let texts = kinds.map(|(count, kind)| format!("{count} {kind}{}", if count == 1 { "" } else { "s" }));
    texts.collect::<Vec<_>>().join(" and ")
}

/// For a shell, where the text needs it.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    if text.chars().all(plain) { text.into() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
