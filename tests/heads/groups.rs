//! Groups of images that never stand on both sides: folds against scikit-learn's (tests/golden/make_groups.py).

use adapt::data::Task;
use adapt::metrics::argmax;
use adapt::progress::silent;
use adapt::train::heads::{Chosen, Kind, Wishes, choose, choose_several};
use ndarray::Array2;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn places(v: &Value) -> Vec<usize> {
    v.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
}

/// Features that tell the group and hardly the class: what is learnt of a group's other images gives its class away.
fn features(labels: &[usize], groups: &[usize]) -> Array2<f32> {
    Array2::from_shape_fn((labels.len(), 24), |(i, j)| {
        let own = ((groups[i] * 24 + j) as f32 * 78.233).sin() * 43758.547;
        let noise = ((i * 24 + j) as f32 * 12.9898).sin() * 43758.547;
        own.fract() + 0.1 * noise.fract()
    })
}

fn chosen(labels: &[usize], groups: Vec<usize>, folds: usize, seed: u64) -> Chosen {
    let x = features(labels, &groups);
    let classes = labels.iter().max().unwrap() + 1;
    let wishes = Wishes { kind: Some(Kind::Ncm), folds: Some(folds), groups, seed, ..Wishes::default() };
    choose(x.view(), &[24], labels, classes, &wishes, &silent).unwrap()
}

fn folds_of(found: &Chosen, groups: &[usize]) -> BTreeMap<usize, BTreeSet<usize>> {
    let mut folds = BTreeMap::<usize, BTreeSet<usize>>::new();
    for (&group, &fold) in groups.iter().zip(&found.fold) {
        folds.entry(group).or_default().insert(fold);
    }
    folds
}

/// The folds by the order in which images come first to them: their numbers mean nothing.
fn in_order(fold: &[usize]) -> Vec<usize> {
    let mut seen = Vec::new();
    let number = |&own: &usize| {
        seen.iter().position(|&other| other == own).unwrap_or_else(|| {
            seen.push(own);
            seen.len() - 1
        })
    };
    fold.iter().map(number).collect()
}

#[test]
fn folds_are_scikit_learns() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../golden/groups.json")).unwrap();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let (labels, groups, want) = (places(&case["labels"]), places(&case["groups"]), places(&case["fold"]));
        let folds = case["folds"].as_u64().unwrap() as usize;
        for seed in [0, 7] {
            let found = chosen(&labels, groups.clone(), folds, seed);
            assert_eq!((found.folds, in_order(&found.fold)), (folds, in_order(&want)), "seed {seed}");
            // Only the first deal is: another of the same groups would tell nothing new.
            let deals: Vec<_> = found.by_fold.chunks(folds).collect();
            assert!(found.repeats > 1 && deals.len() == found.repeats, "{} deals", found.repeats);
            assert!(deals[1..].iter().all(|deal| *deal != deals[0]), "{deals:?}");
        }
    }
}

#[test]
fn groups_share_a_fold_and_classes_are_spread() {
    // 40 groups of 6 images each, two classes a group.
    let groups: Vec<usize> = (0..240).map(|i| i / 6).collect();
    let labels: Vec<usize> = (0..240).map(|i| (i / 6 + i % 2) % 4).collect();
    let [a, b] = [0, 1].map(|seed| chosen(&labels, groups.clone(), 5, seed));
    for found in [&a, &b] {
        assert!(folds_of(found, &groups).values().all(|folds| folds.len() == 1), "{:?}", found.fold);
        for fold in 0..5 {
            for class in 0..4 {
                let own = (0..240).filter(|&i| found.fold[i] == fold && labels[i] == class).count();
                assert!((9..=15).contains(&own), "{own} images of class {class} in fold {fold}");
            }
        }
    }
    assert_ne!(a.fold, b.fold);
}

#[test]
fn what_a_group_gives_away_is_not_counted() {
    let groups: Vec<usize> = (0..300).map(|i| i / 10).collect();
    // A class for each group, by chance.
    let labels: Vec<usize> = groups.iter().map(|group| (group * 7 + group / 3) % 3).collect();
    let accuracy = |found: &Chosen| {
        let hit = |i: &usize| argmax(found.out_of_fold.row(*i)) == labels[*i];
        (0..300).filter(hit).count() as f64 / 300.
    };
    let x = features(&labels, &groups);
    let apart = |groups: Vec<usize>| {
        let wishes = Wishes { kind: Some(Kind::Softmax), groups, curve: true, ..Wishes::default() };
        choose(x.view(), &[24], &labels, 3, &wishes, &silent).unwrap()
    };
    let (mixed, grouped) = (apart(Vec::new()), apart(groups.clone()));
    assert!(accuracy(&mixed) > 0.85, "{}", accuracy(&mixed));
    assert!(accuracy(&grouped) < 0.6, "{}", accuracy(&grouped));
    // So does the curve: half of the groups tell nothing of the others.
    let points = |found: &Chosen| found.curve.clone().unwrap().unwrap().points;
    assert!(points(&mixed)[2].reached.value() > 0.8, "{:?}", points(&mixed));
    assert!(points(&grouped).iter().all(|point| point.reached.value() < 0.6), "{:?}", points(&grouped));
}

#[test]
fn few_groups_make_few_folds() {
    let labels: Vec<usize> = (0..60).map(|i| i % 2).collect();
    let found = chosen(&labels, (0..60).map(|i| i / 20).collect(), 5, 0);
    // Which can be dealt in one way alone.
    assert_eq!((found.folds, found.repeats, found.by_fold.len()), (3, 1, 3));
    // Each class in one group: nothing can be compared.
    let found = chosen(&labels, labels.clone(), 5, 0);
    assert_eq!((found.folds, found.compared.len()), (0, 0));
}

/// A depth that tells the group, whose value other images of it give away, is none to choose.
#[test]
fn depths_for_numbers_are_chosen_by_images_of_other_groups() {
    let groups: Vec<usize> = (0..240).map(|i| i / 6).collect();
    let noise = |i: usize, seed: f32| ((i as f32 + 1.) * (12.9898 + seed)).sin() * 43758.547;
    let (own, group) = (|i: usize| noise(i, 0.3).fract(), |i: usize| noise(groups[i], 5.1).fract());
    let truths = Array2::from_shape_fn((240, 1), |(i, _)| 0.7 * own(i) + 1.5 * group(i));
    let told = features(&groups, &groups);
    let x = Array2::from_shape_fn((240, 28), |(i, j)| match j {
        0..2 => noise(2 * i + j, 1.7).fract(),
        2..4 => own(i) + 0.1 * noise(2 * i + j, 2.9).fract(),
        _ => told[[i, j - 4]],
    });
    let with = |groups: Vec<usize>| {
        let wishes = Wishes { groups, ..Wishes::default() };
        let found = choose_several(x.view(), &[2, 4, 28], truths.view(), Task::Regression, &wishes, &silent).unwrap();
        found.compared.iter().map(|tried| tried.taps).collect::<Vec<_>>()
    };
    assert_eq!((with(Vec::new()), with(groups.clone())), (vec![0, 2], vec![0, 1]));
}
