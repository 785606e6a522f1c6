//! What the audit finds of what is planted, and what it lets pass.

use crate::common;
use adapt::audit::near::Pair;
use adapt::audit::{
    Audit, Finding, Kind, align, copies, imbalance, neighbours, outliers, shortcut, showing_nothing, suspects,
};
use adapt::data::facts::{AREA, Facts, SIDE, VALUES};
use adapt::data::{Dataset, Item, Pixels, ReadOptions, Reduced, Split};
use adapt::progress::silent;
use adapt::{Plan, builtin};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};
use ndarray::Array2;
use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;

const CLASSES: usize = 4;

/// Fixture images of four classes in `train` and `test`, and what is wrong with some: copies (which of what) and changed
/// labels.
fn planted(folder: &Path) -> (Vec<(String, String)>, HashSet<String>) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fashion");
    let (mut copies, mut changed) = (Vec::new(), HashSet::new());
    let classes = ["bag", "dress", "sneaker", "trouser"];
    for (split, keep) in [("train", 40), ("test", 20)] {
        for (label, class) in classes.iter().enumerate() {
            let mut files: Vec<_> =
                fs::read_dir(fixtures.join(split).join(class)).unwrap().map(|e| e.unwrap()).collect();
            files.sort_by_key(|file| file.file_name());
            for (i, file) in files.iter().take(keep).enumerate() {
                let flip = split == "train" && i % 20 == 7;
                let own = classes[(label + usize::from(flip)) % CLASSES];
                let path = format!("{split}/{own}/{class}-{i:02}.png");
                let place = folder.join(&path);
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::copy(file.path(), &place).unwrap();
                if flip {
                    changed.insert(path);
                } else if i % 10 == 3 {
                    let copy = format!("train/{class}/copy-{split}-{i}.{}", ["jpg", "png", "bmp"][(i / 10) % 3]);
                    change(&image::open(&place).unwrap(), i / 10, &folder.join(&copy));
                    copies.push((copy, path));
                }
            }
        }
    }
    (copies, changed)
}

/// Compressed, enlarged and cropped, cropped, or stored in another format.
fn change(image: &DynamicImage, how: usize, to: &Path) {
    let resized = |image: &DynamicImage, side| image.resize_exact(side, side, FilterType::CatmullRom);
    match how {
        0 => image.write_with_encoder(JpegEncoder::new_with_quality(File::create(to).unwrap(), 60)).unwrap(),
        1 => resized(&image.crop_imm(1, 0, 27, 27), 50).save(to).unwrap(),
        2 => DynamicImage::ImageRgb8(image.to_rgb8()).save(to).unwrap(),
        _ => image.crop_imm(0, 1, 26, 27).save_with_format(to, image::ImageFormat::Png).unwrap(),
    }
}

