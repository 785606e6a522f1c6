//! Folders as datasets. Listing decodes nothing, so the images here are empty files.

use adapt::data::{Columns, Dataset, Item, ReadOptions, Skipped, Split, labelled};
use adapt::progress::silent;
use adapt::{Error, Result};
use std::collections::HashMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use tempfile::TempDir;

const HALF: ReadOptions = ReadOptions::new(0.5, 7);

/// A folder with these files, empty.
fn folder<S: AsRef<str>>(files: impl IntoIterator<Item = S>) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    add(root.path(), files);
    root
}

fn add<S: AsRef<str>>(root: &Path, files: impl IntoIterator<Item = S>) {
    for file in files {
        let path = root.join(file.as_ref());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
}

fn images(class: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{class}/{i:03}.jpg")).collect()
}

fn read(root: &Path, options: ReadOptions) -> Result<Dataset> {
    Dataset::read(root, &options, &silent)
}

fn places(data: &Dataset) -> HashMap<&str, Split> {
    data.items.iter().map(|item| (item.path.as_str(), item.split)).collect()
}

fn error(root: &Path) -> String {
    let error = read(root, HALF).expect_err("it must be refused");
    assert!(matches!(error, Error::Data { .. }) && error.exit_code() == 1);
    let text = error.to_string();
    assert!(text.starts_with(&root.display().to_string()) && !text.contains('\n'), "{text}");
    text
}

#[test]
fn flat_folders_are_split_by_class() {
    let root = folder([images("dog", 10), images("Cat/deep/er", 5), images("a b", 2), images("b", 3)].concat());
    add(root.path(), ["dog/notes.txt", "dog/.hidden.png", ".git/x/a.png", "loose.PNG", "dog/UP.JPEG", "Cat/x.TiF"]);
    let data = read(root.path(), ReadOptions::new(0.2, 1)).unwrap();
    assert_eq!(data.classes, ["Cat", "a b", "b", "dog"]);
    assert_eq!(data.counts(Split::Train), [5, 1, 2, 9]);
    assert_eq!(data.counts(Split::Val), [1, 1, 1, 2]);
    assert_eq!(data.split(Split::Test).count(), 0);
    assert!(data.val_from_train && data.skipped.is_empty());
    assert_eq!(
        data.notes,
        ["1 files with other extensions were ignored", "1 images outside of class folders were ignored"]
    );
    assert!(data.items.iter().any(|item| item.path == "Cat/deep/er/004.jpg" && item.label == 0));
    assert!(data.items.is_sorted_by_key(|item: &Item| (item.split, item.label, item.path.clone())));
    let none = read(root.path(), ReadOptions::new(0.0, 1)).unwrap();
    assert_eq!((none.counts(Split::Val), none.counts(Split::Train)), (vec![0; 4], vec![6, 2, 3, 11]));
}

#[test]
fn split_folders_map_classes_by_name() {
    // The words of Hugging Face's `datasets`.
    for (train, val, test) in [
        ("train", "val", "test"),
        ("training", "valid", "testing"),
        ("Train", "validation", "eval"),
        ("TRAIN", "dev", "evaluation"),
    ] {
        let class = |split: &str, class: &str, count| images(&format!("{split}/{class}"), count);
        let mut files = [class(train, "a", 3), class(train, "b", 3), class(train, "c", 4)].concat();
        files.extend([class(val, "c", 2), class(test, "b", 5), class(test, "zebra", 6)].concat());
        let root = folder(files);
        add(root.path(), ["extra/a/1.png"]);
        fs::create_dir(root.path().join(train).join("empty")).unwrap();
        let data = read(root.path(), HALF).unwrap();
        assert_eq!(data.classes, ["a", "b", "c"]);
        assert_eq!(data.counts(Split::Train), [3, 3, 4]);
        assert_eq!(data.counts(Split::Val), [0, 0, 2]);
        assert_eq!(data.counts(Split::Test), [0, 5, 0]);
        assert!(!data.val_from_train);
        let skipped =
            Skipped { path: format!("{test}/zebra"), reason: "no training images of this class (6 images)".into() };
        assert_eq!(data.skipped, [skipped]);
        for note in
            ["val has no images of: 'a', 'b'", "test has no images of: 'a', 'c'", "'extra'", "'empty'", "'zebra'"]
        {
            assert!(data.notes.iter().any(|n| n.contains(note)), "{note} in {:?}", data.notes);
        }
        // A model is measured on those for testing, else on those that validate.
        let measured = |class: &str| {
            let data = labelled(root.path(), &[class.into()], &Columns::GUESSED, &silent).unwrap();
            (data.source.place().to_path_buf(), data.items.len())
        };
        assert_eq!(measured("b"), (root.path().join(test), 5));
        fs::remove_dir_all(root.path().join(test)).unwrap();
        assert_eq!(measured("c"), (root.path().join(val), 2));
    }
}

#[test]
fn several_folders_of_a_split_are_all_taken() {
    for (one, two, split, said) in [("test", "eval", Split::Test, "test"), ("val", "dev", Split::Val, "val")] {
        let of = |folder: &str, class: &str, count| images(&format!("{folder}/{class}"), count);
        let root = folder([of("train", "a", 3), of("train", "b", 3), of(one, "a", 2), of(one, "b", 1)].concat());
        add(root.path(), [of(two, "a", 4), of(two, "zebra", 1), images("extra/a", 1)].concat());
        let data = read(root.path(), HALF).unwrap();
        let note = format!("{said} is in several folders, and all of them are taken: '{two}', '{one}'");
        assert!(data.notes.contains(&note), "{:?}", data.notes);
        let paths = |data: &Dataset, split: Split| {
            let mut paths: Vec<String> = data.split(split).map(|item| item.path.clone()).collect();
            paths.sort();
            paths
        };
        assert_eq!(paths(&data, split).len(), 7);
        let eval = labelled(root.path(), &["a".into(), "b".into()], &Columns::GUESSED, &silent).unwrap();
        assert_eq!((paths(&eval, Split::Test), eval.notes), (paths(&data, split), vec![note]));
        assert_eq!(eval.source.place(), root.path());
        assert_eq!(eval.skipped.len(), 1, "{:?}", eval.skipped);
        // One that holds no class is none of them.
        fs::remove_dir_all(root.path().join(two)).unwrap();
        add(root.path(), [format!("{two}/0.jpg")]);
        let data = read(root.path(), HALF).unwrap();
        assert!(!data.notes.iter().any(|note| note.contains("several folders")), "{:?}", data.notes);
        let eval = labelled(root.path(), &["a".into(), "b".into()], &Columns::GUESSED, &silent).unwrap();
        assert_eq!((eval.items.len(), eval.source.place().to_path_buf()), (3, root.path().join(one)));
    }
}

#[test]
fn a_train_folder_without_folders_is_a_class() {
    let root = folder([images("train", 2), images("car", 2)].concat());
    let data = read(root.path(), HALF).unwrap();
    assert_eq!(data.classes, ["car", "train"]);
    assert!(data.notes[0].contains("'train' are read as classes"), "{:?}", data.notes);
}

#[test]
fn a_split_depends_on_seed_and_path_only() {
    let root = folder([images("a", 40), images("b", 40)].concat());
    let first = read(root.path(), HALF).unwrap();
    assert_eq!(first, read(root.path(), HALF).unwrap());
    assert_eq!((first.counts(Split::Train), first.counts(Split::Val)), (vec![20, 20], vec![20, 20]));
    // The same files elsewhere, written in another order.
    let mut files = [images("b", 40), images("a", 40)].concat();
    files.reverse();
    let copy = folder(files);
    let copied = read(copy.path(), HALF).unwrap();
    assert_eq!(first.items, copied.items);
    let other = read(root.path(), ReadOptions { seed: 8, ..HALF }).unwrap();
    assert_ne!(places(&first), places(&other));
    // One more image moves at most the one at the border, and none in the other class.
    for i in 0..20 {
        add(root.path(), [format!("a/new{i}.png")]);
        let before = places(&copied);
        let more = read(root.path(), HALF).unwrap();
        let moved = more.items.iter().filter(|item| before.get(item.path.as_str()).is_some_and(|s| *s != item.split));
        let moved: Vec<_> = moved.collect();
        assert!(moved.len() <= 1 && moved.iter().all(|item| item.label == 0), "{moved:?}");
        fs::remove_file(root.path().join(format!("a/new{i}.png"))).unwrap();
    }
}

#[test]
fn odd_names_are_kept() {
    let long = "x".repeat(200);
    let mut names = vec!["a b", "a,b", "it's \"x\"", "naïve 猫", "tab\tbed", "-rf", "%s{}", &long];
    let root = folder(names.iter().flat_map(|name| images(name, 2)).collect::<Vec<_>>());
    names.sort_unstable();
    let data = read(root.path(), HALF).unwrap();
    assert_eq!(data.classes, names);
    assert!(data.items.iter().all(|item| root.path().join(&item.path).is_file()));
}

#[test]
fn a_line_break_in_a_class_name_is_refused() {
    for name in ["new\nline", "end\r", "next\u{85}line", "line\u{2028}separator"] {
        let root = folder([images("a", 2), images(name, 2)].concat());
        let text = error(root.path());
        assert!(text.contains(&name.escape_debug().to_string()) && text.contains("rename its folder"), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn links_and_names_that_cannot_be_used_are_skipped() {
    use std::os::unix::{ffi::OsStrExt, fs::symlink};
    let root = folder([images("a", 3), images("b", 3)].concat());
    let other = folder(images("more", 2));
    let at = |name: &str| root.path().join(name);
    symlink(root.path(), at("a/up")).unwrap();
    symlink(at("b"), at("b/self")).unwrap();
    symlink(root.path(), at("c")).unwrap();
    symlink(at("nowhere"), at("a/broken.png")).unwrap();
    symlink(other.path().join("more"), at("a/linked")).unwrap();
    fs::create_dir(at("b/folder.png")).unwrap();
    fs::write(root.path().join("b").join(std::ffi::OsStr::from_bytes(b"\xff\xfe.png")), b"").unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("b/pipe.jpg")).status().unwrap().success());
    let data = read(root.path(), ReadOptions::new(0.0, 0)).unwrap();
    assert_eq!((data.classes.clone(), data.counts(Split::Train)), (vec!["a".into(), "b".into()], vec![5, 3]));
    let skipped: HashMap<_, _> = data.skipped.iter().map(|s| (s.path.as_str(), s.reason.as_str())).collect();
    let circle = "a symbolic link to a folder that contains it";
    for (path, reason) in [
        ("a/up", circle),
        ("b/self", circle),
        ("c", circle),
        ("a/broken.png", "a broken symbolic link"),
        ("b/pipe.jpg", "not a regular file"),
        ("b/\u{fffd}\u{fffd}.png", "the name is not valid UTF-8"),
    ] {
        assert_eq!(skipped.get(path), Some(&reason), "{path} in {skipped:?}");
    }
    assert_eq!(skipped.len(), 6);
}

#[test]
fn unusable_folders_say_why() {
    let root = tempfile::tempdir().unwrap();
    assert!(error(root.path()).contains("no class folders with images"));
    add(root.path(), images("only", 5));
    assert!(error(root.path()).contains("only one class, 'only'"));
    add(root.path(), images("x", 1));
    assert!(read(root.path(), HALF).is_ok());
    for (path, val) in [("none", 0.5), ("x/000.jpg", 0.5), ("", 1.0), ("", -0.1), ("", f64::NAN)] {
        let error = read(&root.path().join(path), ReadOptions::new(val, 0)).unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{path} {val}: {error}");
    }
    let stop = |_: adapt::progress::Event| ControlFlow::Break(());
    assert!(matches!(Dataset::read(root.path(), &HALF, &stop), Err(Error::Interrupted)));
}

#[test]
fn unreadable_images_are_checked_again() {
    let root = folder([images("a", 4), images("b", 4)].concat());
    let mut data = read(root.path(), ReadOptions::new(0.25, 0)).unwrap();
    let unreadable = |items: &[Item]| -> Vec<Skipped> {
        items.iter().map(|item| Skipped { path: item.path.clone(), reason: "truncated".into() }).collect()
    };
    let b: Vec<Item> = data.items.iter().filter(|item| item.label == 1).cloned().collect();
    data.remove_unreadable(unreadable(&b[..2]));
    assert_eq!((data.items.len(), data.skipped.len()), (6, 2));
    data.check_classes().unwrap();
    data.remove_unreadable(unreadable(&b[2..]));
    assert!(data.check_classes().unwrap_err().to_string().contains("class 'b' has no training image left"));
    data.remove_unreadable(unreadable(&data.items.clone()));
    let text = data.check_classes().unwrap_err().to_string();
    assert!(text.contains("none of the 8 images could be read; first: b/") && text.ends_with(": truncated"), "{text}");
}

#[test]
fn split_folders_are_known_in_any_case() {
    for (train, test) in [("Train", "Test"), ("training", "testing"), ("TRAIN", "test")] {
        let root = folder([images(&format!("{train}/a"), 4), images(&format!("{train}/b"), 4)].concat());
        add(root.path(), [images(&format!("{test}/a"), 2), images(&format!("{test}/b"), 3)].concat());
        let data = read(root.path(), HALF).unwrap();
        assert_eq!(data.classes, ["a", "b"], "{train}");
        assert_eq!(data.counts(Split::Test), [2, 3], "{train}");
    }
}

#[test]
fn the_list_in_a_folder_without_classes_is_named() {
    let root = folder(["train/0.png", "train/1.png", "train/metadata.csv", "notes.txt"]);
    let list = root.path().join("train/metadata.csv");
    let said = format!("; or give the list in it: {}", list.display());
    let one = error(root.path());
    assert!(one.contains("only one class, 'train'") && one.ends_with(&said), "{one}");
    let none = error(&root.path().join("train"));
    assert!(none.contains("no class folders") && none.ends_with(&said), "{none}");
}
