//! Heads on few images a class, many draws: `cargo run --release --example heads -- FOLDER [MODEL.onnx|rare]`.
//!
//! FOLDER has train/ and test/ with a folder a class in each. Rows: images a class; columns: mean test accuracy of each head
//! over ten draws of the training images, in percent, with its standard deviation; what `auto` has more than the best of the others, and
//! the standard error of that, paired over the draws; then the calibration error on the test images
//! before the temperature and with it, and behind a `/` what a head would have whose every probability is right (docs/heads.md);
//! and the same with the classes' shares among the test images as among those to train, where all are alike.
//!
//! With `rare` some classes have fewer images than the others, other ones in each draw. Columns: mean over the classes of the
//! share of their test images that is found, and behind the `/` macro-F1 on test images of which each class has such a share as of those
//! to train.

use adapt::data::ReadOptions;
use adapt::engine::Cache;
use adapt::metrics::calibration::{expected_calibration_error, reliability};
use adapt::metrics::{argmax, softmax};
use adapt::progress::silent;
use adapt::train::heads::{Kind, Wishes, choose};
use adapt::{Backend, Choice, Dataset, Features, Model, Plan, Split};
use adapt::{plan::PlanOptions, plan::evidence::Trying, random};
use ndarray::{Array2, Axis, s};
use std::path::Path;
use std::time::Instant;

const SHOTS: [usize; 7] = [1, 2, 5, 10, 20, 50, 100];
const DRAWS: u64 = 10;
/// Images of the classes of a long tail, the commonest first.
const TAIL: [usize; 10] = [100, 50, 20, 5, 5, 2, 2, 1, 1, 1];
/// `auto` is the last.
const HEADS: [Option<Kind>; 4] = [Some(Kind::Ncm), Some(Kind::Lda), Some(Kind::Softmax), None];

fn main() -> adapt::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(folder) = arguments.first() else {
        eprintln!("usage: heads FOLDER [MODEL.onnx|rare]");
        std::process::exit(2);
    };
    let rare = arguments.get(1).is_some_and(|argument| argument == "rare");
    let model = arguments.get(1).filter(|_| !rare);
    let mut model = model.map_or_else(adapt::builtin, |path| Model::open(Path::new(path)))?;
    let options = ReadOptions { val: 0., ..ReadOptions::default() };
    let mut data = Dataset::read(Path::new(folder), &options, &silent)?;
    let backend = Backend::resolve(Choice::Auto, None, true, &silent)?;
    let (asked, cache) = (PlanOptions::default(), Cache::open(None));
    let (mut plan, extractor) = Plan::make(&mut model, &backend, &asked, &silent)?;
    let (backend, cache) = (&backend, cache.as_ref());
    let trying = Trying { backend, options: &asked, data: &data, cache, progress: &silent };
    let extractor = trying.decide(&mut plan, &mut model, extractor)?;
    let extractor = plan.deepen(&model, backend, data.items.len(), extractor);
    let mut extractor = plan.cached(extractor, &model, cache);
    let train = Features::extract(&mut data, Split::Train, &mut extractor, &silent)?;
    let test = Features::extract(&mut data, Split::Test, &mut extractor, &silent)?;
    let (columns, classes) = (plan.columns(), data.classes.len());
    for (tap, columns) in plan.taps.iter().zip(&columns[1..]) {
        println!("tap {} {} mean {}: {columns} features", tap.tensor, tap.channels, tap.mean);
    }
    if rare {
        return beside_many(&train, &test, &columns, classes);
    }
    // Each class as often as the largest: its images over and over.
    let of = |class| {
        let labels = &test.labels;
        (0..labels.len()).filter(move |&place| labels[place] == class)
    };
    let largest = (0..classes).map(|class| of(class).count()).max().unwrap_or_default();
    let even: Vec<usize> = (0..classes).flat_map(|class| of(class).cycle().take(largest)).collect();
    println!("| images a class | nearest mean | LDA | softmax | auto | auto - best | chosen by auto | seconds |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for shots in SHOTS.into_iter().filter(|&shots| Some(shots) <= fewest(&train, classes)) {
        let mut accuracies: [Vec<f64>; 4] = Default::default();
        let (mut taps, mut seconds, mut errors) = (Vec::new(), 0., [[[0.; 3]; 4]; 2]);
        for draw in 0..DRAWS {
            let places = drawn(&train, classes, |_| shots, draw);
            let rows = train.rows.select(Axis(0), &places);
            let labels: Vec<usize> = places.iter().map(|&place| train.labels[place]).collect();
            for (head, (kind, accuracies)) in HEADS.into_iter().zip(&mut accuracies).enumerate() {
                let columns = if kind.is_some() { &columns[..1] } else { &columns[..] };
                let started = Instant::now();
                let wishes = Wishes { kind, seed: draw, ..Wishes::default() };
                // One image a class has no covariance.
                let Ok(chosen) = choose(rows.view(), columns, &labels, classes, &wishes, &silent) else { continue };
                if kind.is_none() {
                    seconds += started.elapsed().as_secs_f64() / DRAWS as f64;
                    taps.push(chosen.name());
                }
                let logits = chosen.head.logits(test.rows.slice(s![.., ..chosen.head.weight.ncols()]))?;
                let hits = logits.rows().into_iter().zip(&test.labels).filter(|(row, label)| argmax(*row) == **label);
                accuracies.push(100. * hits.count() as f64 / test.labels.len() as f64);
                let all: Vec<usize> = (0..test.labels.len()).collect();
                for (errors, places) in errors.iter_mut().zip([&all, &even]) {
                    let told = calibration(&logits, &test.labels, chosen.temperature as f32, places);
                    errors[head].iter_mut().zip(told).for_each(|(sum, error)| *sum += error / DRAWS as f64);
                }
            }
        }
        let told = accuracies.each_ref().map(|values| spread(values));
        let fitted = (0..3).filter(|&head| !accuracies[head].is_empty());
        let best = fitted.max_by(|&a, &b| told[a].0.total_cmp(&told[b].0)).unwrap_or_default();
        let more: Vec<f64> = accuracies[3].iter().zip(&accuracies[best]).map(|(auto, single)| auto - single).collect();
        let cells = told.map(|(mean, deviation)| format!("{mean:.1} ± {deviation:.1}")).join(" | ");
        let (mean, error) = (spread(&more).0, spread(&more).1 / (DRAWS as f64).sqrt());
        println!("| {shots} | {cells} | {mean:+.2} ± {error:.2} | {} | {seconds:.2} |", counted(&mut taps));
        for (errors, of) in errors.into_iter().zip(["", ", even shares"]) {
            let cells = errors.map(|[before, after, perfect]| format!("{before:.3} → {after:.3} / {perfect:.3}"));
            println!("| {shots}, calibration error{of} | {} |", cells.join(" | "));
        }
    }
    Ok(())
}