#[test]
fn what_is_planted_is_found() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let (copies, changed) = planted(folder);
    GrayImage::from_pixel(28, 28, Luma([200])).save(folder.join("train/bag/blank.png")).unwrap();
    image::open(folder.join("train/bag/bag-00.png"))
        .unwrap()
        .thumbnail(3, 3)
        .save(folder.join("train/bag/tiny.png"))
        .unwrap();
    fs::copy(folder.join("train/bag/bag-01.png"), folder.join("train/dress/conflict.png")).unwrap();
    let whole = fs::read(folder.join("train/bag/bag-02.png")).unwrap();
    fs::write(folder.join("train/bag/half.png"), &whole[..whole.len() / 2]).unwrap();

    let data = Dataset::read(folder, &ReadOptions::new(0., 0), &silent).unwrap();
    let mut model = builtin().unwrap();
    let backend = common::onnx_runtime();
    let (_, mut extractor) = Plan::prepare(&mut model, &backend, &Default::default(), &silent).unwrap();
    let audit = Audit::of(&data, &mut extractor, 0, &silent).unwrap();
    let of = |kind: Kind| audit.findings.iter().filter(move |finding| finding.kind == kind).collect::<Vec<&Finding>>();

    let (leaks, duplicates) = (of(Kind::Leak), of(Kind::Duplicate));
    let missed: Vec<_> = copies
        .iter()
        .filter(|(copy, own)| match own.starts_with("test") {
            true => !leaks.iter().any(|f| f.path == *copy && f.suggestion == *own && f.split == Split::Train),
            false => !duplicates
                .iter()
                .any(|f| [&f.path, &f.suggestion] == [copy, own] || [&f.suggestion, &f.path] == [copy, own]),
        })
        .collect();
    assert!(missed.len() <= 1 && copies.len() == 24, "{missed:?}");
    let planted: HashSet<&str> = copies.iter().flat_map(|(copy, own)| [copy.as_str(), own]).collect();
    let others = leaks.iter().chain(&duplicates).filter(|finding| !planted.contains(finding.path.as_str()));
    assert_eq!(others.map(|f| (&f.path, &f.suggestion)).collect::<Vec<_>>(), []);

    let conflicts: Vec<_> = of(Kind::Conflict).iter().map(|f| (&*f.path, &*f.suggestion)).collect();
    let pair = ("train/bag/bag-01.png", "train/dress/conflict.png");
    assert_eq!(conflicts, [pair, (pair.1, pair.0)]);
    let suspects = of(Kind::Suspect);
    let found = suspects.iter().take(data.items.len() / 10).filter(|f| changed.contains(&f.path)).count();
    assert!(found >= 7 && changed.len() == 8 && suspects.len() < 24, "{found} {} {}", changed.len(), suspects.len());
    let first = |kind| of(kind).iter().map(|f| (f.path.clone(), f.suggestion.clone())).collect::<Vec<_>>();
    assert_eq!(first(Kind::Blank), [("train/bag/blank.png".into(), "one colour all over".into())]);
    assert_eq!(first(Kind::Tiny), [("train/bag/tiny.png".into(), "3x3 pixels".into())]);
    assert_eq!(first(Kind::Unreadable)[0].0, "train/bag/half.png");
    assert!(audit.notes.iter().all(|note| note.contains("colour alone")), "{:?}", audit.notes);

    // A row an image, the worst first, and the same again.
    let rows = audit.rows(&data);
    assert_eq!(rows.len(), data.items.len());
    assert!(rows[0].kind.starts_with("leak") && rows.last().unwrap().kind.is_empty());
    assert_eq!(Audit::of(&data, &mut extractor, 0, &silent).unwrap(), audit);
}

#[test]
fn a_conflict_among_training_images_is_told_before_one_with_others() {
    let item = |path: &str, label, split| Item { path: path.into(), label, split };
    let items = [item("x", 0, Split::Train), item("y", 1, Split::Test), item("z", 1, Split::Train)];
    let pair = |places, residual| Pair { places, exact: residual == 0., hash: 1., residual, reference: 0. };
    let classes = ["a".to_string(), "b".into()];
    let found = |pairs: &[Pair]| {
        let found = copies(&classes, &items.iter().collect::<Vec<_>>(), pairs);
        let own = found.into_iter().filter(|finding| finding.kind == Kind::Conflict);
        own.map(|finding| (finding.path, finding.suggestion, finding.other.unwrap())).collect::<Vec<_>>()
    };
    let named = |path: &str, other: &str, split| (path.to_string(), other.to_string(), split);
    let [train, test] = [Split::Train, Split::Test];
    // The nearer copy is there to test.
    let both = [pair([0, 1], 0.), pair([0, 2], 1e-3)];
    assert_eq!(found(&both), [named("x", "z", train), named("y", "x", train), named("z", "x", train)]);
    assert_eq!(found(&both[..1]), [named("x", "y", test), named("y", "x", train)]);
}

#[test]
fn what_pixels_tell_can_be_kept_as_values() {
    let image = RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 6) as u8, (y * 8) as u8, (x * y) as u8]));
    let facts = Facts::of(&Reduced::from(Pixels::Rgb(image)), "jpg".into()).unwrap();
    let values = facts.values();
    assert_eq!((values.len(), facts.size, facts.border[0]), (VALUES, [30, 40], 117.));
    assert!(values.iter().all(|value| value.fract() == 0. && (0. ..16_777_216.).contains(value)));
    assert_eq!(Facts::from_values(&values).as_ref(), Some(&facts));
    assert_eq!(Facts::from_values(&values[1..]), None);
}

