//! How well the audit finds what was planted: wrong labels, and copies in the training images of others and of test images.
//!
//! `cargo run --release --example audit -- [DATA] [SEED]`; DATA is any data set with images to test, as Fashion-MNIST's
//! files.

use adapt::audit::{Finding, Kind, copies, near, neighbours, suspects};
use adapt::data::{Dataset, Item, Pixels, ReadOptions, Split};
use adapt::engine::{Extractor, Rows};
use adapt::progress::silent;
use adapt::random::{ChaCha8Rng, below, stream};
use adapt::{Backend, Choice, Error, Plan, Result};
use image::imageops::FilterType;
use image::{DynamicImage, codecs::jpeg::JpegEncoder};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::Instant;
use std::{fs, io};

/// Of the images: labels that are changed, and copies that are added.
const SHARE: usize = 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().map_or("fixtures/fashion", String::as_str);
    let seed = arguments.get(1).and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let data = Dataset::read(Path::new(folder), &ReadOptions::new(0., 0), &silent)?;
    let mut model = adapt::builtin()?;
    let backend = Backend::resolve(Choice::Auto, None, false, &silent)?;
    let (_, mut extractor) = Plan::prepare(&mut model, &backend, &Default::default(), &silent)?;
    wrong_labels(&data, &mut extractor, seed)?;
    planted_copies(&data, &mut extractor, seed)
}

/// Gives a twentieth of the training images another label, and looks where these are in the ranking.
fn wrong_labels(data: &Dataset, extractor: &mut Extractor, seed: u64) -> Result<()> {
    let items: Vec<&Item> = data.split(Split::Train).collect();
    let paths: Vec<&str> = items.iter().map(|item| item.path.as_str()).collect();
    let found = extractor.run(&data.source, &paths, "", &silent)?;
    let mut labels: Vec<usize> = found.places.iter().map(|&place| items[place].label).collect();
    let (mut random, classes) = (stream(seed, "labels", 0, 0), data.classes.len());
    let changed = choose(&mut random, labels.len(), labels.len() / SHARE);
    for &place in &changed {
        labels[place] = (labels[place] + 1 + below(&mut random, classes - 1)) % classes;
    }
    let start = Instant::now();
    let told = suspects::out_of_fold(found.rows.view(), &labels, classes, 0, &silent)?.expect("classes of many images");
    let judgement = suspects::judge(told.view(), &labels);
    let seconds = start.elapsed().as_secs_f64();
    let mut ranking: Vec<usize> = (0..labels.len()).collect();
    ranking.sort_by(|&a, &b| judgement.quality[a].total_cmp(&judgement.quality[b]));
    let within = |list: &[usize]| list.iter().filter(|place| changed.contains(place)).count();
    let share = |found: usize| 100. * found as f64 / changed.len() as f64;
    println!("{} of {} labels changed, judged in {seconds:.1} s:", changed.len(), labels.len());
    for percent in [5, 10, 20] {
        let found = within(&ranking[..labels.len() * percent / 100]);
        println!("  in the first {percent:2} % of the ranking: {found} ({:.1} %)", share(found));
    }
    let found = within(&judgement.suspects);
    println!("  among the {} suspects: {found} ({:.1} %)", judgement.suspects.len(), share(found));
    Ok(())
}

/// `count` different numbers below `end`.
fn choose(random: &mut ChaCha8Rng, end: usize, count: usize) -> HashSet<usize> {
    let mut chosen = HashSet::new();
    while chosen.len() < count.min(end) {
        chosen.insert(below(random, end));
    }
    chosen
}

/// Adds changed copies of training and of test images to the training images, and looks which of them are found, and what
/// else is.
fn planted_copies(data: &Dataset, extractor: &mut Extractor, seed: u64) -> Result<()> {
    let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
    let mut random = stream(seed, "copies", 0, 0);
    let mut originals = HashMap::new();
    let train = data.split(Split::Train).count();
    for (split, from) in [(Split::Train, "train"), (Split::Test, "test")] {
        let items: Vec<&Item> = data.split(split).collect();
        let chosen = choose(&mut random, items.len(), train / SHARE);
        for (place, item) in items.iter().enumerate() {
            let class = format!("{:03}", item.label);
            let own = format!("{from}/{class}/{place:06}.png");
            let bytes = data.source.bytes(&item.path).map_err(|why| Error::data(&item.path, why))?;
            write(folder.path(), &own, &bytes)?;
            if chosen.contains(&place) {
                let pixels = data.source.decode(&item.path, false).map_err(|why| Error::data(&item.path, why))?;
                let (how, bytes) = changed(pixels, &mut random);
                let copy = format!("train/{class}/{from}-{place:06}.jpg");
                write(folder.path(), &copy, &bytes)?;
                originals.insert(copy, (own, how));
            }
        }
    }
    let data = Dataset::read(folder.path(), &ReadOptions::new(0., 0), &silent)?;
    let items: Vec<&Item> = data.items.iter().collect();
    let paths: Vec<&str> = items.iter().map(|item| item.path.as_str()).collect();
    extractor.look(true);
    let Rows { rows, facts, .. } = extractor.run(&data.source, &paths, "", &silent)?;
    assert_eq!((facts.len(), rows.nrows()), (items.len(), items.len()), "all images can be read");
    let start = Instant::now();
    let close = neighbours::nearest(rows.view(), near::CANDIDATES, "", &silent)?;
    let neighbours = start.elapsed().as_secs_f64();
    let pairs = near::compare(&facts, &close, &silent)?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} copies among {} images, compared in {seconds:.1} s, {neighbours:.1} of them for features:",
        originals.len(),
        items.len()
    );
    let own = |pair: &near::Pair| {
        let [a, b] = pair.places.map(|place| items[place].path.as_str());
        let is = |copy: &str, other: &str| originals.get(copy).is_some_and(|(own, _)| own == other);
        is(a, b) || is(b, a)
    };
    let candidates = pairs.iter().filter(|pair| own(pair)).count();
    println!("  compared with their originals: {candidates}");
    if let Ok(file) = std::env::var("PAIRS") {
        let lines = pairs
            .iter()
            .map(|p| format!("{},{},{},{},{}\n", u8::from(own(p)), u8::from(p.exact), p.hash, p.residual, p.reference));
        fs::write(&file, lines.collect::<String>()).map_err(Error::io(&file))?;
    }
    report(&copies(&data.classes, &items, &pairs), &originals, items.len());
    Ok(())
}

