//! Variations of training images against Pillow, torchvision and PyTorch (tests/golden/make_augment.py).

use super::{resolve, run};
use adapt::data::augment::{Augment, Key, Level, Variation, preprocess_changed};
use adapt::data::{Jitter, Layout, Pixels, Preprocessing, Resize, decode};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/augment").join(name)
}

fn rows(name: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(golden(name)).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

fn load(name: &str) -> Pixels {
    decode(&golden(name)).unwrap()
}

fn numbers(row: &[String]) -> Vec<f64> {
    row.iter().map(|v| v.parse().unwrap()).collect()
}

fn whole(image: &Pixels) -> Variation {
    let crop = [0, 0, image.height(), image.width()];
    Variation { crop, flip: false, upside_down: false, degrees: 0.0, jitter: Jitter::NONE }
}

fn applied(variation: &Variation, image: &Pixels, p: &Preprocessing, layout: Layout) -> Vec<f32> {
    let mut out = vec![f32::NAN; p.channels() * p.size().0 as usize * p.size().1 as usize];
    variation.apply(image, p, layout, &mut out).unwrap();
    out
}

/// Pixels as they are, in this size.
fn raw(image: &Pixels, height: u32, width: u32, filter: &str) -> Preprocessing {
    let color = if image.channels() == 1 { "gray" } else { "rgb" };
    resolve(&format!("raw255,resize={height}x{width},crop=none,color={color},filter={filter}"))
}

fn largest(values: &[f32], expected: &[u8]) -> f32 {
    assert_eq!(values.len(), expected.len());
    values.iter().zip(expected).map(|(a, &b)| (a - f32::from(b)).abs()).fold(0.0, f32::max)
}

#[test]
fn without_a_change_it_is_the_resize() {
    for image in [load("source.png"), load("gray.png")] {
        for spec in ["imagenet", "caffe,filter=bicubic", "clip,color=gray", "raw01,color=rgba,filter=lanczos"] {
            let spec = format!("{spec},resize=40x31,crop=none");
            let p = resolve(&spec);
            for layout in [Layout::Nchw, Layout::Nhwc] {
                let expected = run(&image, &p, layout);
                assert_eq!(applied(&whole(&image), &image, &p, layout), expected, "{spec}");
                // Through the arithmetic of turning.
                let turned = Variation { degrees: 1e-9, ..whole(&image) };
                assert_eq!(applied(&turned, &image, &p, layout), expected, "{spec}");
                let flipped = applied(&Variation { flip: true, ..whole(&image) }, &image, &p, layout);
                let step = if layout == Layout::Nchw { 1 } else { p.channels() };
                let (row, there) = (&expected[..31 * step], |i: usize| (30 - i / step) * step + i % step);
                assert!((0..31 * step).all(|i| flipped[i] == row[there(i)]), "{spec}");
            }
        }
    }
}

#[test]
fn light_colours_and_turns_are_theirs() {
    let results = [load("changes.png"), load("grays.png")];
    let mut next = [0, 0];
    for row in rows("changes.csv") {
        let image = load(&format!("{}.png", row[0]));
        let [brightness, contrast, saturation, hue] = [1, 2, 3, 4].map(|i| row[i].parse().unwrap());
        let order: Vec<u8> = row[6].bytes().map(|digit| digit - b'0').collect();
        let jitter = Jitter { brightness, contrast, saturation, hue, order: order.try_into().unwrap() };
        let variation = Variation { degrees: row[5].parse().unwrap(), jitter, ..whole(&image) };
        let p = raw(&image, image.height(), image.width(), "bilinear");
        let ours = applied(&variation, &image, &p, Layout::Nhwc);
        let gray = usize::from(image.channels() == 1);
        let expected = &results[gray].values()[next[gray]..next[gray] + ours.len()];
        next[gray] += ours.len();
        // Pillow's arithmetic is followed to the bit; the others' is of another precision.
        let allowed = if hue == 0.0 && variation.degrees == 0.0 { 0.0 } else { 1.0 };
        assert!(largest(&ours, expected) <= allowed, "{row:?}: {}", largest(&ours, expected));
    }
    assert_eq!(next, [0, 1].map(|i| results[i].values().len()));
}

#[test]
fn crops_are_resized_as_in_pillow() {
    let (image, results) = (load("source.png"), load("boxes.png"));
    for (row, expected) in rows("boxes.csv").iter().zip(results.values().chunks_exact(9 * 13 * 3)) {
        let crop: Vec<u32> = row[1..].iter().map(|v| v.parse().unwrap()).collect();
        let variation = Variation { crop: crop.try_into().unwrap(), ..whole(&image) };
        let ours = applied(&variation, &image, &raw(&image, 9, 13, &row[0]), Layout::Nhwc);
        assert!(largest(&ours, expected) <= 1.0, "{row:?}: {}", largest(&ours, expected));
    }
    for crop in [[0, 0, 0, 1], [0, 0, 18, 24], [17, 0, 1, 1], [0, 20, 17, 5], [u32::MAX, 0, 2, 2]] {
        let (variation, p) = (Variation { crop, ..whole(&image) }, raw(&image, 2, 2, "bilinear"));
        assert!(variation.apply(&image, &p, Layout::Nchw, &mut [0.0; 12]).unwrap_err().contains("not inside"));
    }
}

#[test]
fn crops_are_drawn_as_in_torchvision() {
    let p = Preprocessing::imagenet(224, 224);
    for row in rows("draws.csv") {
        let row = numbers(&row);
        let (height, width) = (row[0] as u32, row[1] as u32);
        let level = if row[2] == 0.6 { Level::Light } else { Level::Strong };
        let draws = 20_000;
        let mut sums = [[0.0; 2]; 4];
        for i in 0..draws {
            let key = Key { seed: 1, epoch: 2, path: &i.to_string() };
            let [top, left, rows, columns] =
                Variation::draw(level.into(), (height, width), &p, key).crop.map(f64::from);
            let figures = [
                rows * columns / (row[0] * row[1]),
                (columns / rows).ln(),
                (top + rows / 2.0) / row[0],
                (left + columns / 2.0) / row[1],
            ];
            assert!(rows >= 1.0 && top + rows <= row[0] && columns >= 1.0 && left + columns <= row[1]);
            sums.iter_mut().zip(figures).for_each(|(sum, v)| *sum = [sum[0] + v, sum[1] + v * v]);
        }
        for (figure, [sum, squares]) in sums.into_iter().enumerate() {
            let (mean, theirs) = (sum / f64::from(draws), (row[3 + 2 * figure], row[4 + 2 * figure]));
            let deviation = (squares / f64::from(draws) - mean * mean).max(0.0).sqrt();
            // Four and a half standard errors of the difference of two such samples.
            let error = 4.5 * theirs.1 * (2.0 / f64::from(draws)).sqrt() + 1e-5;
            assert!((mean - theirs.0).abs() < error, "{row:?}, {figure}: {mean}");
            assert!((deviation - theirs.1).abs() < error + 1e-4, "{row:?}, {figure}: {deviation}");
        }
    }
}

#[test]
fn crops_keep_the_proportion_that_the_model_sees() {
    let ratio = |crop: [u32; 4]| f64::from(crop[3]) / f64::from(crop[2]);
    for (spec, base) in [("raw01,resize=64x64,crop=none", 4.0), ("raw01,resize=64,crop=40x80", 2.0)] {
        let p = resolve(spec);
        for i in 0..300 {
            let key = Key { seed: 0, epoch: i, path: "a" };
            let crop = Variation::draw(Level::Strong.into(), (1000, 4000), &p, key).crop;
            assert!((0.749..1.335).contains(&(ratio(crop) / base)), "{spec}: {crop:?}");
        }
    }
    let squeezed = Preprocessing { resize: Resize::Exact { height: 8, width: 8 }, crop: None, ..resolve("raw01") };
    for size in [(1, 1), (1, 5000), (65_000, 1), (0, 5), (5, 0), (0, 0)] {
        for p in [&squeezed, &Preprocessing::imagenet(8, 8)] {
            let key = Key { seed: 3, epoch: 0, path: "b" };
            let [top, left, rows, columns] = Variation::draw(Level::Strong.into(), size, p, key).crop;
            assert!(top + rows <= size.0 && left + columns <= size.1, "{size:?}");
        }
    }
}

#[test]
fn levels_are_what_they_say() {
    let p = Preprocessing::imagenet(224, 224);
    let draw = |how: Augment, epoch| Variation::draw(how, (28, 28), &p, Key { seed: 0, epoch, path: "x" });
    let (mut flips, mut orders) = (0, std::collections::BTreeSet::new());
    for epoch in 0..2000 {
        let (light, strong) = (draw(Level::Light.into(), epoch), draw(Level::Strong.into(), epoch));
        assert!(light.degrees == 0.0 && light.jitter == Jitter::NONE && strong.degrees.abs() <= 15.0);
        let Jitter { brightness, contrast, saturation, hue, order } = strong.jitter;
        assert!([brightness, contrast, saturation].iter().all(|v| (0.6..=1.4).contains(v)) && hue.abs() <= 0.05);
        flips += usize::from(light.flip);
        let mirrored = |hflip| draw(Augment { level: Level::Light, hflip, vflip: 0. }, epoch).flip;
        assert!(mirrored(1.0) && !mirrored(0.0));
        orders.insert(order);
    }
    assert!((900..1100).contains(&flips) && orders.len() == 24, "{flips} {}", orders.len());
    assert_eq!(draw(Level::None.into(), 0), Variation { crop: [0, 0, 28, 28], ..whole(&load("source.png")) });
}

#[test]
fn upside_down_is_the_rows_from_the_last_on() {
    let (image, p) = (load("source.png"), resolve("imagenet,resize=32,crop=28"));
    let values = |upside_down| {
        let mut out = vec![f32::NAN; 3 * 28 * 28];
        Variation { upside_down, ..whole(&image) }.apply(&image, &p, Layout::Nchw, &mut out).unwrap();
        out
    };
    let turned: Vec<f32> =
        values(false).chunks(28 * 28).flat_map(|map| map.chunks(28).rev()).flatten().copied().collect();
    assert!(values(true) == turned && values(false) != turned);
    let key = Key { seed: 0, epoch: 0, path: "x" };
    let draw = |vflip| Variation::draw(Augment { level: Level::Light, hflip: 0.5, vflip }, (28, 28), &p, key);
    // All else is drawn as without it.
    assert_eq!(draw(1.), Variation { upside_down: true, ..draw(0.) });
}

#[test]
fn values_depend_on_seed_epoch_and_path_alone() {
    let (image, p) = (load("source.png"), resolve("imagenet,resize=32,crop=28"));
    let values = |level: Level, seed, epoch, path: &str| {
        let mut out = vec![f32::NAN; 3 * 28 * 28];
        preprocess_changed(&image, &p, Layout::Nchw, level.into(), Key { seed, epoch, path }, &mut out).unwrap();
        out
    };
    assert_eq!(values(Level::None, 1, 1, "a"), run(&image, &p, Layout::Nchw));
    for level in [Level::Light, Level::Strong] {
        let first = values(level, 1, 1, "a");
        assert!(first.iter().all(|v| v.is_finite()));
        for (seed, epoch, path) in [(2, 1, "a"), (1, 2, "a"), (1, 1, "b")] {
            assert_ne!(values(level, seed, epoch, path), first);
        }
        let paths: Vec<String> = (0..64).map(|i| i.to_string()).collect();
        let together: Vec<_> = paths.par_iter().map(|path| values(level, 1, 1, path)).collect();
        assert!(paths.iter().zip(together).rev().all(|(path, found)| values(level, 1, 1, path) == found));
    }
    assert!(
        preprocess_changed(
            &image,
            &p,
            Layout::Nchw,
            Level::Light.into(),
            Key { seed: 0, epoch: 0, path: "" },
            &mut [0.0]
        )
        .is_err()
    );
}

#[test]
fn opacity_keeps_its_values() {
    let pixel = |x: u32, y: u32| image::Rgba([x as u8 * 9, y as u8 * 9, 90, 37]);
    let image = Pixels::Rgba(image::RgbaImage::from_fn(20, 20, pixel));
    let p = resolve("raw255,resize=20x20,crop=none,color=rgba");
    let jitter = Jitter { brightness: 0.7, contrast: 1.3, saturation: 0.6, hue: 0.1, ..Jitter::NONE };
    let out = applied(&Variation { jitter, degrees: 9.0, flip: true, ..whole(&image) }, &image, &p, Layout::Nchw);
    assert!(out[3 * 400..].iter().all(|&v| v == 37.0) && out[..3 * 400].iter().any(|&v| v != 90.0));
}
