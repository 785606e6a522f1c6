//! MNIST's and CIFAR's files against what torchvision reads (tests/golden/make_records.py), and damaged ones.

use adapt::data::{Columns, Dataset, Pixels, ReadOptions, Source, Split, images_below, labelled};
use adapt::progress::silent;
use adapt::{Error, Result};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

const ALL: ReadOptions = ReadOptions::new(0.0, 0);
const TRAIN: &str = "train-images-idx3-ubyte";

fn golden(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/records").join(folder)
}

fn read(place: &Path) -> Result<Dataset> {
    Dataset::read(place, &ALL, &silent)
}

fn digest(source: &Source, path: &str) -> String {
    let image = source.decode(path, false).unwrap_or_else(|reason| panic!("{path}: {reason}"));
    Sha256::digest(image.values()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn images_labels_and_splits_are_torchvisions() {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(golden("expected.csv")).unwrap();
    let rows: Vec<Vec<String>> = reader.deserialize().map(|row| row.unwrap()).collect();
    for folder in ["mnist", "emnist", "cifar10", "cifar100"] {
        let data = read(&golden(folder)).unwrap();
        let expected: Vec<_> = rows.iter().filter(|row| row[0] == folder).collect();
        assert_eq!(data.items.len(), expected.len(), "{folder}");
        for row in expected {
            let item = data.items.iter().find(|item| item.path == row[1]).unwrap_or_else(|| panic!("{row:?}"));
            let image = data.source.decode(&item.path, false).unwrap();
            let size = (image.height().to_string(), image.width().to_string());
            assert_eq!((&data.classes[item.label], item.split.to_string()), (&row[2], row[3].clone()), "{row:?}");
            assert_eq!(
                (size.0, size.1, digest(&data.source, &item.path)),
                (row[4].clone(), row[5].clone(), row[6].clone())
            );
        }
    }
}

#[test]
fn classes_are_in_the_order_of_their_numbers() {
    assert_eq!(read(&golden("mnist")).unwrap().classes, ["2", "9", "10"]);
    // As batches.meta.txt has them; those without training images are no classes.
    assert_eq!(read(&golden("cifar10")).unwrap().classes, ["zebra", "cat"]);
    assert_eq!(read(&golden("cifar100")).unwrap().classes, ["fine59", "fine63"]);
    let place = copy("cifar10");
    fs::remove_file(place.path().join("batches.meta.txt")).unwrap();
    assert_eq!(read(place.path()).unwrap().classes, ["0", "3"]);
}

#[test]
fn images_and_labels_of_other_names_are_known_by_their_first_bytes() {
    let usual = read(&golden("mnist")).unwrap();
    let counts = |data: &Dataset| [Split::Train, Split::Test].map(|split| data.counts(split));
    for names in [
        ["x_train", "y_train", "x_test.gz", "y_test.gz"],
        ["digits.train.idx3", "digits.train.idx1", "digits.eval.idx3.gz", "digits.eval.idx1.gz"],
        ["train.images", "train.labels", "t10k.image.gz", "t10k.label.gz"],
    ] {
        let place = copy("mnist");
        let own = |name: &str| place.path().join(name);
        let usual_names = [
            "train-images-idx3-ubyte",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte.gz",
            "t10k-labels-idx1-ubyte.gz",
        ];
        usual_names.iter().zip(names).for_each(|(old, new)| fs::rename(own(old), own(new)).unwrap());
        fs::write(own("readme.txt"), "what these files are").unwrap();
        let data = read(place.path()).unwrap();
        assert_eq!((&data.classes, counts(&data)), (&usual.classes, counts(&usual)), "{names:?}");
        // One file, and without labels.
        assert_eq!(read(&own(names[0])).unwrap().items.len(), 7, "{names:?}");
        let (source, paths, _) = images_below(&[own(names[2])], &silent).unwrap();
        assert!(paths.len() == 3 && source.decode(&paths[2], false).is_ok(), "{names:?}: {paths:?}");
        fs::remove_file(own(names[1])).unwrap();
        let error = read(place.path()).unwrap_err().to_string();
        assert!(error.contains("has no labels; put "), "{error}");
    }
}

#[test]
fn one_file_is_a_data_set() {
    let options = ReadOptions::new(0.3, 5);
    let (file, folder) = (golden("mnist").join(TRAIN), Dataset::read(&golden("mnist"), &options, &silent).unwrap());
    let data = Dataset::read(&file, &options, &silent).unwrap();
    // The hash of an image's path decides, in the folder as here.
    let without_test: Vec<_> = folder.items.into_iter().filter(|item| item.split != Split::Test).collect();
    assert!(data.val_from_train && data.items == without_test && data.items.iter().any(|i| i.split == Split::Val));
    let test = read(&golden("mnist").join("t10k-images-idx3-ubyte.gz")).unwrap();
    assert_eq!(test.items.iter().filter(|item| item.label == 2).count(), 1);
    assert!(matches!(data.source.decode("train-000006", true), Ok(Pixels::Gray(_))));
    for path in ["train-000007", "train-6", "train-0000006", "t10k-000000", "train--00001", ""] {
        assert!(data.source.decode(path, false).is_err(), "{path}");
    }
}

#[test]
fn ready_models_see_the_test_images() {
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| name.to_string()).collect() };
    let data = labelled(&golden("mnist"), &names(&["9", "x", "2"]), &Columns::GUESSED, &silent).unwrap();
    let found: Vec<_> = data.items.iter().map(|item| (item.path.as_str(), item.label)).collect();
    assert_eq!(found, [("t10k-000000", 2), ("t10k-000002", 0)]);
    assert!(data.skipped.len() == 1 && data.skipped[0].path == "10" && data.skipped[0].reason.contains("1 images"));
    let train = labelled(&golden("emnist"), &names(&["1", "3"]), &Columns::GUESSED, &silent).unwrap();
    assert!(train.items.len() == 4 && train.skipped.is_empty());
    let error = labelled(&golden("mnist"), &names(&["cat"]), &Columns::GUESSED, &silent).unwrap_err();
    assert!(error.to_string().contains("no class of images"), "{error}");
    // Without labels, several places together.
    let place = copy("mnist");
    fs::remove_file(place.path().join("t10k-labels-idx1-ubyte.gz")).unwrap();
    let (source, paths, _) =
        images_below(&[place.path().to_path_buf(), golden("cifar10").join("test_batch.bin")], &silent).unwrap();
    assert_eq!(paths.len(), 3 + 7 + 2);
    let (mnist, cifar) = (place.path().join("t10k-000001"), golden("cifar10").join("test_batch-000001"));
    for (path, folder) in [(mnist, "mnist"), (cifar, "cifar10")] {
        assert!(paths.contains(&path.to_str().unwrap().to_string()), "{path:?} in {paths:?}");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(digest(&source, path.to_str().unwrap()), digest(&read(&golden(folder)).unwrap().source, name));
    }
}

