//! Parquet files with images in them, written by pyarrow (`tests/golden/make_parquet.py`).

use adapt::data::{Columns, Dataset, ReadOptions, Split, Task, images_below};
use adapt::progress::{Event, silent};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

pub fn read(place: &Path, columns: Columns) -> adapt::Result<Dataset> {
    Dataset::read(place, &ReadOptions { columns, ..ReadOptions::new(0., 0) }, &silent)
}

fn columns() -> Columns {
    let name = |name: &str| Some(name.to_string());
    Columns { path: name("picture"), label: name("kind"), split: name("part"), ..Columns::GUESSED }
}

/// The colour of a pixel as the script made it.
fn pixel(label: usize, number: u32, x: u32, y: u32, c: usize) -> u8 {
    let base = if c == label { 200 } else { 20 };
    ((base + number * 7 + x * 3 + y) % 256) as u8
}

#[test]
fn names_that_a_file_declares_are_classes() {
    let data = read(&golden("parquet/names.parquet"), Columns::GUESSED).unwrap();
    assert_eq!((data.task, &data.classes[..]), (Task::Multiclass, &["bag; purse", "0.5", "1.5"].map(String::from)[..]));
    assert_eq!(data.counts(Split::Train), [4, 4, 4]);
}

#[test]
fn the_layout_of_the_hub() {
    let data = read(&golden("parquet/hub"), Columns::GUESSED).unwrap();
    assert_eq!(data.classes, ["zebra", "ant", "cow"], "in the order of their numbers");
    assert_eq!((data.counts(Split::Train), data.counts(Split::Test)), (vec![6, 6, 6], vec![2, 2, 2]));
    // Shards in order of their names: test, then train; the second one's images begin at 40.
    let numbers = (80..86).chain(0..12).chain(40..46);
    for (row, number) in numbers.enumerate() {
        let path = format!("row-{row:06}");
        let item = data.items.iter().find(|item| item.path == path).unwrap();
        assert_eq!(item.split, if row < 6 { Split::Test } else { Split::Train });
        let pixels = data.source.decode(&path, false).unwrap();
        assert_eq!((pixels.width(), pixels.height()), (12, 10));
        for (i, value) in pixels.values().iter().enumerate() {
            let (x, y, c) = (i / 3 % 12, i / 36, i % 3);
            assert_eq!(*value, pixel(item.label, number, x as u32, y as u32, c), "{path}");
        }
    }
    // One file alone is for training.
    let one = read(&golden("parquet/hub/data/test-00000-of-00001.parquet"), Columns::GUESSED).unwrap();
    assert_eq!(one.counts(Split::Train), [2, 2, 2]);
}

#[test]
fn whole_numbers_without_a_sign() {
    for (column, largest) in [("large", "18446744073709551615"), ("small", "4294967295")] {
        let columns = Columns { label: Some(column.into()), ..Columns::GUESSED };
        let data = read(&golden("parquet/unsigned.parquet"), columns).unwrap();
        assert_eq!(data.classes, if column == "small" { ["7", largest] } else { [largest, "7"] }, "{column}");
    }
}

#[test]
fn columns_nulls_and_what_is_no_image() {
    let data = read(&golden("parquet/columns.parquet"), columns()).unwrap();
    assert_eq!(data.classes, ["left", "right"]);
    let count = |split| data.split(split).count();
    assert_eq!((count(Split::Train), count(Split::Val), count(Split::Test)), (9, 1, 2));
    let skipped: Vec<_> = data.skipped.iter().map(|s| (s.path.as_str(), s.reason.as_str())).collect();
    let split = "'other' is no split; give train, val or test";
    assert_eq!(skipped, [("row-000006", "no label"), ("row-000013", split)]);
    assert!(data.source.decode("row-000003", false).unwrap_err().contains("no image"));
    assert!(data.source.decode("row-000004", false).is_err());
    assert!(data.source.decode("row-000014", false).is_err());
    assert_eq!(data.source.decode("row-000005", false).unwrap().width(), 12);
    let error = |columns| read(&golden("parquet/columns.parquet"), columns).unwrap_err().to_string();
    let grouped = |name: &str| Columns { groups: Some(name.into()), ..columns() };
    let data = read(&golden("parquet/columns.parquet"), grouped("id")).unwrap();
    let paths: Vec<String> = data.items.iter().map(|item| item.path.clone()).collect();
    assert_eq!(data.groups.as_ref().unwrap().of["row-000002"], "2");
    assert_eq!(data.groups_of(&paths).iter().collect::<std::collections::BTreeSet<_>>().len(), paths.len());
    assert!(error(grouped("part")).contains("'part' (--groups) holds the images, the labels or the split"));
    assert!(error(grouped("none")).contains("no column 'none' (--groups)"));
    assert!(error(Columns::GUESSED).contains("--path-column (it has: picture, kind, part, id)"));
    assert!(error(Columns { label: Some("none".into()), ..columns() }).contains("no column 'none' (--label-column)"));
    let without = Columns { label: None, ..columns() };
    assert!(error(without).contains("--label-column"));
    let lists = read(&golden("parquet/lists.parquet"), Columns::GUESSED).unwrap_err().to_string();
    assert!(lists.contains("no column holds images"), "{lists}");
}