/// What the class with the fewest images has.
fn fewest(train: &Features, classes: usize) -> Option<usize> {
    (0..classes).map(|class| train.labels.iter().filter(|&&label| label == class).count()).min()
}

/// Classes with few images beside others with many, and long tails.
fn beside_many(train: &Features, test: &Features, columns: &[usize], classes: usize) -> adapt::Result<()> {
    println!("| images | rare classes | nearest mean | LDA | softmax | auto | auto - best | chosen by auto |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let most = fewest(train, classes);
    let beside = [(1, 20), (2, 20), (5, 20), (1, 50), (5, 50)].into_iter().flat_map(|(few, many)| {
        let rare = [1, 3, 5].map(|tenths| tenths * classes / 10).into_iter().filter(|&rare| rare > 0);
        rare.map(move |rare| {
            let counts: Vec<usize> = (0..classes).map(|class| if class < rare { few } else { many }).collect();
            (format!("{few} beside {many} | {rare} of {classes}"), counts)
        })
    });
    let tails = [100, 50].map(|most| {
        let counts: Vec<usize> = TAIL.iter().map(|&count| count.min(most)).cycle().take(classes).collect();
        (format!("{most} to 1 | long tail"), counts)
    });
    for (name, counts) in beside.chain(tails).filter(|(_, counts)| counts.iter().max().copied() <= most) {
        let (mut found, mut names): ([[Vec<f64>; 2]; 4], _) = (Default::default(), Vec::new());
        for draw in 0..DRAWS {
            let shots = |class: usize| counts[(class + draw as usize) % classes];
            let places = drawn(train, classes, shots, draw);
            let rows = train.rows.select(Axis(0), &places);
            let labels: Vec<usize> = places.iter().map(|&place| train.labels[place]).collect();
            for (kind, found) in HEADS.into_iter().zip(&mut found) {
                let columns = if kind.is_some() { &columns[..1] } else { columns };
                let wishes = Wishes { kind, seed: draw, ..Wishes::default() };
                let chosen = choose(rows.view(), columns, &labels, classes, &wishes, &silent)?;
                if kind.is_none() {
                    names.push(chosen.name());
                }
                let logits = chosen.head.logits(test.rows.slice(s![.., ..chosen.head.weight.ncols()]))?;
                let told = by_class(&logits, &test.labels, |class| shots(class) as f64);
                found.iter_mut().zip(told).for_each(|(values, value)| values.push(100. * value));
            }
        }
        let cells = found
            .each_ref()
            .map(|values| values.each_ref().map(|values| format!("{:.1}", spread(values).0)).join(" / "));
        let more = [0, 1].map(|figure| {
            let best = (0..3)
                .max_by(|&a, &b| spread(&found[a][figure]).0.total_cmp(&spread(&found[b][figure]).0))
                .unwrap_or(0);
            let pairs = found[3][figure].iter().zip(&found[best][figure]);
            let (mean, deviation) = spread(&pairs.map(|(auto, single)| auto - single).collect::<Vec<_>>());
            format!("{mean:+.1} ± {:.1}", deviation / (DRAWS as f64).sqrt())
        });
        println!("| {name} | {} | {} | {} |", cells.join(" | "), more.join(" / "), counted(&mut names));
    }
    Ok(())
}

/// The mean over the classes of the share of their images that is found, and of F1 where so much of each class' images are there.
fn by_class(logits: &Array2<f32>, labels: &[usize], part: impl Fn(usize) -> f64) -> [f64; 2] {
    let classes = logits.ncols();
    let (mut right, mut own, mut named) = (vec![0.; classes], vec![0.; classes], vec![0.; classes]);
    for (row, &label) in logits.rows().into_iter().zip(labels) {
        let (answer, weight) = (argmax(row), part(label));
        own[label] += weight;
        named[answer] += weight;
        right[label] += if answer == label { weight } else { 0. };
    }
    let mean = |of: &dyn Fn(usize) -> f64| (0..classes).map(of).sum::<f64>() / classes as f64;
    [mean(&|k| right[k] / own[k]), mean(&|k| 2. * right[k] / (own[k] + named[k]))]
}

/// The calibration error before the temperature, with it, and where each image's class is drawn from its probabilities; of the images at
/// `places`, which may have one several times.
fn calibration(logits: &Array2<f32>, labels: &[usize], temperature: f32, places: &[usize]) -> [f64; 3] {
    let error = |labels: &[usize], p: &Array2<f32>| {
        let labels: Vec<usize> = places.iter().map(|&place| labels[place]).collect();
        expected_calibration_error(&reliability(&labels, p.select(Axis(0), places).view()))
    };
    let (before, after) = (softmax((logits * temperature).view()), softmax(logits.view()));
    let mut stream = random::stream(0, "calibration", 0, 0);
    let drawn: Vec<usize> = after
        .rows()
        .into_iter()
        .map(|row| {
            let mut left = random::uniform(&mut stream) as f32;
            row.iter()
                .position(|p| {
                    left -= p;
                    left < 0.
                })
                .unwrap_or(row.len() - 1)
        })
        .collect();
    [error(labels, &before), error(labels, &after), error(&drawn, &after)]
}

/// The places of `shots` images of each class.
fn drawn(train: &Features, classes: usize, shots: impl Fn(usize) -> usize, draw: u64) -> Vec<usize> {
    let mut places = Vec::new();
    for class in 0..classes {
        let mut own: Vec<usize> = (0..train.labels.len()).filter(|&place| train.labels[place] == class).collect();
        // Fisher and Yates, with a generator that is the same everywhere.
        let mut state = (draw + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (class as u64) << 32;
        for last in (1..own.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            own.swap(last, (state >> 33) as usize % (last + 1));
        }
        places.extend(&own[..shots(class)]);
    }
    places.sort_unstable();
    places
}

/// Mean and standard deviation.
fn spread(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (squares / (values.len().max(2) - 1) as f64).sqrt())
}

/// `7 LDA, 3 softmax`
fn counted(names: &mut [String]) -> String {
    names.sort();
    names.chunk_by(|a, b| a == b).map(|same| format!("{}x {}", same.len(), same[0])).collect::<Vec<_>>().join(", ")
}