/// Counts what was found.
fn report(found: &[Finding], originals: &HashMap<String, (String, &'static str)>, images: usize) {
    let partners: HashMap<&str, Vec<&str>> = found.iter().fold(HashMap::new(), |mut all, finding| {
        all.entry(finding.path.as_str()).or_insert_with(Vec::new).push(finding.suggestion.as_str());
        all
    });
    let mut ways: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for (copy, (own, how)) in originals {
        let linked = |a: &str, b: &str| partners.get(a).is_some_and(|list| list.contains(&b));
        let counts = ways.entry(how).or_default();
        counts[0] += usize::from(linked(copy, own) || linked(own, copy));
        counts[1] += 1;
    }
    for (how, [found, all]) in &ways {
        println!("  {how}: {found} of {all}");
    }
    let right: usize = ways.values().map(|[found, _]| found).sum();
    let planted: HashSet<&str> = originals.iter().flat_map(|(copy, (own, _))| [copy.as_str(), own.as_str()]).collect();
    let others: Vec<&Finding> = found.iter().filter(|finding| !planted.contains(finding.path.as_str())).collect();
    let share = 100. * right as f64 / originals.len() as f64;
    let clean = 100. * others.len() as f64 / (images - planted.len()) as f64;
    println!(
        "  found: {right} of {} ({share:.1} %); others: {} ({clean:.2} % of the other images)",
        originals.len(),
        others.len()
    );
    let leaks = found.iter().filter(|finding| finding.kind == Kind::Leak).count();
    println!("  leaks among all findings: {leaks}");
    for finding in others.iter().take(20) {
        println!("  other: {} {} {} {:.4}", finding.kind, finding.path, finding.suggestion, finding.score);
    }
}

/// A copy that was compressed, resized, cropped, or all of that, as a JPEG or PNG file.
fn changed(image: Pixels, random: &mut ChaCha8Rng) -> (&'static str, Vec<u8>) {
    let image = match image {
        Pixels::Gray(gray) => DynamicImage::ImageLuma8(gray),
        Pixels::Rgb(rgb) => DynamicImage::ImageRgb8(rgb),
        Pixels::Rgba(rgba) => DynamicImage::ImageRgba8(rgba),
        Pixels::GrayAlpha(gray) => DynamicImage::ImageLumaA8(gray),
    };
    let mut between = |low: f64, high: f64| low + (high - low) * below(random, 1001) as f64 / 1000.;
    let quality = between(50., 95.) as u8;
    let factor = if between(0., 1.) < 0.3 { between(0.75, 1.) } else { between(1., 3.) };
    let cut: [f64; 4] = std::array::from_fn(|_| between(0., 0.05));
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    let crop = |image: &DynamicImage| {
        let [left, top, right, bottom] =
            [cut[0] * width, cut[1] * height, cut[2] * width, cut[3] * height].map(f64::round);
        let (w, h) = ((width - left - right) as u32, (height - top - bottom) as u32);
        // Something is to be cut off.
        let left = if (left, top, right, bottom) == (0., 0., 0., 0.) { 1 } else { left as u32 };
        image.crop_imm(left, top as u32, w.min(image.width() - left), h)
    };
    let resize = |image: &DynamicImage| {
        let side = |side: u32| ((f64::from(side) * factor) as u32).max(1);
        image.resize_exact(side(image.width()), side(image.height()), FilterType::CatmullRom)
    };
    let (how, image, jpeg) = match between(0., 6.) as usize {
        0 => ("compressed", image, true),
        1 => ("resized", resize(&image), false),
        2 => ("cropped", crop(&image), false),
        3 => ("cropped and resized", resize(&crop(&image)), false),
        4 => ("resized and compressed", resize(&image), true),
        _ => ("cropped, resized and compressed", resize(&crop(&image)), true),
    };
    let mut bytes = Vec::new();
    let written = match jpeg {
        true => image.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality)),
        false => image.write_to(&mut io::Cursor::new(&mut bytes), image::ImageFormat::Png),
    };
    written.expect("an image in memory can be written");
    (how, bytes)
}

fn write(folder: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(path);
    let parent = path.parent().unwrap_or(folder);
    fs::create_dir_all(parent).map_err(Error::io(parent))?;
    fs::write(&path, bytes).map_err(Error::io(&path))
}