#[test]
fn what_may_unpack_to_any_size_is_refused() {
    for (file, name) in [("gzip", "gzip"), ("brotli", "Brotli")] {
        let place = golden(&format!("parquet/{file}.parquet"));
        let said = format!("{file}.parquet: compressed with {name}, which is not read; write it with Snappy");
        let labelled = read(&place, Columns::GUESSED).unwrap_err().to_string();
        let below = images_below(std::slice::from_ref(&place), &silent).unwrap_err().to_string();
        assert!(labelled.contains(&said) && below.contains(&said), "{labelled} {below}");
    }
    // LZ4 as it is written now, called what it was before: then it may be any of three forms, and one of them is such.
    let whole = fs::read(golden("parquet/columns.parquet")).unwrap();
    let at = whole.windows(9).rposition(|bytes| bytes == b"picture\x15\x0e").unwrap();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("x.parquet");
    fs::write(&file, [&whole[..at + 8], b"\x0a", &whole[at + 9..]].concat()).unwrap();
    assert!(read(&file, columns()).unwrap_err().to_string().contains("x.parquet: cannot be read"));
}

/// The labels of each row.
fn labels(data: &Dataset) -> Vec<&str> {
    let mut items: Vec<_> = data.items.iter().collect();
    items.sort_by(|a, b| a.path.cmp(&b.path));
    items.into_iter().map(|item| data.texts()[item.label].as_str()).collect()
}

#[test]
fn lists_are_several_labels_an_image() {
    let place = golden("parquet/multi.parquet");
    let data = read(&place, Columns::GUESSED).unwrap();
    assert_eq!((data.task, data.skipped.len()), (Task::Multilabel, 0));
    assert_eq!(data.classes, ["zebra", "ant", "cow"], "in the order of their numbers");
    assert_eq!(labels(&data), ["zebra", "ant;cow", "", "", "ant;cow;zebra", "ant", "ant", "cow"]);
    assert_eq!(data.counts(Split::Train), [2, 4, 3]);
    let tags = || Columns { label: Some("tags".into()), ..Columns::GUESSED };
    let data = read(&place, tags()).unwrap();
    assert_eq!(data.classes, ["a", "b", "c"]);
    assert_eq!(labels(&data), ["a;b", "a", "", "", "c", "a", "b", "a;c"]);
    let error = |columns| read(&place, columns).unwrap_err().to_string();
    let one = error(Columns { task: Some(Task::Multiclass), ..tags() });
    assert!(one.contains("'tags' holds lists") && one.contains("--task"), "{one}");
    assert!(error(Columns { label: Some("tags,labels".into()), ..tags() }).contains("give that alone"));
}

#[test]
fn rows_for_a_model_that_is_ready() {
    let file = golden("parquet/hub/data/test-00000-of-00001.parquet");
    let (source, paths, _) = images_below(std::slice::from_ref(&file), &silent).unwrap();
    assert_eq!(paths.len(), 6);
    assert_eq!(paths[2], format!("{}/row-000002", file.display()));
    assert!(source.decode(&paths[2], false).is_ok());
}

/// Classes' folders with two images each below a new folder.
fn classes() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for name in ["a/0.png", "a/1.png", "b/0.png", "b/1.png"] {
        fs::create_dir_all(place.path().join(name).parent().unwrap()).unwrap();
        fs::write(place.path().join(name), "").unwrap();
    }
    place
}

