//! The judged images on a plane, in the units of the page.

use super::engine::isolated;
use super::pictures::Shown;
use super::shown;
use crate::error::printable;
use crate::report::recorded::Recorded;
use serde::Serialize;

/// Names on a map; more would hide it.
const NAMED: usize = 30;
/// Characters of a name on a map.
const SHORT: usize = 18;
/// Sizes of the names' type: on a screen, and on a phone, where the plane is some 330 pixels wide.
const SIZES: [f64; 2] = [13., 27.];
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

/// The names in type of one size, each where no other one is.
#[derive(Serialize)]
struct Names {
    size: f64,
    names: Vec<Name>,
}

#[derive(Serialize)]
struct Name {
    name: String,
    /// All of it, where that is longer.
    whole: Option<String>,
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
    names: Vec<Names>,
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

    /// Names each class or label at or near the middle of the images that have it, where these are few enough; says whether they are.
    pub fn name(&mut self, recorded: &Recorded, has: impl Fn(usize, usize) -> bool) -> bool {
        let middle = |place: usize| {
            let own = self.points.iter().filter(|point| has(point.id, place));
            let sum = own.fold((0f64, 0f64, 0f64), |sum, point| (sum.0 + point.x, sum.1 + point.y, sum.2 + 1.));
            (sum.2 > 0.).then(|| [sum.0 / sum.2, sum.1 / sum.2])
        };
        let few = recorded.classes.len() <= NAMED;
        if few {
            let named = recorded.classes.iter().enumerate();
            let mut middles: Vec<_> = named.filter_map(|(place, name)| Some((&**name, middle(place)?))).collect();
            middles.sort_by(|a, b| a.1[1].total_cmp(&b.1[1]));
            self.names = SIZES.map(|size| Names { size, names: apart(&middles, size) }).into();
        }
        few
    }
}

/// Each name at its middle, or above or below it where an earlier one is; all of it on the plane.
fn apart(middles: &[(&str, [f64; 2])], size: f64) -> Vec<Name> {
    let mut placed: Vec<[f64; 3]> = Vec::new();
    let mut name = |&(name, [x, y]): &(&str, [f64; 2])| {
        let all = printable(name);
        let short = all.char_indices().nth(SHORT).map(|_| all.chars().take(SHORT - 1).collect::<String>() + "…");
        let whole = short.is_some().then(|| shown(name));
        let name = short.unwrap_or(all);
        // Of bold type; as wide as high in scripts such as Chinese.
        let ems: f64 = name.chars().map(|c| if c < '\u{1100}' { 0.6 } else { 1. }).sum();
        let half = size * ems / 2.;
        let x = x.clamp(half + 3., SIZE[0] - half - 3.);
        let free = |y: &f64| {
            let beside = |other: &[f64; 3]| (other[0] - x).abs() > half + other[2] || (other[1] - y).abs() > 1.2 * size;
            (size..SIZE[1] - 0.3 * size).contains(y) && placed.iter().all(beside)
        };
        let mut places = (0..SIZE[1] as usize).flat_map(|step| [y + step as f64, y - step as f64]);
        let y = places.find(free).unwrap_or(y);
        placed.push([x, y, half]);
        Name { name: isolated(name), whole, x: round(x), y: round(y) }
    };
    middles.iter().map(&mut name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_apart() {
        let names: Vec<String> = (0..30).map(|i| format!("a class whose name is long, {i}")).collect();
        let crowd: Vec<_> = names.iter().map(|name| (name.as_str(), [850., 300.])).collect();
        for size in SIZES {
            let placed = apart(&crowd[..20], size);
            assert!(placed.iter().all(|name| name.name == "a class whose nam…"), "{}", placed[0].name);
            assert_eq!(placed[3].whole.as_deref(), Some(names[3].as_str()));
            let mut heights: Vec<f64> = placed.iter().map(|name| name.y).collect();
            heights.sort_by(f64::total_cmp);
            // Of so many on one place not all have room in large type.
            let apart = heights.windows(2).filter(|pair| pair[1] - pair[0] > size).count();
            assert!(apart >= 15 && heights[0] >= size && heights[19] <= SIZE[1], "{size}: {heights:?}");
            assert!(placed.iter().all(|name| name.x + size * 0.3 * SHORT as f64 <= SIZE[0]));
        }
        let far = apart(&[("one", [200., 200.]), ("two", [600., 205.])], SIZES[1]);
        assert!(far[0].y == 200. && far[1].y == 205. && far[0].whole.is_none());
    }
}
