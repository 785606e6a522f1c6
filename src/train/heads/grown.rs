//! How the figures of several labels, and of numbers, grow with the number of images.

use super::super::folds::{count, median, stratified};
use super::super::softmax::{Model, Rows, Truth};
use super::basis::Basis;
use super::curve::{Curve, FEW, LATE, LEAST, MANY, MOST_IMAGES, Point, Reached, SHARES, dealt};
use super::regressions::rows;
use super::{FOLDS, Wishes};
use crate::data::Task;
use crate::error::{Error, Result};
use crate::metrics::{Regression, average_precision};
use crate::progress::{Event, Progress, emit};
use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, Side};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

/// Why there is no curve.
const DEGENERATE: &str = "the features are too degenerate for a head";
const WORTHLESS: &str = "the head is no better than always the mean (R² is not above 0)";
const UNDEFINED: &str = "its figure is not defined for these images";
/// How many times the images of the median label numbers need: of a few a regression is chance.
const TIMES: usize = 5;
/// Blocks of images that are left out in turn, by which a figure's standard error is told.
const BLOCKS: usize = 10;

/// A head whose growth is asked for.
pub(super) struct Grown<'a> {
    pub(super) basis: &'a Basis,
    pub(super) task: Task,
    /// `[images, labels or targets]`
    pub(super) truths: ArrayView2<'a, f32>,
    /// That of all images.
    pub(super) strength: f64,
    /// The probabilities or values that heads give each image which learnt from all outside of its fold, or from all but it.
    pub(super) out_of_fold: ArrayView2<'a, f32>,
}