/// A golden folder that may be changed.
fn copy(folder: &str) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden(folder)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, place.path().join(path.file_name().unwrap())).unwrap();
    }
    place
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn header(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// Puts `content` in place of `folder`'s `name`; the error names the file and is one line.
fn fails(folder: &str, name: &str, content: &[u8], words: &str) {
    let place = copy(folder);
    fs::write(place.path().join(name), content).unwrap();
    let error = read(place.path()).expect_err(words);
    let text = error.to_string();
    assert!(matches!(error, Error::Data { .. } | Error::Io { .. }) && !text.contains('\n'), "{text}");
    assert!(text.contains(words) && (text.contains(name) || words == "several"), "{words}: {text}");
}

#[test]
fn damaged_files_say_what_is_wrong() {
    let whole = fs::read(golden("mnist").join(TRAIN)).unwrap();
    let labels = "train-labels-idx1-ubyte";
    let of = |numbers: &[u32], values: usize| [header(numbers), vec![0; values]].concat();
    for (content, words) in [
        (vec![], "truncated; download it again"),
        (whole[..15].to_vec(), "truncated"),
        (whole[..20].to_vec(), "ends after 4 of the 140 bytes"),
        ([&whole[..], &[0]].concat(), "goes on after the 140 bytes"),
        (of(&[0x801, 7], 7), "begins with 0x00000801, but IDX images with 0x00000803"),
        (of(&[0x803, 0, 5, 4], 0), "has 0 images"),
        (of(&[0x803, 7, 0, 4], 0), "0x4 pixels"),
        (of(&[0x803, 1, u32::MAX, u32::MAX], 0), "pixels cannot be used"),
        (of(&[0x803, u32::MAX, 1, 1], 0), "4294967295 images"),
    ] {
        fails("mnist", TRAIN, &content, words);
    }
    for (content, words) in [
        (of(&[0x801, 8], 8), "8 labels, but train-images-idx3-ubyte has 7 images"),
        (of(&[0x801, 7], 6), "ends after 6 of the 7 bytes"),
        (of(&[0x801, 7], 8), "goes on after the 7 bytes"),
        (of(&[0x803, 7], 7), "IDX labels with 0x00000801"),
    ] {
        fails("mnist", labels, &content, words);
    }
    let test = "t10k-images-idx3-ubyte.gz";
    for (content, words) in [
        (b"no gzip at all".to_vec(), "download it again"),
        (packed(&of(&[0x803, 3, 5, 4], 60))[..30].to_vec(), "download it again"),
        (packed(&of(&[0x803, 3, 5, 4], 10_000_000)), "goes on after the 60 bytes"),
        (packed(&of(&[0x803, 1_000_000, 40, 40], 9)), "ends after 9 of the 1600000000 bytes"),
        (packed(&of(&[0x803, 10_000_000, 28, 28], 9)), "unpacks to 7840000000 bytes"),
    ] {
        fails("mnist", test, &content, words);
    }
    fails("mnist", "other-train-images-idx3-ubyte", &whole, "several");
    fails("mnist", "x_train", &whole, "'train-images-idx3-ubyte', 'x_train'); give a folder");
    fails("mnist", "train.bin", &[0; 3074], "several");
    fails(
        "emnist",
        "emnist-letters-test-images-idx3-ubyte",
        &whole,
        "has no labels; put emnist-letters-test-labels-idx1",
    );
    let record = [vec![11], vec![0; 3072]].concat();
    fails("cifar10", "data_batch_2.bin", &record[..3000], "3000 bytes, not a whole number of records of 3073");
    fails("cifar10", "data_batch_2.bin", &record, "record 0 has the label 11, but there are 10 classes");
    fails("cifar10", "batches.meta.txt", b"a\nb\na\n", "'a' twice");
    fails("cifar10", "batches.meta.txt", b"a\xff\n", "UTF-8");
}

#[test]
fn folders_that_only_look_alike() {
    let place = tempfile::tempdir().unwrap();
    let png = |name: &str| {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::GrayImage::new(2, 2).save(path).unwrap();
    };
    ["a/1.png", "a/2.png", "b/1.png", "b/2.png"].into_iter().for_each(png);
    fs::write(place.path().join("train.bin"), b"weights").unwrap();
    assert_eq!(read(place.path()).unwrap().classes, ["a", "b"]);
    let python = tempfile::tempdir().unwrap();
    ["data_batch_1", "batches.meta"].into_iter().for_each(|name| fs::write(python.path().join(name), b"x").unwrap());
    assert!(read(python.path()).unwrap_err().to_string().contains("binary version"));
    let test = copy("mnist");
    fs::remove_file(test.path().join(TRAIN)).unwrap();
    assert!(read(test.path()).unwrap_err().to_string().contains("no images to train on"));
}
