//! Figures as a person reads them.

use super::tables::table;
use adapt::error::printable;
use adapt::metrics::bootstrap::{FEWEST_DRAWN, Interval};
use adapt::metrics::{Classification, Figures, MultiLabel, Regression};
use adapt::report::precise;
use adapt::train::heads::Answered;
use std::fmt::Write;

/// `0.8050 (0.75–0.86)`, of a narrow interval `0.0022 (0.0007–0.0043)`.
pub fn with_interval(value: f64, interval: Option<&Interval>) -> String {
    let interval = interval.map(|[low, high]| {
        let digits = if high - low < 0.02 { 4 } else { 2 };
        format!(" ({low:.digits$}–{high:.digits$})")
    });
    format!("{value:.4}{}", interval.unwrap_or_default())
}

/// What stands in brackets, of splits with so many images and groups of them, and where nothing does.
pub fn brackets<'a>(splits: impl IntoIterator<Item = (&'a str, usize, Option<usize>)>) -> String {
    let (few, enough): (Vec<_>, Vec<_>) =
        splits.into_iter().partition(|(_, _, groups)| groups.is_some_and(|groups| groups < FEWEST_DRAWN));
    let whole = enough.iter().any(|(_, _, groups)| groups.is_some());
    let drawn = if whole { " (whole groups of images drawn anew)" } else { "" };
    let told = (!enough.is_empty()).then(|| format!("in brackets: 95 % intervals{drawn}"));
    let single = enough.iter().filter(|(_, images, groups)| groups.is_none() && *images < FEWEST_DRAWN);
    let shares: Vec<String> = single
        .map(|(name, images, _)| {
            format!("of {name} shares of images alone have one: {images} are fewer than {FEWEST_DRAWN}")
        })
        .collect();
    let none = few.into_iter().map(|(name, _, groups)| {
        let groups = match groups.unwrap_or_default() {
            1 => "1 group of images is".into(),
            groups => format!("{groups} groups of images are"),
        };
        format!("no intervals of {name}: {groups} fewer than {FEWEST_DRAWN}")
    });
    told.into_iter().chain(shares).chain(none).collect::<Vec<_>>().join("; ")
}

/// What is answered of a split by those that are sure enough.
pub fn answered(split: &str, told: &Answered) -> String {
    let right = told.precision.map(|share| format!(", {:.1} % of them rightly", 100. * share)).unwrap_or_default();
    let answered = told.coverage * told.images as f64;
    format!("abstain  {split}: {answered:.0} of {} images are answered{right}\n", told.images)
}

fn headline(name: &str, m: &Classification) -> Vec<String> {
    let figures = [
        ("accuracy", m.accuracy),
        ("", m.balanced_accuracy),
        ("", m.macro_precision),
        ("", m.macro_recall),
        ("macro_f1", m.macro_f1),
        ("", m.log_loss),
    ];
    let mut row = vec![name.to_string(), m.n.to_string()];
    row.extend(figures.map(|(name, v)| with_interval(v, m.intervals.get(name))));
    row
}

/// What the figures are to be compared with.
fn baseline(brackets: &str, m: &Classification) -> String {
    let b = &m.baseline;
    let class = printable(&b.class);
    let nearest = m
        .nearest_mean
        .map_or(String::new(), |n| format!("; the nearest class mean has {:.4}, {:.4}", n.accuracy, n.macro_f1));
    format!(
        "{brackets}; always '{class}', the commonest of these, would have accuracy {:.4}, macro-F1 {:.4}{nearest}\n",
        b.accuracy, b.macro_f1
    )
}

/// Figures of splits, a row each, and the classes, labels or targets of the last.
pub fn figures<'a>(splits: impl IntoIterator<Item = (&'a str, &'a Figures)>) -> String {
    let (mut classes, mut labels, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (name, figures) in splits {
        match figures {
            Figures::Classes(m) => classes.push((name, &**m)),
            Figures::Labels(m) => labels.push((name, m)),
            Figures::Values(m) => values.push((name, m)),
        }
    }
    let texts = [(classes.is_empty(), of_classes(&classes)), (labels.is_empty(), of_labels(&labels))];
    let texts = texts.into_iter().chain([(values.is_empty(), of_values(&values))]);
    texts.filter(|(none, _)| !none).map(|(_, text)| text).collect()
}

