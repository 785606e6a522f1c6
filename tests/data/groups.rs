//! Images that belong together: on which side of the validation split they are, and what is refused.

use adapt::data::{Columns, Dataset, ReadOptions, Split};
use adapt::progress::silent;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use tempfile::TempDir;

/// A list of images `0.png` and so on, which are empty files, with these labels, patients and splits.
fn list(rows: &[(usize, usize, &str)], val: f64, seed: u64) -> adapt::Result<Dataset> {
    let place: TempDir = tempfile::tempdir().unwrap();
    let mut text = "path,label,patient,split\n".to_string();
    for (i, (label, patient, split)) in rows.iter().enumerate() {
        fs::write(place.path().join(format!("{i}.png")), "").unwrap();
        let _ = writeln!(text, "{i}.png,class{label},p{patient},{split}");
    }
    let table = place.path().join("list.csv");
    fs::write(&table, text).unwrap();
    let columns = Columns { groups: Some("patient".into()), ..Columns::GUESSED };
    Dataset::read(&table, &ReadOptions { columns, ..ReadOptions::new(val, seed) }, &silent)
}

/// 30 patients with 1 to 9 images of three classes, of which the last is rare.
fn rows() -> Vec<(usize, usize, &'static str)> {
    let of = |patient: usize| (0..1 + patient * 7 % 9).map(move |i| ([0, 1, 0, 1, 2][(patient + i) % 5], patient, ""));
    (0..30).flat_map(of).collect()
}

#[test]
fn whole_groups_are_held_out_and_classes_keep_their_shares() {
    let mut chosen = BTreeSet::new();
    for (val, seed) in [(0.2, 0), (0.2, 1), (0.2, 2), (0.4, 0), (0.1, 3)] {
        let data = list(&rows(), val, seed).unwrap();
        let mut sides = BTreeMap::<&str, BTreeSet<Split>>::new();
        for item in &data.items {
            sides.entry(&data.groups.as_ref().unwrap().of[&item.path]).or_default().insert(item.split);
        }
        assert!(sides.len() == 30 && sides.values().all(|splits| splits.len() == 1), "{sides:?}");
        for (class, (held, train)) in data.counts(Split::Val).iter().zip(data.counts(Split::Train)).enumerate() {
            let share = *held as f64 / (*held + train) as f64;
            assert!((share - val).abs() < 0.06, "{share} of class {class} for {val}, seed {seed}");
        }
        let counts = data.group_counts();
        assert_eq!((counts["train"] + counts["val"], data.split(Split::Test).count()), (30, 0));
        chosen.insert(data.split(Split::Val).map(|item| item.path.clone()).collect::<Vec<_>>());
    }
    assert_eq!(chosen.len(), 5);
    let data = list(&rows(), 0., 0).unwrap();
    assert_eq!(data.group_counts(), BTreeMap::from([("train".into(), 30)]));
    let paths: Vec<String> = ["0.png", "1.png", "2.png"].map(String::from).into();
    // p0 has one image, p1 eight.
    assert_eq!(data.groups_of(&paths), [0, 1, 1]);
}

#[test]
fn few_groups_are_held_out_as_far_as_they_can_be() {
    let two: Vec<_> = (0..20).map(|i| (i % 2, i / 10, "")).collect();
    let data = list(&two, 0.2, 0).unwrap();
    assert_eq!(data.split(Split::Val).count(), 0);
    assert!(data.notes.iter().any(|note| note.contains("no group can be held out")), "{:?}", data.notes);
    let three: Vec<_> = (0..30).map(|i| (i % 2, i / 10, "")).collect();
    assert_eq!(list(&three, 0.1, 0).unwrap().split(Split::Val).count(), 10);
    // The only patient with the last class stays.
    let one: Vec<_> = (0..40).map(|i| (if i == 39 { 2 } else { i % 2 }, i / 10, "")).collect();
    assert!((0..8).all(|seed| list(&one, 0.4, seed).unwrap().counts(Split::Train)[2] == 1));
}

#[test]
fn groups_on_two_sides_are_refused() {
    let fails = |rows: &[(usize, usize, &str)], words: &[&str]| {
        let error = list(rows, 0.2, 0).unwrap_err().to_string();
        words.iter().for_each(|word| assert!(error.contains(word), "{word}: {error}"));
    };
    let sides: Vec<_> = (0..12).map(|i| (i % 2, i / 3, if i == 11 { "test" } else { "train" })).collect();
    fails(&sides, &["'p3'", "'patient' (--groups)", "train and for test", "one split"]);
    let one: Vec<_> = (0..12).map(|i| (i % 2, 0, "")).collect();
    fails(&one, &["one value for 'patient' (--groups)", "two groups"]);
}