impl Grown<'_> {
    /// The curve: heads of that strength learn from growing parts of all images outside of each fold, or of five folds where there are
    /// none. Where there are too few images for three points, or too many, or time is up, or there is nothing that could grow, that.
    pub(super) fn curve(
        &self,
        fold: &[usize],
        wishes: &Wishes,
        in_time: &dyn Fn() -> bool,
        progress: Progress,
    ) -> Result<std::result::Result<Curve, &'static str>> {
        let (images, labels) = self.truths.dim();
        if images > MOST_IMAGES {
            return Ok(Err(MANY));
        }
        let alone = || stratified(&vec![0; images], FOLDS.min(images), wishes.seed);
        let own = if fold.is_empty() { alone() } else { fold.to_vec() };
        let order = dealt(images, wishes);
        let beside = if fold.is_empty() { 1 } else { images / count(fold) };
        let Some(last) = self.point(images - beside, self.out_of_fold, &order) else { return Ok(Err(UNDEFINED)) };
        if last.reached.value() <= 0. {
            return Ok(Err(WORTHLESS));
        }
        let outside = |f: usize| order.iter().copied().filter(|&i| own[i] != f).collect();
        let outside: Vec<Vec<usize>> = (0..count(&own)).map(outside).collect();
        let least = outside.iter().map(|places| self.least(places)).min().unwrap_or(0) as f64;
        let rows = match self.task {
            Task::Multilabel => Some(rows(self.basis.rows()?, Truth::Labels(self.truths), labels, &wishes.device)?),
            _ => None,
        };
        let (mut points, mut starts) = (Vec::new(), Vec::new());
        emit(progress, Event::Stage { name: "learning curve", total: SHARES.len() as u64 })?;
        for share in SHARES.into_iter().filter(|share| share * least >= LEAST) {
            if !in_time() {
                return Ok(Err(LATE));
            }
            let parts: Vec<&[usize]> =
                outside.iter().map(|places| &places[..(share * places.len() as f64) as usize]).collect();
            let told = match &rows {
                Some(rows) => self.logistic(rows, &parts, (&own, &mut starts), progress),
                None => self.ridge(&parts, &own, progress),
            };
            let told = match told {
                // No other is one of training (see `regression`).
                Err(Error::Train(_)) => return Ok(Err(DEGENERATE)),
                other => other?,
            };
            let size = parts.iter().map(|part| part.len()).sum::<usize>() / parts.len();
            let Some(point) = self.point(size, told.view(), &order) else { return Ok(Err(UNDEFINED)) };
            points.push(point);
            emit(progress, Event::Advance(1))?;
        }
        points.push(last);
        Ok(if points.len() < 3 { Err(FEW) } else { Ok(Curve::through(points, images, wishes.seed)) })
    }

    /// Images of the median label among those at `places`; of numbers a share of all.
    fn least(&self, places: &[usize]) -> usize {
        let images = |label: usize| places.iter().filter(|&&i| self.truths[[i, label]] > 0.5).count();
        match self.task {
            Task::Regression => places.len() / TIMES,
            _ => median((0..self.truths.ncols()).map(images).collect()),
        }
    }

    /// What such probabilities or values of all images reach, and its standard error by the jackknife over blocks of them in this
    /// order; `None` where it is not defined.
    fn point(&self, images: usize, told: ArrayView2<f32>, order: &[usize]) -> Option<Point> {
        let (n, blocks) = (order.len(), BLOCKS.min(order.len()));
        let without = |block: usize| {
            let left = (block * n / blocks)..((block + 1) * n / blocks);
            let rest: Vec<usize> = (0..n).filter(|place| !left.contains(place)).map(|place| order[place]).collect();
            self.figure(&rest, told)
        };
        let others: Vec<f64> = (0..blocks).into_par_iter().filter_map(without).collect();
        let (count, value) = (others.len() as f64, self.figure(order, told)?);
        let mean = others.iter().sum::<f64>() / count;
        let squares: f64 = others.iter().map(|other| (other - mean).powi(2)).sum();
        let reached = if self.task == Task::Regression { Reached::R2(value) } else { Reached::AveragePrecision(value) };
        // Where all is right, half an image may have been wrong.
        Some(Point { images, reached, std_err: ((count - 1.) / count * squares).sqrt().max(0.5 / n as f64) })
    }

    /// The mean average precision, or R², of the images at `places`.
    fn figure(&self, places: &[usize], told: ArrayView2<f32>) -> Option<f64> {
        let [truths, told] = [self.truths, told].map(|rows| rows.select(Axis(0), places));
        if self.task == Task::Regression {
            let names = vec![String::new(); truths.ncols()];
            return Regression::without_intervals(truths.view(), told.view(), &names).ok().map(|figures| figures.r2);
        }
        let of = |label: usize| {
            let own: Vec<bool> = truths.column(label).iter().map(|own| *own > 0.5).collect();
            average_precision(&own, &told.column(label).to_vec())
        };
        let defined: Vec<f64> = (0..truths.ncols()).filter_map(of).collect();
        (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64)
    }

    /// The probabilities that logistic regressions give the images of each fold which learnt from its part: they begin where those of
    /// smaller parts of the same images ended.
    fn logistic(
        &self,
        rows: &Rows,
        parts: &[&[usize]],
        (fold, starts): (&[usize], &mut Vec<Vec<f32>>),
        progress: Progress,
    ) -> Result<Array2<f32>> {
        let images = fold.len();
        let model = |part: &&[usize]| {
            let mut trains = vec![false; images];
            part.iter().for_each(|&i| trains[i] = true);
            rows.model(trains)
        };
        let mut models: Vec<Model> = parts.iter().map(model).collect();
        models.iter_mut().zip(starts.iter()).for_each(|(model, start)| model.parameters.clone_from(start));
        // The penalty stands against the sum of the losses, as in the folds.
        let l2 = |model: &Model| self.strength * images as f64 / model.count;
        let held = rows.solve_folds(&mut models, fold, l2, progress)?;
        *starts = models.into_iter().map(|model| model.parameters).collect();
        Ok(rows.out_of_fold(&held))
    }

    /// The values that ridge regressions give the images of each fold which learnt from its part.
    fn ridge(&self, parts: &[&[usize]], fold: &[usize], progress: Progress) -> Result<Array2<f32>> {
        let (rows, alpha) = (self.basis.rows()?, self.strength * fold.len() as f64);
        let mut told = Array2::zeros(self.truths.dim());
        for (f, part) in parts.iter().enumerate() {
            emit(progress, Event::Advance(0))?;
            let held: Vec<usize> = (0..fold.len()).filter(|&i| fold[i] == f).collect();
            let (centre, middle) = (means(rows, part), means(self.truths, part));
            let weight = regression(&around(rows, part, &centre), &around(self.truths, part, &middle), alpha)?;
            let values = around(rows, &held, &centre) * weight;
            for (i, &to) in held.iter().enumerate() {
                told.row_mut(to).iter_mut().enumerate().for_each(|(k, v)| *v = (values[(i, k)] + middle[k]) as f32);
            }
        }
        Ok(told)
    }
}