/// Of several labels.
fn of_labels(splits: &[(&str, &MultiLabel)]) -> String {
    let row = |&(name, m): &(&str, &MultiLabel)| {
        let with = |name: &str, value: f64| with_interval(value, m.intervals.get(name));
        let precision = m.average_precision.map_or("-".into(), |value| with("average_precision", value));
        let figures = [with("micro_f1", m.micro_f1), with("macro_f1", m.macro_f1), precision];
        let others = [m.subset_accuracy, m.hamming_loss, m.log_loss].map(|value| format!("{value:.4}"));
        [vec![name.to_string(), m.n.to_string()], figures.to_vec(), others.to_vec()].concat()
    };
    let header = ["", "images", "micro-F1", "macro-F1", "mAP", "all right", "Hamming loss", "log-loss"];
    let mut text = table(&header, 1, splits.iter().map(row));
    let Some((name, m)) = splits.last() else { return text };
    let b = &m.baseline;
    let _ = writeln!(
        text,
        "{}; always the labels of half of the images or more: micro-F1 {:.4}, macro-F1 {:.4}, Hamming loss {:.4}\n",
        brackets(splits.iter().map(|(name, m)| (*name, m.n, m.groups))),
        b.micro_f1,
        b.macro_f1,
        b.hamming_loss
    );
    let rows = m.per_label.iter().map(|l| {
        let areas = [l.average_precision, l.roc_auc].map(|area| area.map_or("-".into(), |area| format!("{area:.3}")));
        let figures = [l.precision, l.recall, l.f1].map(|v| format!("{v:.3}"));
        [vec![l.label.clone(), l.support.to_string()], figures.to_vec(), areas.to_vec()].concat()
    });
    let title = format!("{name}, by label");
    text + &table(&[&title, "images", "precision", "recall", "F1", "AP", "ROC-AUC"], 1, rows)
}

/// Of numbers.
fn of_values(splits: &[(&str, &Regression)]) -> String {
    let row = |&(name, m): &(&str, &Regression)| {
        let with = |name: &str, value: f64| in_any_unit(value, m.intervals.get(name));
        vec![name.to_string(), m.n.to_string(), with("r2", m.r2), with("mae", m.mae), with("rmse", m.rmse)]
    };
    let header = ["R²", "mean absolute error", "root mean squared error"];
    let mut text = table(&[&["", "images"], &header[..]].concat(), 1, splits.iter().map(row));
    let Some((name, m)) = splits.last() else { return text };
    let [mae, rmse] = [m.baseline.mae, m.baseline.rmse].map(precise);
    let brackets = brackets(splits.iter().map(|(name, m)| (*name, m.n, m.groups)));
    let _ = writeln!(text, "{brackets}; always the mean: {mae}, {rmse}");
    if m.per_target.len() > 1 {
        let rows = m.per_target.iter().map(|t| {
            let with = |name: &str, value: f64| in_any_unit(value, t.intervals.get(name));
            vec![t.target.clone(), with("r2", t.r2), with("mae", t.mae), with("rmse", t.rmse)]
        });
        let title = format!("{name}, by target");
        text = text + "\n" + &table(&[&[title.as_str()], &header[..]].concat(), 1, rows);
    }
    text
}

/// `1.234 (1.100–1.400)`, with as many digits as errors in any unit need.
pub fn in_any_unit(value: f64, interval: Option<&Interval>) -> String {
    let interval = interval.map(|[low, high]| format!(" ({}–{})", precise(*low), precise(*high)));
    precise(value) + &interval.unwrap_or_default()
}

/// Of classes.
fn of_classes(splits: &[(&str, &Classification)]) -> String {
    let header = ["", "images", "accuracy", "balanced", "precision", "recall", "macro-F1", "log-loss"];
    let mut text = table(&header, 1, splits.iter().map(|(name, m)| headline(name, m)));
    if let Some((name, m)) = splits.last() {
        let brackets = brackets(splits.iter().map(|(name, m)| (*name, m.n, m.groups)));
        let _ = write!(text, "{}\n{}\n{}", baseline(&brackets, m), by_class(name, m), confusion(m));
    }
    text
}

/// A row a class; of more than a screen's worth, those found worst.
fn by_class(name: &str, m: &Classification) -> String {
    const MOST: usize = 30;
    let mut classes: Vec<_> = m.per_class.iter().collect();
    let mut title = format!("{name}, by class");
    if classes.len() > MOST {
        classes.retain(|c| c.support > 0);
        classes.sort_by(|a, b| a.f1.total_cmp(&b.f1));
        classes.truncate(MOST);
        title = format!("{name}, the {} worst of {} classes", classes.len(), m.per_class.len());
    }
    let rows = classes.into_iter().map(|c| {
        let figures = [c.precision, c.recall, c.f1].map(|v| format!("{v:.3}"));
        [vec![c.class.clone(), c.support.to_string()], figures.to_vec()].concat()
    });
    table(&[&title, "images", "precision", "recall", "F1"], 1, rows)
}

/// Rows: true classes; columns: predicted ones. Left out where it would not fit on a screen.
fn confusion(m: &Classification) -> String {
    const WIDEST: usize = 20;
    let Some(confusion) = m.confusion.as_ref().filter(|rows| rows.len() <= WIDEST) else {
        let place = if m.confusion.is_some() { "to show; it is in the JSON" } else { "to keep" };
        return format!("confusion matrix of {0}x{0} classes: too large {place}\n", m.per_class.len());
    };
    let numbers: Vec<String> = (0..m.per_class.len()).map(|i| i.to_string()).collect();
    let header: Vec<&str> = std::iter::once("confusion").chain(numbers.iter().map(String::as_str)).collect();
    let rows = confusion.iter().enumerate().map(|(i, row)| {
        let label = format!("{i} {}", m.per_class[i].class);
        std::iter::once(label).chain(row.iter().map(|&n| if n == 0 { "·".into() } else { n.to_string() })).collect()
    });
    table(&header, 1, rows)
}
