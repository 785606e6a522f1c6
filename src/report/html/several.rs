//! The page's part for several labels an image, and for numbers.

use super::map::{Look, Map, Mark, RADIUS, hue};
use super::pictures::{POINTS, Shown, evenly};
use super::tables::{Class, Figure, Told, figure, large, named};
use super::{plots, shown};
use crate::data::{Split, Task};
use crate::metrics::{argmax, sigmoid};
use crate::report::recorded::Recorded;
use crate::report::{digits, short};
use ndarray::{Array1, Array2, Axis};
use serde::Serialize;
use serde_json::Value;

/// Images that are farthest off.
const WORST: usize = 24;
/// Plots: of more targets the first.
const PLOTS: usize = 12;
/// On the map of numbers: the radius of the smallest value's dot, how much larger the largest one's is, and the same of their
/// hues, from blue over violet to red.
const RADII: [f64; 2] = [2.5, 5.];
const HUES: [f64; 2] = [225., 130.];
/// Shares of the images whose values are in the legend.
const QUANTILES: [f64; 5] = [0., 0.25, 0.5, 0.75, 1.];

const LABELS: [Told; 11] = [
    ("micro_f1", "Micro F1", "F1 of all decisions taken together, a label for an image"),
    ("macro_f1", "Macro F1", "mean F1 of the labels, rare ones counting as much as common ones"),
    ("average_precision", "Mean average precision (mAP)", "of each label's probability, without a threshold"),
    ("roc_auc", "ROC-AUC", "of each label's probability, mean"),
    ("micro_precision", "Micro precision", "how often a label that is given is right, all decisions taken together"),
    ("micro_recall", "Micro recall", "how many of all labels are found, all decisions taken together"),
    ("macro_precision", "Macro precision", "how often a label that is given is right, mean of the labels"),
    ("macro_recall", "Macro recall", "how many of a label's images are found, mean of the labels"),
    ("subset_accuracy", "All labels right", "share of images with exactly their labels"),
    ("hamming_loss", "Hamming loss", "share of all decisions that are wrong; lower is better"),
    ("log_loss", "Log-loss", "nats a decision; lower is better"),
];
const VALUES: [Told; 3] = [
    ("r2", "R²", "share of the variance that is explained: 1 is perfect, 0 is always the mean"),
    ("mae", "Mean absolute error", "in the target's unit; lower is better"),
    ("rmse", "Root mean squared error", "the same, large errors weighing more; lower is better"),
];
/// Of several targets, whose units may be unlike.
const VALUES_OF_SEVERAL: [Told; 3] = [
    ("r2", "R², mean of the targets", VALUES[0].2),
    ("mae", "Mean absolute error, mean of the targets", "each in its target's unit; lower is better"),
    ("rmse", "Root mean squared error, mean of the targets", VALUES[2].2),
];
/// The keys of those that are shown large, of labels and of numbers.
const LARGE: [&str; 3] = ["micro_f1", "macro_f1", "average_precision"];
const LARGE_VALUES: [&str; 3] = ["r2", "mae", "rmse"];

/// The images of the split by which the run is judged.
pub(super) struct Several<'a> {
    recorded: &'a Recorded,
    split: Split,
    rows: Vec<usize>,
    /// Probabilities or values, where scores are stored: `[images, labels or targets]`
    given: Option<Array2<f32>>,
    /// By what distances are measured: targets by their deviations, labels alike.
    scale: Array1<f32>,
}

/// What the template shows.
#[derive(Serialize)]
pub(super) struct Page {
    regression: bool,
    tiles: Vec<Figure>,
    figures: Vec<Figure>,
    names: Vec<Class>,
    heads: &'static [&'static str],
    plots: Vec<plots::Scatter>,
    worst: Vec<Worst>,
}

/// An image that is far off.
#[derive(Serialize)]
struct Worst {
    id: usize,
    path: String,
    caption: String,
    shown: Option<[u32; 2]>,
    overlay: Option<[u32; 2]>,
}