/// The columns' means of the rows at `places`.
fn means(rows: ArrayView2<f32>, places: &[usize]) -> Vec<f64> {
    let mut sums = vec![0.; rows.ncols()];
    for &i in places {
        sums.iter_mut().zip(rows.row(i)).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    sums.into_iter().map(|sum| sum / places.len() as f64).collect()
}

/// The rows at `places` less `centre`.
fn around(rows: ArrayView2<f32>, places: &[usize], centre: &[f64]) -> Mat<f64> {
    Mat::from_fn(places.len(), rows.ncols(), |i, j| f64::from(rows[[places[i], j]]) - centre[j])
}

/// (XᵀX + αI)⁻¹XᵀY = Xᵀ(XXᵀ + αI)⁻¹Y, by the smaller of the two inverses: \[coordinates, targets\]
fn regression(x: &Mat<f64>, y: &Mat<f64>, alpha: f64) -> Result<Mat<f64>> {
    let is_wide = x.nrows() < x.ncols();
    let mut products = if is_wide { x * x.transpose() } else { x.transpose() * x };
    (0..products.nrows()).for_each(|j| products[(j, j)] += alpha);
    let solver = Llt::new(products.as_ref(), Side::Lower).map_err(|_| Error::Train(DEGENERATE.into()))?;
    Ok(if is_wide { x.transpose() * solver.solve(y) } else { solver.solve(x.transpose() * y) })
}

#[cfg(test)]
mod tests {
    use super::super::super::path::cross_validate;
    use super::super::basis::Bases;
    use super::super::ridge::Ridge;
    use super::*;
    use crate::progress::silent;

    /// Of all images outside of the folds the heads are those of the cross-validation.
    #[test]
    fn the_whole_is_a_part_too() {
        let made = |(i, j): (usize, usize)| ((i * 7 + j * 13 + 1) as f32 * 12.9898).sin();
        let fold: Vec<usize> = (0..40).map(|i| i % 5).collect();
        let outside = |f: usize| (0..40).filter(|&i| fold[i] != f).collect();
        let outside: Vec<Vec<usize>> = (0..5).map(outside).collect();
        let parts: Vec<&[usize]> = outside.iter().map(Vec::as_slice).collect();
        // More images than features, and fewer.
        for features in [6, 60] {
            let x = Array2::from_shape_fn((40, features), made);
            let y = Array2::from_shape_fn((40, 2), |(i, k)| made((i, k + 90)) + x[[i, k]]);
            let basis = Bases::new(x.view(), &[features]).first(features).unwrap();
            let told = Array2::zeros((40, 2));
            let grown =
                |truths, task, strength| Grown { basis: &basis, task, truths, strength, out_of_fold: told.view() };
            let ridge = Ridge::new(&basis, y.view(), &silent).unwrap();
            let (_, errors) = ridge.folds_left_out(&[20.], &fold, &|| true, &|| Ok(())).unwrap();
            let found = grown(y.view(), Task::Regression, 0.5).ridge(&parts, &fold, &silent).unwrap();
            let far = (&found - &ridge.out_of_fold(&errors)).mapv(f32::abs);
            assert!(far.iter().all(|far| *far < 1e-4), "{far}");

            let labels = y.mapv(|value| f32::from(u8::from(value > 0.)));
            let rows = rows(basis.rows().unwrap(), Truth::Labels(labels.view()), 2, &Wishes::default().device).unwrap();
            let choice = cross_validate(&rows, &fold, (features, None), &|| true, &silent).unwrap().unwrap();
            let (grown, mut starts) = (grown(labels.view(), Task::Multilabel, choice.l2), Vec::new());
            let halves: Vec<&[usize]> = parts.iter().map(|part| &part[..16]).collect();
            let half = grown.logistic(&rows, &halves, (&fold, &mut starts), &silent).unwrap();
            let found = grown.logistic(&rows, &parts, (&fold, &mut starts), &silent).unwrap();
            let far = |told: &Array2<f32>| (told - &choice.out_of_fold).mapv(f32::abs).mean().unwrap();
            assert!(far(&found) < 0.01 && far(&half) > 0.02, "{} {}", far(&found), far(&half));
        }
    }

    #[test]
    fn a_curve_without_heads_says_why() {
        let x = Array2::from_shape_fn((40, 6), |(i, j)| ((i * 7 + j * 13 + 1) as f32 * 12.9898).sin());
        let (y, fold) = (x.slice(ndarray::s![.., ..1]).to_owned(), (0..40).map(|i| i % 5).collect::<Vec<_>>());
        let basis = Bases::new(x.view(), &[6]).first(6).unwrap();
        let curve = |strength| {
            let (truths, out_of_fold) = (y.view(), y.view());
            let grown = Grown { basis: &basis, task: Task::Regression, truths, strength, out_of_fold };
            grown.curve(&fold, &Wishes::default(), &|| true, &silent).unwrap().err()
        };
        // What takes away more than there is leaves nothing to solve.
        assert_eq!((curve(-100.), curve(0.1)), (Some(DEGENERATE), Some(FEW)));
    }
}
