//! Labels that are probably wrong, by confident learning: Northcutt, Jiang and Chuang, "Confident Learning: Estimating
//! Uncertainty in Dataset Labels" (2021), arXiv 1911.00068.

use crate::error::Result;
use crate::progress::{Event, Progress, emit};
use crate::train::{Options, softmax_out_of_fold, softmax_too_large};
use ndarray::{Array2, ArrayView2, Axis};

/// What out-of-fold probabilities say of the labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// How well each label fits: (p of the label − p of the best other class + 1) / 2, from 0, certainly wrong, to 1.
    pub quality: Vec<f32>,
    /// Each image's best other class.
    pub other: Vec<usize>,
    /// How many labels are wrong by the confident joint.
    pub wrong: usize,
    /// The images whose best other class is likelier than their label, from the worst on; the joint tells how many.
    pub suspects: Vec<usize>,
}

/// Judges `labels` by `probabilities` [images, classes] of models that did not learn from the image.
///
/// A class's threshold is the mean probability of it among the images that have its label. An image counts in the joint
/// where some class reaches its threshold, as one of the likeliest of these; each row of the joint is then scaled to the
/// number of images that have its label. What is off its diagonal is the number of wrong labels; which they are is told by
/// the normalised margin.
pub fn judge(probabilities: ArrayView2<f32>, labels: &[usize]) -> Judgement {
    let classes = probabilities.ncols();
    let (mut sums, mut counts) = (vec![0f64; classes], vec![0f64; classes]);
    for (row, &label) in probabilities.rows().into_iter().zip(labels) {
        sums[label] += f64::from(row[label]);
        counts[label] += 1.;
    }
    let thresholds: Vec<f32> = sums.iter().zip(&counts).map(|(sum, count)| (sum / count) as f32).collect();
    let mut judgement = Judgement { quality: Vec::new(), other: Vec::new(), wrong: 0, suspects: Vec::new() };
    // Of each label: images that are confidently something, and something else.
    let mut confident = vec![(0f64, 0f64); classes];
    for (row, &label) in probabilities.rows().into_iter().zip(labels) {
        let likeliest = |fits: &dyn Fn(usize) -> bool| {
            let fitting = (0..classes).filter(|&class| fits(class));
            fitting.reduce(|best, class| if row[class] > row[best] { class } else { best })
        };
        // A class without images has no threshold that could be reached: NaN.
        let fits = |class: usize| row[class] >= thresholds[class];
        if let Some(class) = likeliest(&fits) {
            let own = class == label || fits(label) && row[label] == row[class];
            confident[label].0 += 1.;
            confident[label].1 += f64::from(u8::from(!own));
        }
        let other = likeliest(&|class| class != label).unwrap_or(label);
        judgement.quality.push((row[label] - row[other] + 1.) / 2.);
        judgement.other.push(other);
    }
    let wrong = confident.iter().zip(&counts).filter(|((all, _), _)| *all > 0.);
    judgement.wrong = wrong.map(|((all, off), count)| off / all * count).sum::<f64>().round() as usize;
    let quality = &judgement.quality;
    let mut suspects: Vec<usize> = (0..labels.len()).filter(|&place| quality[place] < 0.5).collect();
    suspects.sort_by(|&a, &b| quality[a].total_cmp(&quality[b]));
    suspects.truncate(judgement.wrong);
    judgement.suspects = suspects;
    judgement
}

/// Every image's probabilities [images, classes] by a softmax regression that did not learn from it; `None` where fewer than
/// two classes have two images, and where it would take too much memory, which a warning says. Classes with one image or none
/// are left out: their probability is 0, and that of their images is spread evenly over the others.
///
/// # Errors
/// Those of [`softmax_out_of_fold`].
pub fn out_of_fold(
    rows: ArrayView2<f32>,
    labels: &[usize],
    classes: usize,
    seed: u64,
    progress: Progress,
) -> Result<Option<Array2<f32>>> {
    let mut counts = vec![0usize; classes];
    labels.iter().for_each(|&label| counts[label] += 1);
    let kept: Vec<usize> = (0..classes).filter(|&class| counts[class] > 1).collect();
    if kept.len() < 2 {
        return Ok(None);
    }
    if let Some(what) = softmax_too_large(labels.len(), rows.ncols(), kept.len()) {
        emit(progress, Event::Warning(&format!("{what}: which labels look wrong by it is not told")))?;
        return Ok(None);
    }
    let options = Options { seed, ..Options::default() };
    if kept.len() == classes {
        return softmax_out_of_fold(rows, labels, classes, &options, progress).map(Some);
    }
    let places: Vec<usize> = (0..labels.len()).filter(|&place| counts[labels[place]] > 1).collect();
    let new = |place: &usize| kept.binary_search(&labels[*place]).unwrap_or(0);
    let fewer: Vec<usize> = places.iter().map(new).collect();
    let rows = rows.select(Axis(0), &places);
    let found = softmax_out_of_fold(rows.view(), &fewer, kept.len(), &options, progress)?;
    let mut out = Array2::zeros((labels.len(), classes));
    for mut row in out.rows_mut() {
        kept.iter().for_each(|&class| row[class] = 1. / kept.len() as f32);
    }
    for (&place, from) in places.iter().zip(found.rows()) {
        kept.iter().zip(from).for_each(|(&class, &p)| out[[place, class]] = p);
    }
    Ok(Some(out))
}
