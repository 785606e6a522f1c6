//! How unlike the images that a head learned from an image is: the distance of its features from all classes.

use half::f16;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use std::collections::BTreeMap;

/// The share of images like the training images' whose score is at most the threshold.
pub const LIKE: f64 = 0.99;
/// Images by which the threshold is found.
const SAMPLE: usize = 10_000;

/// The classes' mean directions, and how far from them is too far.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlier {
    /// The mean of each class's features, each image's of length 1, with length 1: `[classes, features]`
    pub means: Array2<f32>,
    /// The score that [`LIKE`] of the training images do not exceed, each by the means of the others.
    pub threshold: f32,
}

impl Outlier {
    /// Of features `[images, features]`. Images of one of `groups`, where there are any, are left out together. `None` where
    /// no class would have others then.
    pub fn fit(features: ArrayView2<f32>, labels: &[usize], groups: &[usize], classes: usize) -> Option<Outlier> {
        let mut sums = Array2::<f64>::zeros((classes, features.ncols()));
        let (mut counts, mut parts) = (vec![0usize; classes], BTreeMap::<usize, Vec<usize>>::new());
        for (image, (row, &label)) in features.rows().into_iter().zip(labels).enumerate() {
            sums.row_mut(label).scaled_add(1., &direction(row));
            counts[label] += 1;
            parts.entry(groups.get(image).copied().unwrap_or(image)).or_default().push(image);
        }
        let mut outlier = Outlier { means: Array2::zeros(sums.dim()), threshold: 0. };
        for (mut to, sum) in outlier.means.rows_mut().into_iter().zip(sums.rows()) {
            // As they are stored.
            to.assign(&unit(sum.to_owned()).mapv(|value| f16::from_f64(value).to_f32()));
        }
        let every = labels.len().div_ceil(SAMPLE).max(1);
        let sample: Vec<usize> = (0..labels.len()).step_by(every).collect();
        let cosines = outlier.cosines(features.select(Axis(0), &sample).view());
        let (mut scores, mut left_out) = (Vec::new(), false);
        for images in parts.values().filter(|images| images.iter().any(|image| image % every == 0)) {
            let mut own = BTreeMap::<usize, (usize, Array1<f64>)>::new();
            for &image in images {
                let label = labels[image];
                let (count, sum) = own.entry(label).or_insert_with(|| (counts[label], sums.row(label).to_owned()));
                *count -= 1;
                sum.scaled_add(-1., &direction(features.row(image)));
            }
            left_out |= own.values().any(|(count, _)| *count > 0);
            // What is left of a class without others is rounding.
            let own: BTreeMap<usize, Array1<f64>> =
                own.into_iter().filter(|(_, (count, _))| *count > 0).map(|(k, (_, sum))| (k, unit(sum))).collect();
            for &image in images.iter().filter(|&image| image % every == 0) {
                let row = direction(features.row(image));
                let known = cosines.row(image / every);
                let of = |class: usize| own.get(&class).map_or(f64::from(known[class]), |mean| row.dot(mean));
                let others = (0..classes).filter(|class| *class != labels[image] || own.contains_key(class));
                scores.push(1. - others.map(of).fold(-1., f64::max));
            }
        }
        scores.sort_by(f64::total_cmp);
        let place = ((LIKE * scores.len() as f64).ceil() as usize).saturating_sub(1);
        outlier.threshold = *scores.get(place).filter(|_| left_out)? as f32;
        Some(outlier)
    }

    /// 1 − the largest cosine between each row of `[images, features]` and a class's mean: 0 to 2.
    pub fn scores(&self, features: ArrayView2<f32>) -> Vec<f32> {
        let cosines = self.cosines(features);
        cosines.rows().into_iter().map(|row| 1. - row.iter().copied().fold(-1., f32::max)).collect()
    }

    /// `[images, classes]`
    fn cosines(&self, features: ArrayView2<f32>) -> Array2<f32> {
        let mut rows = features.to_owned();
        for mut row in rows.rows_mut() {
            let own = direction(row.view());
            row.assign(&own.mapv(|value| value as f32));
        }
        rows.dot(&self.means.t())
    }
}

fn direction(row: ArrayView1<f32>) -> Array1<f64> {
    unit(row.mapv(f64::from))
}

/// With length 1, or 0 where it is nothing.
fn unit(row: Array1<f64>) -> Array1<f64> {
    let length = row.dot(&row).sqrt();
    if length > 0. { row / length } else { row }
}
