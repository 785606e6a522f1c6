//! What is drawn, in the units of the page.

use super::map::round;
use crate::metrics::calibration::Bin;
use crate::report::{images, precise, short};
use serde::Serialize;
use serde_json::Value;

/// A bar of the reliability diagram: how often right, how far from what it should be, and how many.
#[derive(Serialize)]
pub(super) struct Bar {
    x: f64,
    width: f64,
    /// How often right.
    y: f64,
    low_y: f64,
    low_height: f64,
    gap_y: f64,
    gap_height: f64,
    n_y: f64,
    n_height: f64,
    title: String,
}

/// The diagram, and the same as numbers.
#[derive(Serialize)]
pub(super) struct Reliability {
    bins: Vec<Bar>,
    rows: Vec<Bin>,
}

/// 300 units for 0 to 1, from (40, 310) up; below it 60 for the largest count, from 400 up.
pub(super) fn reliability(m: &Value) -> Option<Reliability> {
    let bins: Vec<Bin> = serde_json::from_value(m["reliability"].clone()).ok()?;
    let rows: Vec<Bin> = bins.into_iter().filter(|bin| bin.n > 0).collect();
    let most = rows.iter().map(|bin| bin.n).max()? as f64;
    let bar = |bin: &Bin| {
        let (high, low) = (bin.accuracy.max(bin.confidence), bin.accuracy.min(bin.confidence));
        let n_height = round(60. * bin.n as f64 / most);
        Bar {
            x: round(40. + 300. * bin.low + 1.),
            width: round(300. * (bin.high - bin.low) - 2.),
            y: round(310. - 300. * bin.accuracy),
            low_y: round(310. - 300. * low),
            low_height: round(300. * low),
            gap_y: round(310. - 300. * high),
            gap_height: round(300. * (high - low)),
            n_y: 400. - n_height,
            n_height,
            title: format!("{:.3} sure, {:.3} right, {}", bin.confidence, bin.accuracy, images(bin.n as usize)),
        }
    };
    Some(Reliability { bins: rows.iter().map(bar).collect(), rows })
}

/// Lines over a common axis.
#[derive(Serialize)]
pub(super) struct Curve {
    title: String,
    x: String,
    y: String,
    series: Vec<Series>,
    low: String,
    high: String,
    first: String,
    last: String,
}

#[derive(Serialize)]
struct Series {
    name: String,
    points: String,
    band: String,
}

/// A line's name, its points, and how far it may be off at each of them, if that is known.
type Line<'a> = (&'a str, Vec<(f64, f64)>, Vec<f64>);

/// Lines in the rectangle from (55, 15) to (440, 250), with bands where they may be.
fn curve([title, x, y]: [&str; 3], lines: Vec<Line>) -> Option<Curve> {
    let lines: Vec<Line> = lines.into_iter().filter(|(_, points, _)| points.len() > 1).collect();
    let band = |(_, points, off): &Line| {
        let edge = |sign: f64| points.iter().zip(off).map(move |(&(x, y), e)| (x, y + sign * e)).collect::<Vec<_>>();
        edge(1.).into_iter().chain(edge(-1.).into_iter().rev()).collect::<Vec<_>>()
    };
    let bands: Vec<Vec<(f64, f64)>> = lines.iter().map(band).collect();
    let all = || lines.iter().flat_map(|(_, points, _)| points).chain(bands.iter().flatten());
    let range = |of: fn(&(f64, f64)) -> f64| {
        let fold = |(low, high): (f64, f64), v: f64| (low.min(v), high.max(v));
        all().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), fold)
    };
    let ((left, right), (low, high)) = (range(|p| p.0), range(|p| p.1));
    if !(left < right && low.is_finite() && high.is_finite()) {
        return None;
    }
    let height = if high > low { high - low } else { 1. };
    let place = |&(x, y): &(f64, f64)| {
        format!("{},{}", round(55. + 385. * (x - left) / (right - left)), round(250. - 235. * (y - low) / height))
    };
    let path = |points: &[(f64, f64)]| points.iter().map(place).collect::<Vec<_>>().join(" ");
    let named = |((name, points, _), band): (&Line, &Vec<(f64, f64)>)| Series {
        name: (*name).into(),
        points: path(points),
        band: path(band),
    };
    let series = lines.iter().zip(&bands).map(named).collect();
    Some(Curve {
        title: title.into(),
        x: x.into(),
        y: y.into(),
        series,
        low: short(low),
        high: short(high),
        first: short(left),
        last: short(right),
    })
}

/// A column of a list of rows over another; rows without numbers are left out.
fn column(rows: &Value, x: &str, y: &str) -> Vec<(f64, f64)> {
    let rows = rows.as_array().into_iter().flatten();
    rows.filter_map(|row| Some((row[x].as_f64()?, row[y].as_f64()?))).collect()
}

/// Losses and accuracies of the epochs.
pub(super) fn training(epochs: &Value) -> Vec<Curve> {
    let lines = |kind: &str| {
        let line = |split| (split, column(epochs, "epoch", &format!("{split}_{kind}")), Vec::new());
        Vec::from(["train", "val"].map(line))
    };
    let loss = curve(["Loss by epoch", "epoch", "loss"], lines("loss"));
    let accuracy = curve(["Accuracy by epoch", "epoch", "accuracy"], lines("accuracy"));
    loss.into_iter().chain(accuracy).collect()
}

/// The learning curve: what was measured, and what more images are expected to bring.
pub(super) fn learning(found: &Value) -> Option<Curve> {
    let points = |name: &str, y: &str| column(&found[name], "images", y);
    // What is expected goes on from the last that was measured.
    let on = |y: &str| {
        let measured = points("points", y);
        let expected = measured.last().copied().into_iter().chain(points("expected", y)).collect();
        [measured, expected]
    };
    let off = on("std_err").map(|points: Vec<_>| points.into_iter().map(|(_, error)| error).collect());
    let figures = [("accuracy", "accuracy"), ("average_precision", "mean average precision"), ("r2", "R²")];
    let (key, name) = figures.into_iter().find(|(key, _)| found["points"][0][*key].is_number())?;
    let [measured, expected] = on(key);
    let [near, far] = off;
    let words = ["More images, and what they bring; the bands are one standard error", "training images", name];
    curve(words, vec![("measured", measured, near), ("expected", expected, far)])
}

/// Predicted values over true ones.
#[derive(Serialize)]
pub(super) struct Scatter {
    title: String,
    low: String,
    high: String,
    points: Vec<(f64, f64, String)>,
}

/// Points (true, predicted, what it is) in the square from (55, 15) to (355, 315), of one scale both ways.
pub(super) fn scatter(title: &str, points: Vec<(f64, f64, String)>) -> Option<Scatter> {
    let values = || points.iter().flat_map(|point| [point.0, point.1]);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if !(low < high && low.is_finite() && high.is_finite()) {
        return None;
    }
    let share = |value: f64| 300. * (value - low) / (high - low);
    let point = |(x, y, what): &(f64, f64, String)| {
        (
            round(55. + share(*x)),
            round(315. - share(*y)),
            format!("{what}: is {}, predicted {}", precise(*x), precise(*y)),
        )
    };
    let [low, high] = [low, high].map(short);
    Some(Scatter { title: title.into(), low, high, points: points.iter().map(point).collect() })
}