#[test]
fn alignment_undoes_crops_and_nothing_else() {
    let draw = |shift: f32, scale: f32, contrast: f32| -> [u8; AREA] {
        std::array::from_fn(|i| {
            let [y, x] = [i / SIDE, i % SIDE].map(|v| (v as f32 - 15.5) * scale + shift);
            let waves = (0.31 * x + 0.17 * y).sin() + (0.23 * x - 0.41 * y + 1.).cos();
            (128. + 40. * contrast * waves) as u8
        })
    };
    let original = draw(0., 1., 1.);
    assert!(align::residual(&original, &original) < 1e-6);
    for copy in [draw(1.7, 1., 1.), draw(0.5, 0.93, 1.), draw(-1., 1.05, 1.05)] {
        assert!(align::residual(&original, &copy) < 2e-3, "{}", align::residual(&original, &copy));
        assert_eq!(align::residual(&original, &copy), align::residual(&copy, &original));
    }
    for other in
        [draw(0., 1., 0.5), draw(0., 1., -1.), draw(0., 1.6, 1.), original.map(|v| v.saturating_add(30)), [7; AREA]]
    {
        assert!(align::residual(&original, &other) > 0.02, "{}", align::residual(&original, &other));
    }
}

#[test]
fn neighbours_are_the_nearest() {
    let mut random = adapt::random::stream(1, "test", 0, 0);
    let mut rows = Array2::from_shape_simple_fn((300, 7), || adapt::random::uniform(&mut random) as f32 - 0.5);
    let (copy, zero) = (rows.row(3).to_owned() * 2., 9);
    rows.row_mut(200).assign(&copy);
    rows.row_mut(zero).fill(0.);
    let found = neighbours::nearest(rows.view(), 5, "", &silent).unwrap();
    assert_eq!((found[3][0].place, found[200][0].place), (200, 3));
    for (i, list) in found.iter().enumerate() {
        let cosine = |j: usize| {
            let (a, b) = (rows.row(i), rows.row(j));
            a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt().max(1e-9)
        };
        let mut all: Vec<f32> = (0..300).filter(|&j| j != i).map(cosine).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        assert!(list.len() == 5 && list.iter().zip(&all).all(|(near, want)| (near.cosine - want).abs() < 1e-5), "{i}");
    }
    let across = neighbours::nearest_in(rows.view(), rows.view(), 1, "", &silent).unwrap();
    assert!(across.iter().enumerate().all(|(i, list)| i == zero || list[0].cosine > 0.9999), "each is its own");
    assert!(neighbours::nearest(rows.slice(ndarray::s![..1, ..]), 5, "", &silent).unwrap()[0].is_empty());
}

#[test]
fn confident_learning_counts_and_ranks() {
    // Class 2 has no images; images 0 and 5 have each other's labels.
    let labels = [0, 0, 0, 0, 1, 1, 1, 1, 1];
    let sure =
        |class: usize, p: f32| -> Vec<f32> { (0..3).map(|c| if c == class { p } else { (1. - p) / 2. }).collect() };
    let rows = [
        sure(1, 0.95),
        sure(0, 0.9),
        sure(0, 0.9),
        sure(0, 0.8),
        sure(1, 0.9),
        sure(0, 0.9),
        sure(1, 0.9),
        sure(1, 0.8),
        sure(1, 0.5),
    ];
    let judgement = suspects::judge(Array2::from_shape_vec((9, 3), rows.concat()).unwrap().view(), &labels);
    assert_eq!((&judgement.suspects[..], judgement.wrong), (&[0, 5][..], 2));
    assert_eq!((judgement.other[0], judgement.other[5]), (1, 0));
    assert!((judgement.quality[1] - (0.9 - 0.05 + 1.) / 2.).abs() < 1e-6);
    // Who knows nothing speaks for no other class.
    assert_eq!(suspects::judge(Array2::ones((9, 3)).view(), &labels).wrong, 0);
    // A class with a single image is left out of the folds.
    let rows = Array2::from_shape_fn((13, 2), |(i, j)| if i % 2 == j { 1f32 + i as f32 / 20. } else { 0. });
    let labels: Vec<usize> = (0..13).map(|i| if i == 12 { 2 } else { i % 2 }).collect();
    let told = suspects::out_of_fold(rows.view(), &labels, 3, 0, &silent).unwrap().unwrap();
    assert!(told.row(12) == ndarray::array![0.5, 0.5, 0.] && told[[0, 0]] > 0.5 && told[[1, 1]] > 0.5);
    assert!(suspects::out_of_fold(rows.view(), &[0; 13], 3, 0, &silent).unwrap().is_none());
}

