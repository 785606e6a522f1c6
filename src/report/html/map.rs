//! The judged images on a plane, in the units of the page.

use super::pictures::Shown;
use super::shown;
use crate::report::recorded::Recorded;
use serde::Serialize;

/// Names on a map; more would hide it.
const NAMED: usize = 30;
/// The plane's width and height, and what is left free at each edge.
const SIZE: [f64; 2] = [860., 560.];
const EDGE: f64 = 30.;
/// The radius of a dot that says nothing by it.
pub(super) const RADIUS: f64 = 4.5;

pub(super) fn round(value: f64) -> f64 {
    (value * 10.).round() / 10.
}

/// How an image is drawn, and what is told of it.
#[derive(Serialize)]
pub(super) struct Look {
    /// Its colour, in degrees; grey where `None`.
    pub hue: Option<usize>,
    pub radius: f64,
    /// A cross instead of a dot.
    pub wrong: bool,
    pub title: String,
}

/// A point of the map.
#[derive(Serialize)]
struct Point {
    id: usize,
    x: f64,
    y: f64,
    look: Look,
    shown: Option<[u32; 2]>,
    near: [f64; 2],
}

#[derive(Serialize)]
struct Name {
    name: String,
    x: f64,
    y: f64,
}

/// A dot of the legend, and the value that it stands for.
#[derive(Serialize)]
pub(super) struct Mark {
    pub look: Look,
    pub x: f64,
}

/// The images on a plane.
#[derive(Serialize)]
pub(super) struct Map {
    what: &'static str,
    points: Vec<Point>,
    names: Vec<Name>,
    /// What colours and forms say.
    pub colours: String,
    pub legend: Vec<Mark>,
    /// Points that have a picture.
    pictured: usize,
}

/// A hue for each class or label: neighbours get such that are far apart, multiples of the golden angle.
pub(super) fn hue(place: usize) -> usize {
    place * 137 % 360
}

impl Map {
    /// These rows of [`Recorded::held_out`]; `None` where the run has not stored where they lie, or where they are too few.
    pub fn new(recorded: &Recorded, rows: &[usize], pictured: &Shown, look: impl Fn(usize) -> Look) -> Option<Map> {
        let plane = &recorded.scores.as_ref()?.map;
        let range = |axis: usize| {
            let values = rows.iter().map(|&row| f64::from(plane[[row, axis]]));
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
        };
        let ranges = [range(0), range(1)];
        if rows.len() < 3 || !ranges.iter().all(|(low, high)| low.is_finite() && high.is_finite()) {
            return None;
        }
        let place = |row: usize, axis: usize| {
            let (low, high) = ranges[axis];
            let share = if high > low { (f64::from(plane[[row, axis]]) - low) / (high - low) } else { 0.5 };
            round(EDGE + share * (SIZE[axis] - 2. * EDGE))
        };
        let point = |&row: &usize| {
            let (x, y) = (place(row, 0), place(row, 1));
            let near = [(x + 8.).min(SIZE[0] - 98.), if y > 106. { y - 104. } else { y + 8. }];
            Point { id: row, x, y, look: look(row), shown: pictured.thumbs.get(&row).copied(), near }
        };
        let points: Vec<Point> = rows.iter().map(point).collect();
        let trained = recorded.run["training"].is_object();
        let what = if trained { "the scores of these images" } else { "the features of these images" };
        let pictured = points.iter().filter(|point| point.shown.is_some()).count();
        Some(Map { what, points, names: Vec::new(), colours: String::new(), legend: Vec::new(), pictured })
    }

    /// Names each class or label at the middle of the images that have it, where these are few enough; says whether they are.
    pub fn name(&mut self, recorded: &Recorded, has: impl Fn(usize, usize) -> bool) -> bool {
        let name = |(place, name): (usize, &String)| {
            let own = self.points.iter().filter(|point| has(point.id, place));
            let sum = own.fold((0f64, 0f64, 0f64), |sum, point| (sum.0 + point.x, sum.1 + point.y, sum.2 + 1.));
            (sum.2 > 0.).then(|| Name { name: shown(name), x: round(sum.0 / sum.2), y: round(sum.1 / sum.2) })
        };
        let few = recorded.classes.len() <= NAMED;
        if few {
            self.names = recorded.classes.iter().enumerate().filter_map(name).collect();
        }
        few
    }
}