impl<'a> Several<'a> {
    pub fn new(recorded: &'a Recorded, split: Split) -> Several<'a> {
        let rows: Vec<usize> = (0..recorded.held_out.len()).filter(|&i| recorded.held_out[i].split == split).collect();
        let given = recorded.scores.as_ref().map(|scores| match recorded.task {
            Task::Regression => scores.logits.clone(),
            _ => scores.logits.mapv(sigmoid),
        });
        let truths = recorded.truths.select(Axis(0), &rows);
        let scale = match recorded.task {
            // As heads have it: what never varies has no unit of its own.
            Task::Regression => {
                truths.std_axis(Axis(0), 0.).mapv(|deviation| if deviation > 0. { deviation } else { 1. })
            }
            _ => Array1::ones(truths.ncols()),
        };
        Several { recorded, split, rows, given: given.filter(|given| given.dim() == recorded.truths.dim()), scale }
    }

    /// The rows that are farthest from what they have, the worst first.
    fn worst_rows(&self) -> Vec<usize> {
        let Some(given) = &self.given else { return Vec::new() };
        let off = |row: usize| {
            let pairs = given.row(row).into_iter().zip(self.recorded.truths.row(row)).zip(&self.scale);
            pairs.map(|((a, b), scale)| f64::from((a - b).abs() / scale)).sum::<f64>()
        };
        let mut rows: Vec<(f64, usize)> = self.rows.iter().map(|&row| (off(row), row)).collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        rows.into_iter().take(WORST).map(|(_, row)| row).collect()
    }

    /// Rows and paths of the images that a picture is wanted of, the most wanted first.
    pub fn wanted(&self) -> Vec<(usize, &'a str)> {
        let rows = self.worst_rows().into_iter().chain(evenly(&self.rows, POINTS));
        rows.map(|row| (row, &*self.recorded.held_out[row].path)).collect()
    }

    /// The label or target that is farthest off for an image.
    fn farthest(&self, row: usize) -> Option<usize> {
        let off = &self.given.as_ref()?.row(row) - &self.recorded.truths.row(row);
        Some(argmax((off.mapv(f32::abs) / &self.scale).view()))
    }

    /// Rows of the list, each with the label that is farthest off.
    pub fn listed(&self) -> Vec<(usize, usize)> {
        self.worst_rows().into_iter().filter_map(|row| Some((row, self.farthest(row)?))).collect()
    }

    pub fn shown(&self, pictured: &Shown, other: Option<&Value>) -> Page {
        let m = &self.recorded.run["metrics"][self.split.to_string()];
        let regression = self.recorded.task == Task::Regression;
        let (rows, keys) = match (regression, self.recorded.classes.len()) {
            (true, 1) => (&VALUES[..], LARGE_VALUES),
            (true, _) => (&VALUES_OF_SEVERAL[..], LARGE_VALUES),
            (false, _) => (&LABELS[..], LARGE),
        };
        let all = rows.iter().map(|&row| figure(m, other, row)).filter(Figure::is_there);
        let (names, heads): (_, &[&str]) = match regression {
            true => (named(&m["per_target"], "target", &["r2", "mae", "rmse"]), &["R²", "Mean absolute error", "RMSE"]),
            false => {
                let keys = ["precision", "recall", "f1", "roc_auc", "average_precision"];
                let heads = &["Precision", "Recall", "F1", "ROC-AUC", "Average precision"];
                (named(&m["per_label"], "label", &keys), heads)
            }
        };
        let tiles = large(m, rows, &keys);
        let plots = if regression { self.plots() } else { Vec::new() };
        let worst = self.worst_rows().into_iter().map(|row| self.image(row, pictured)).collect();
        Page { regression, tiles, figures: all.collect(), names, heads, plots, worst }
    }

    fn image(&self, row: usize, pictured: &Shown) -> Worst {
        let overlay = pictured.overlays.get(&row).copied();
        // Of one target there is nothing else that a map could be of.
        let one = self.recorded.task == Task::Regression && self.recorded.classes.len() == 1;
        let of = overlay.and(self.farthest(row)).filter(|_| !one);
        let of = of.map_or(String::new(), |output| format!("; map of {}", shown(&self.recorded.classes[output])));
        let (path, caption) = (shown(&self.recorded.held_out[row].path), self.told(row) + &of);
        Worst { id: row, path, caption, shown: pictured.thumbs.get(&row).copied(), overlay }
    }

    /// What an image has, and what it is given.
    fn told(&self, row: usize) -> String {
        let image = &self.recorded.held_out[row];
        let values =
            |row: ndarray::ArrayView1<f32>| row.iter().map(|&v| digits(v.into(), 4)).collect::<Vec<_>>().join("; ");
        match (&self.given, self.recorded.task) {
            (Some(given), Task::Regression) => {
                let (own, given) = (values(self.recorded.truths.row(row)), values(given.row(row)));
                format!("is {own}, predicted {given}")
            }
            _ => {
                let named =
                    |text: &str| if text.is_empty() { "nothing".into() } else { shown(&text.replace(';', ", ")) };
                format!("has {}; given {}", named(&image.label), named(&image.predicted))
            }
        }
    }

    fn title(&self, row: usize) -> String {
        format!("{}: {}", shown(&self.recorded.held_out[row].path), self.told(row))
    }

    /// The images on a plane.
    pub fn map(&self, pictured: &Shown) -> Option<Map> {
        let rows = evenly(&self.rows, POINTS);
        match self.recorded.task {
            Task::Regression => self.map_of_values(&rows, pictured),
            _ => self.map_of_labels(&rows, pictured),
        }
    }

    /// In the colours of the first label that each image has.
    fn map_of_labels(&self, rows: &[usize], pictured: &Shown) -> Option<Map> {
        let (truths, given) = (&self.recorded.truths, self.given.as_ref()?);
        let has = |row: usize, label: usize| truths[[row, label]] > 0.5;
        let labels = 0..self.recorded.classes.len();
        let look = |row: usize| {
            let is_given = |label: usize| given[[row, label]] >= self.recorded.thresholds[label];
            let wrong = labels.clone().any(|label| is_given(label) != has(row, label));
            let first = labels.clone().find(|&label| has(row, label));
            Look { hue: first.map(hue), radius: RADIUS, wrong, title: self.title(row) }
        };
        let mut map = Map::new(self.recorded, rows, pictured, look)?;
        let names = if map.name(self.recorded, has) {
            " Names stand at or near the middles of all images with the label."
        } else {
            ""
        };
        let crosses = "crosses are images with a label too few or too many";
        map.colours = format!("Colours are the first label that an image has, grey is none; {crosses}.{names}");
        Some(map)
    }

    /// In the colours and sizes of the first target's values, by their places among all, so that a few far out leave the others
    /// apart.
    fn map_of_values(&self, rows: &[usize], pictured: &Shown) -> Option<Map> {
        let value = |row: usize| self.recorded.truths[[row, 0]];
        let mut sorted: Vec<f32> = rows.iter().map(|&row| value(row)).collect();
        sorted.sort_by(f32::total_cmp);
        let last = sorted.len().max(2) - 1;
        let look = |value: f32, title: String| {
            // The middle of the places of those that are equal.
            let places =
                [sorted.partition_point(|other| *other < value), sorted.partition_point(|other| *other <= value)];
            let share = (places.iter().sum::<usize>() - 1) as f64 / (2 * last) as f64;
            let radius = super::map::round(RADII[0] + RADII[1] * share);
            Look { hue: Some((HUES[0] + HUES[1] * share) as usize), radius, wrong: false, title }
        };
        let mut map = Map::new(self.recorded, rows, pictured, |row| look(value(row), self.title(row)))?;
        let mut values: Vec<f32> = QUANTILES.iter().map(|share| sorted[(share * last as f64) as usize]).collect();
        values.dedup();
        let mark = |(place, &value): (usize, &f32)| Mark {
            look: look(value, short(value.into())),
            x: 10. + 71. * place as f64,
        };
        map.legend = values.iter().enumerate().map(mark).collect();
        let name = shown(self.recorded.classes.first()?);
        map.colours = format!("The larger and redder a dot is, the larger is {name}, as the scale shows.");
        Some(map)
    }

    /// Predicted values against true ones, a plot a target.
    fn plots(&self) -> Vec<plots::Scatter> {
        let Some(given) = &self.given else { return Vec::new() };
        let rows = evenly(&self.rows, POINTS);
        let plot = |(target, name): (usize, &String)| {
            let points = rows.iter().map(|&row| (self.recorded.truths[[row, target]], given[[row, target]], row));
            let points =
                points.map(|(x, y, row)| (f64::from(x), f64::from(y), shown(&self.recorded.held_out[row].path)));
            plots::scatter(&shown(name), points.collect())
        };
        self.recorded.classes.iter().enumerate().take(PLOTS).filter_map(plot).collect()
    }
}
