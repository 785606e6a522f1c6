//! Several Parquet files of one data set: which are, and what their names tell.

use super::parquet::{golden, read};
use adapt::data::{Columns, Split, images_below, labelled};
use adapt::progress::silent;
use std::fs;

#[test]
fn folders_of_configurations_and_splits() {
    let place = tempfile::tempdir().unwrap();
    let shard = |from: &str, to: &str| {
        let to = place.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(
            golden(&format!("parquet/hub/data/{from}-of-0000{}.parquet", if from.starts_with("test") { 1 } else { 2 })),
            to,
        )
        .unwrap();
    };
    let counts = |folder: &str| {
        let data = read(&place.path().join(folder), Columns::GUESSED).unwrap();
        [Split::Train, Split::Val, Split::Test].map(|split| data.split(split).count())
    };
    // As the hub converts data sets.
    shard("train-00000", "one/default/partial-train/0000.parquet");
    shard("train-00001", "one/default/partial-train/0001.parquet");
    shard("test-00000", "one/default/validation/0000.parquet");
    assert_eq!(counts("one"), [18, 6, 0]);
    assert_eq!(counts("one/default"), [18, 6, 0]);
    // What one folder holds is for training.
    assert_eq!(counts("one/default/validation"), [6, 0, 0]);
    // As they are pushed with a name.
    shard("train-00000", "two/plain_text/train-00000-of-00001-0a1b2c3d.parquet");
    shard("test-00000", "two/plain_text/test-00000-of-00001-0a1b2c3d.parquet");
    fs::write(place.path().join("two/cover.png"), "").unwrap();
    assert_eq!(counts("two"), [12, 0, 6]);
    shard("test-00000", "two/other/train/0000.parquet");
    let why = read(&place.path().join("two"), Columns::GUESSED).unwrap_err().to_string();
    assert!(
        why.contains("several configurations of a data set (other, plain_text); give one of these folders"),
        "{why}"
    );
    // Folders of images are no configurations.
    for (name, class) in [("0.png", "a"), ("1.png", "a"), ("0.png", "b"), ("1.png", "b")] {
        for folder in ["images", "told/train"] {
            let path = place.path().join(folder).join(class);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join(name), "").unwrap();
            fs::write(path.join("index.parquet"), "").unwrap();
        }
    }
    shard("test-00000", "images/index/train/0000.parquet");
    assert_eq!(counts("images"), [4, 0, 0]);
    // Nor is what tells of them, as it stands beside the hub's folders of images.
    shard("test-00000", "told/train/metadata.parquet");
    assert_eq!(counts("told"), [4, 0, 0]);
}

#[test]
fn other_splits_are_told_and_train_nothing() {
    let place = tempfile::tempdir().unwrap();
    let shard = |to: &str| {
        let to = place.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(golden("parquet/hub/data/test-00000-of-00001.parquet"), to).unwrap();
    };
    for split in ["train", "dev", "eval", "extra"] {
        shard(&format!("shards/data/{split}-00000-of-00001.parquet"));
        shard(&format!("folders/default/{split}/0000.parquet"));
        shard(&format!("parts/{split}-00000-of-00001.parquet"));
    }
    // What is called otherwise trains, as long as nothing else is said.
    shard("parts/0001.parquet");
    for (set, train) in [("shards", 6), ("folders", 6), ("folders/default", 6), ("parts", 12)] {
        let data = read(&place.path().join(set), Columns::GUESSED).unwrap();
        let count = |split| data.split(split).count();
        assert_eq!([count(Split::Train), count(Split::Val), count(Split::Test)], [train, 6, 6], "{set}");
        let told = "splits beside train, val and test were ignored: 'extra'";
        assert!(data.notes.iter().any(|note| note == told), "{set}: {:?}", data.notes);
        // The numbers of rows are those of all.
        let (source, paths, _) = images_below(&[place.path().join(set)], &silent).unwrap();
        assert_eq!((paths.len(), source.decode(&paths[18], false).is_ok()), (train + 18, true));
    }
    shard("alone/extra-00000-of-00001.parquet");
    assert_eq!(read(&place.path().join("alone"), Columns::GUESSED).unwrap().items.len(), 6);
}