#[test]
fn shortcuts_are_told() {
    let facts = |i: u32| {
        let side = 20 + 10 * (i % 2);
        let image = RgbImage::from_fn(side, 20, |x, y| Rgb([(x * 5 + i) as u8, (y * 9) as u8, (i * 37) as u8]));
        Facts::of(&Pixels::Rgb(image).into(), "png".into()).unwrap()
    };
    let (facts, labels): (Vec<_>, Vec<_>) = (0..60).map(|i| (facts(i), i as usize % 2)).unzip();
    let found = shortcut::probe(&facts, &labels, 2, 1000, 0, &silent).unwrap();
    let much: Vec<_> = found.iter().filter(|shortcut| shortcut.is_much()).map(|shortcut| shortcut.property).collect();
    assert!(much.contains(&"size") && !found.iter().any(|shortcut| shortcut.property == "format"), "{found:?}");
    let labels: Vec<usize> = (0..60).map(|i| i / 3 % 2).collect();
    let found = shortcut::probe(&facts, &labels, 2, 1000, 0, &silent).unwrap();
    assert!(found.iter().all(|shortcut| shortcut.property != "size" || !shortcut.is_much()), "{found:?}");
}

fn items(count: usize) -> Vec<Item> {
    (0..count).map(|i| Item { path: format!("{i}.png"), label: 0, split: Split::Train }).collect()
}

#[test]
fn blank_images_have_one_colour_in_every_pixel() {
    let page = RgbImage::from_fn(2000, 2000, |x, y| Rgb([if x.max(y) < 28 { 0 } else { 255 }; 3]));
    // Of the same brightness.
    let colours = RgbImage::from_fn(60, 60, |x, _| if x < 30 { Rgb([255, 0, 0]) } else { Rgb([0, 130, 0]) });
    let dark = RgbImage::from_fn(60, 60, |x, y| Rgb([20 + ((x * 7 + y * 13) % 5) as u8; 3]));
    let plain = RgbImage::from_pixel(60, 60, Rgb([10, 200, 30]));
    let facts = [page, colours, dark, plain].map(|image| Facts::of(&Pixels::Rgb(image).into(), "png".into()).unwrap());
    let items = items(4);
    let found = showing_nothing(&["a".into()], &items.iter().collect::<Vec<_>>(), &facts);
    let blank: Vec<&str> = found.iter().filter(|f| f.kind == Kind::Blank).map(|f| f.path.as_str()).collect();
    assert_eq!(blank, ["2.png", "3.png"]);
}

#[test]
fn outliers_are_far_from_all_others() {
    let mut random = adapt::random::stream(5, "test", 0, 0);
    let mut rows = Array2::from_shape_fn((80, 16), |(_, column)| {
        let centre = if column < 4 { 3. } else { 0. };
        centre + adapt::random::uniform(&mut random) as f32
    });
    let items = items(80);
    let found = |rows: &Array2<f32>| -> Vec<String> {
        let near = neighbours::nearest(rows.view(), 10, "", &silent).unwrap();
        let mut found = outliers(&["a".into()], &items.iter().collect::<Vec<_>>(), &near);
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        assert!(found.iter().all(|f| f.kind == Kind::Outlier && f.suggestion.contains("deviations farther")));
        found.into_iter().map(|f| f.path).collect()
    };
    assert_eq!(found(&rows), [""; 0]);
    for (image, column) in [(17, 9), (42, 12)] {
        rows.row_mut(image).fill(0.);
        rows[[image, column]] = if image == 17 { -4. } else { 4. };
    }
    assert_eq!(found(&rows), ["17.png", "42.png"]);
}

#[test]
fn unequal_classes_are_told() {
    let mut data = Dataset { classes: vec!["rare".into(), "usual".into()], ..Dataset::default() };
    let add = |data: &mut Dataset, label: usize, split: Split, count: usize| {
        let path = |i| format!("{label}{split}{i}");
        data.items.extend((0..count).map(|i| Item { path: path(i), label, split }));
    };
    add(&mut data, 0, Split::Train, 3);
    add(&mut data, 0, Split::Test, 30);
    add(&mut data, 1, Split::Train, 29);
    assert_eq!(imbalance(&data), None);
    add(&mut data, 1, Split::Train, 1);
    let told = imbalance(&data).unwrap();
    assert!(told.contains("'usual' has 30 training images, 'rare' 3"), "{told}");
}