#[test]
fn what_describes_images_is_no_data_set() {
    let index = || golden("parquet/index.parquet");
    let place = classes();
    fs::copy(index(), place.path().join("index.parquet")).unwrap();
    let data = read(place.path(), Columns::GUESSED).unwrap();
    assert_eq!((data.classes.len(), data.items.len()), (2, 4));
    assert!(data.notes.contains(&"1 files with other extensions were ignored".into()), "{:?}", data.notes);
    // Text names no image, whatever its column is called.
    let why = read(&index(), Columns::GUESSED).unwrap_err().to_string();
    assert!(why.contains("no column holds images; give --path-column (it has: path, label)"), "{why}");
    // What is damaged is told, not passed over; with images in it, it is the data set.
    fs::write(place.path().join("index.parquet"), "PAR1").unwrap();
    assert!(read(place.path(), Columns::GUESSED).unwrap_err().to_string().contains("index.parquet: cannot be read"));
    fs::copy(golden("parquet/multi.parquet"), place.path().join("index.parquet")).unwrap();
    assert_eq!(read(place.path(), Columns::GUESSED).unwrap().items.len(), 8);
}

#[test]
fn images_beside_parquet_are_labelled_too() {
    let place = tempfile::tempdir().unwrap();
    let set = "default/train/0000.parquet";
    fs::create_dir_all(place.path().join(set).parent().unwrap()).unwrap();
    ["0.png", "1.jpg"].iter().for_each(|name| fs::write(place.path().join(name), "").unwrap());
    let named = || {
        let said = std::sync::Mutex::new(Vec::new());
        let listen = |event: Event| {
            if let Event::Warning(what) = event {
                said.lock().unwrap().push(what.to_string());
            }
            ControlFlow::Continue(())
        };
        let (source, paths, _) = images_below(&[place.path().into()], &listen).unwrap();
        (source, paths, said.into_inner().unwrap().join("\n"))
    };
    fs::copy(golden("parquet/index.parquet"), place.path().join(set)).unwrap();
    let (_, paths, said) = named();
    assert!(paths.len() == 2 && paths[0].ends_with("0.png"), "{paths:?}");
    assert!(said.contains("its 2 image files are taken; its Parquet is not: no column holds images"), "{said}");
    fs::copy(golden("parquet/hub/data/test-00000-of-00001.parquet"), place.path().join(set)).unwrap();
    let (source, paths, said) = named();
    assert!(paths.len() == 8 && source.decode(&paths[2], false).is_ok(), "{paths:?}");
    assert!(said.contains("both its 2 image files and the 6 images in its Parquet are taken"), "{said}");
}

#[test]
fn what_is_laid_out_is_the_same_data_set() {
    let data = read(&golden("parquet/hub"), Columns::GUESSED).unwrap();
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    assert_eq!(data.extract(&out, &silent).unwrap(), (24, Vec::new()));
    let again = read(&out.join("labels.csv"), Columns::GUESSED).unwrap();
    let own = |data: &Dataset| {
        let item = |item: &adapt::data::Item| (item.path.clone(), data.classes[item.label].clone(), item.split);
        let mut items: Vec<_> = data.items.iter().map(item).collect();
        items.sort();
        items
    };
    assert_eq!(own(&again), own(&data));
}

#[test]
fn damaged_files_are_errors_and_no_panics() {
    let folder = tempfile::tempdir().unwrap();
    let whole = ["columns", "multi"].map(|name| fs::read(golden(&format!("parquet/{name}.parquet"))).unwrap());
    let file = folder.path().join("x.parquet");
    let mut random = 1u64;
    for i in 0..1200 {
        let mut bytes = whole[i % 2].clone();
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let at = (random >> 33) as usize % bytes.len();
        match i / 2 % 3 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= (random >> 20) as u8 | 1,
            _ => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
        }
        fs::write(&file, bytes).unwrap();
        if let Err(error) = read(&file, if i % 2 == 0 { columns() } else { Columns::GUESSED }) {
            let text = error.to_string();
            assert!(text.contains("x.parquet") && text.lines().count() == 1, "{text}");
        }
    }
}