#[test]
fn what_is_in_other_splits_matters_to_nobody() {
    let all = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-00000-of-00001.parquet"];
    // Without labels; with other classes; no labels, but texts; damaged.
    let others = ["unlabeled.parquet", "differing/train-00001-of-00002.parquet", "index.parquet", ""];
    for (from, rows) in others.into_iter().zip([4, 3, 2, 0]) {
        let place = tempfile::tempdir().unwrap();
        for name in all {
            fs::copy(golden(&format!("parquet/hub/data/{name}")), place.path().join(name)).unwrap();
        }
        let other = place.path().join("extra-00000-of-00001.parquet");
        match from {
            "" => fs::write(other, "PAR1 and no more").unwrap(),
            from => assert!(fs::copy(golden(&format!("parquet/{from}")), other).is_ok()),
        }
        let data = read(place.path(), Columns::GUESSED).unwrap();
        assert_eq!(
            (data.items.len(), &data.classes[..]),
            (24, &["zebra", "ant", "cow"].map(String::from)[..]),
            "{from}"
        );
        assert!(data.notes.iter().any(|note| note.ends_with("were ignored: 'extra'")), "{from}: {:?}", data.notes);
        // Its rows are counted, since others read them.
        let first = data.items.iter().map(|item| &item.path).min().unwrap();
        assert_eq!(*first, format!("row-{rows:06}"), "{from}");
        assert!(data.items.iter().all(|item| data.source.decode(&item.path, false).is_ok()), "{from}");
        let below = images_below(&[place.path().to_path_buf()], &silent);
        let Ok((source, paths, _)) = below else { continue };
        let own = |path: &str| {
            data.source.bytes(path).unwrap() == source.bytes(&format!("{}/{path}", place.path().display())).unwrap()
        };
        assert!(paths.len() == 24 + rows && data.items.iter().all(|item| own(&item.path)), "{from}");
    }
    // Groups are asked of those that train.
    let place = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| assert!(fs::copy(golden(from), place.path().join(to)).is_ok());
    copy("parquet/columns.parquet", "train-00000-of-00001.parquet");
    copy("parquet/hub/data/test-00000-of-00001.parquet", "extra-00000-of-00001.parquet");
    let columns = Columns {
        path: Some("picture".into()),
        label: Some("kind".into()),
        groups: Some("id".into()),
        ..Columns::GUESSED
    };
    assert_eq!(read(place.path(), columns.clone()).unwrap().items.len(), 13);
    // Where a column is named that tells the split, files' names tell nothing.
    let why = read(place.path(), Columns { split: Some("part".into()), ..columns }).unwrap_err().to_string();
    assert!(why.contains("extra-00000-of-00001.parquet: has no column 'picture'"), "{why}");
}

#[test]
fn a_damaged_shard_costs_itself_alone() {
    let shards = ["test-00000-of-00001.parquet", "train-00000-of-00002.parquet", "train-00001-of-00002.parquet"];
    let ways: [fn(&mut Vec<u8>); 5] = [
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.clear(),
        // The magic number at the end; the footer's length; a page's header, where the footer tells how many rows there are.
        |bytes| bytes.iter_mut().rev().take(4).for_each(|byte| *byte = b'X'),
        |bytes| bytes.iter_mut().rev().skip(4).take(4).for_each(|byte| *byte = 0x7f),
        |bytes| bytes[4..40].fill(0xff),
    ];
    for (way, damage) in ways.into_iter().enumerate() {
        let place = tempfile::tempdir().unwrap();
        let spoil = |name: &str| {
            let mut bytes = fs::read(golden(&format!("parquet/hub/data/{name}"))).unwrap();
            damage(&mut bytes);
            fs::write(place.path().join(name), bytes).unwrap();
        };
        let below = || images_below(&[place.path().to_path_buf()], &silent);
        let classes = ["zebra", "ant", "cow"].map(String::from);
        let for_model = || labelled(place.path(), &classes, &Columns::GUESSED, &silent);
        for name in shards {
            fs::copy(golden(&format!("parquet/hub/data/{name}")), place.path().join(name)).unwrap();
        }
        spoil(shards[1]);
        let data = read(place.path(), Columns::GUESSED).unwrap();
        let [lost] = &data.skipped[..] else { panic!("{way}: {:?}", data.skipped) };
        assert!(lost.path == shards[1] && !lost.reason.is_empty(), "{way}: {lost:?}");
        assert_eq!((data.items.len(), data.classes == classes), (12, true), "{way}");
        // A row has one number for all.
        let (source, paths, skipped) = below().unwrap();
        let prefix = place.path().display();
        assert_eq!((skipped.len(), &skipped[0].path), (1, &format!("{prefix}/{}", shards[1])), "{way}");
        assert_eq!(paths.len(), 12, "{way}");
        for item in &data.items {
            let path = format!("{prefix}/{}", item.path);
            assert!(paths.contains(&path) && source.bytes(&path).unwrap() == data.source.bytes(&item.path).unwrap());
        }
        let measured = for_model().unwrap();
        assert_eq!((measured.items.len(), measured.skipped), (6, data.skipped), "{way}");
        // Training images do not take the place of those to measure by.
        spoil(shards[0]);
        let data = read(place.path(), Columns::GUESSED).unwrap();
        assert_eq!((data.items.len(), data.skipped.len()), (6, 2), "{way}");
        assert!(data.notes.contains(&"test has no images".into()), "{way}: {:?}", data.notes);
        assert!(for_model().unwrap_err().to_string().contains(shards[0]), "{way}");
        spoil(shards[2]);
        let errors = [read(place.path(), Columns::GUESSED).err(), below().err(), for_model().err()];
        for error in errors.map(|error| error.unwrap().to_string()) {
            assert!(error.contains(shards[0]) && error.contains("none of the files can be read"), "{way}: {error}");
        }
    }
}

#[test]
fn shards_with_other_classes_are_refused() {
    let why = read(&golden("parquet/differing"), Columns::GUESSED).unwrap_err().to_string();
    assert!(why.contains("train-00001-of-00002.parquet: its numbers stand for other classes"), "{why}");
    // Each alone is a data set.
    for (shard, classes) in [("0", ["zebra", "ant", "cow"]), ("1", ["cow", "ant", "zebra"])] {
        let data = read(&golden(&format!("parquet/differing/train-0000{shard}-of-00002.parquet")), Columns::GUESSED);
        assert_eq!(data.unwrap().classes, classes);
    }
}
