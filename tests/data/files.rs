//! Zip files: the same data set as the folder, nothing unpacked that leads out.

use adapt::data::{Columns, Dataset, ReadOptions, Split, images_below, labelled};
use adapt::progress::{Event, silent};
use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

pub fn png(value: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(3, 2, image::Rgb([value; 3])).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn archive(path: &Path, members: &[(&str, Vec<u8>)]) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    for (name, content) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap();
}

/// Four images in two classes and a test image below `around`, as a folder and as a zip file.
fn both(place: &Path, around: &str) -> [PathBuf; 2] {
    let names = ["train/a/0.png", "train/a/1.png", "train/b/x/2.PNG", "train/b/3.png", "test/b/4.png"];
    let members: Vec<(String, Vec<u8>)> =
        (0..).zip(names).map(|(i, name)| (format!("{around}{name}"), png(i))).collect();
    for (name, content) in &members {
        let path = place.join("folder").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let mut members: Vec<(&str, Vec<u8>)> = members.iter().map(|(name, content)| (&**name, content.clone())).collect();
    members.extend([("__MACOSX/train/a/._0.png", vec![1]), (".hidden/a/9.png", png(9)), ("notes.txt", vec![2])]);
    archive(&place.join("all.zip"), &members);
    [place.join("folder").join(around), place.join("all.zip")]
}

pub fn read(place: &Path) -> Result<Dataset, adapt::Error> {
    Dataset::read(place, &ReadOptions::new(0.0, 0), &silent)
}

#[test]
fn a_zip_file_is_the_folder_in_it() {
    for around in ["", "photos/of/"] {
        let place = tempfile::tempdir().unwrap();
        let [folder, zip] = both(place.path(), around).map(|place| read(&place).unwrap());
        assert_eq!(folder.classes, zip.classes);
        let own = |data: &Dataset, around: &str| -> Vec<(String, usize, Split, adapt::data::Pixels)> {
            let pixels = |path: &str| data.source.decode(path, false).unwrap();
            let path = |path: &str| path.strip_prefix(around).unwrap().to_owned();
            data.items.iter().map(|i| (path(&i.path), i.label, i.split, pixels(&i.path))).collect()
        };
        assert_eq!(own(&folder, ""), own(&zip, around));
        assert_eq!(folder.items.len(), 5);
        let summary = zip.summary(&silent).unwrap();
        assert_eq!((summary.kind, summary.formats["png"], summary.sizes[1]), ("zip file", 5, [2, 3]));
        // Extracted, it is the folder again.
        let out = place.path().join("out");
        assert_eq!(zip.extract(&out, &silent).unwrap(), (5, Vec::new()));
        assert_eq!(own(&read(&out.join(around)).unwrap(), ""), own(&folder, ""));
        assert!(zip.extract(&out, &silent).unwrap_err().to_string().contains("exists already"));
    }
}

#[test]
fn zip_files_are_labelled_and_measured() {
    let place = tempfile::tempdir().unwrap();
    let [_, zip] = both(place.path(), "");
    let test = labelled(&zip, &["b".into(), "a".into()], &Columns::GUESSED, &silent).unwrap();
    assert_eq!(test.items.iter().map(|i| (i.path.as_str(), i.label)).collect::<Vec<_>>(), [("test/b/4.png", 0)]);
    let (source, paths, _) = images_below(&[zip.clone(), place.path().join("folder/test")], &silent).unwrap();
    assert_eq!(paths.len(), 6);
    assert!(paths[0].starts_with(&format!("{}/test/b", zip.display())), "{paths:?}");
    assert!(paths.iter().all(|path| source.decode(path, true).is_ok()));
}

#[test]
fn damaged_zip_files_are_told() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("bad.zip");
    fs::write(&path, b"PK no").unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("not a zip file"));
    archive(
        &path,
        &[
            ("a/0.png", png(0)),
            ("a/1.png", png(1)),
            ("b/0.png", png(2)),
            ("b/../../../out.png", png(3)),
            ("b/1.png", png(4)),
        ],
    );
    let mut bytes = fs::read(&path).unwrap();
    // The first member's content.
    bytes[60] ^= 0x55;
    fs::write(&path, bytes).unwrap();
    let data = read(&path).unwrap();
    let out = place.path().join("out");
    let (written, skipped) = data.extract(&out, &silent).unwrap();
    let paths: Vec<&str> = skipped.iter().map(|s| s.path.as_str()).collect();
    // What leads out is passed over, as all that is hidden.
    assert_eq!((written, paths), (3, vec!["a/0.png"]));
    assert!(!place.path().parent().unwrap().join("out.png").exists());
}

#[test]
fn members_that_are_packed_in_another_way_say_how() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.zip");
    archive(&path, &[("a/0.png", png(0)), ("a/1.png", png(1)), ("b/0.png", png(2)), ("b/1.png", png(3))]);
    let whole = fs::read(&path).unwrap();
    // The first member's entry in the table at the end: flags and method lie behind its mark and two versions.
    let entry = whole.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    for (flags, method, words) in [
        (0, 9, "compressed with Deflate64, which is not read; unpack"),
        (0, 12, "compressed with bzip2"),
        (0, 14, "compressed with LZMA"),
        (0, 93, "compressed with Zstandard"),
        (0, 77, "compressed by the method 77"),
        (1, 8, "encrypted; unpack the zip file with its password"),
        (1, 99, "encrypted"),
    ] {
        let mut bytes = whole.clone();
        for at in [6, entry + 8] {
            (bytes[at], bytes[at + 2]) = (flags, method);
        }
        fs::write(&path, bytes).unwrap();
        let data = read(&path).unwrap();
        let why = data.source.decode("a/0.png", false).unwrap_err();
        assert!(why.contains(words), "{method}: {why}");
        let (written, skipped) = data.extract(&place.path().join(format!("out{method}")), &silent).unwrap();
        assert_eq!((written, &skipped[0].reason), (3, &why));
        // The table counts what can be used.
        let told = data.summary(&silent).unwrap();
        assert_eq!((told.classes[0].train, told.classes[1].train, told.skipped.len()), (1, 2, 1));
    }
}

#[test]
fn names_as_windows_writes_them_and_roots() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.zip");
    let names = ["train\\a\\0.png", "train\\a\\1.png", "/train/b/0.png", "train/b/1.png", "..\\test\\b\\2.png"];
    archive(&path, &(0..).zip(names).map(|(i, name)| (name, png(i))).collect::<Vec<_>>());
    let data = read(&path).unwrap();
    let paths: Vec<&str> = data.items.iter().map(|item| item.path.as_str()).collect();
    assert_eq!(paths, ["train/a/0.png", "train/a/1.png", "train/b/0.png", "train/b/1.png"]);
    assert!(paths.iter().all(|path| data.source.decode(path, false).is_ok()));
    assert_eq!(data.extract(&place.path().join("out"), &silent).unwrap(), (4, Vec::new()));
    // Where none can be written, nothing is.
    let mut data = data;
    data.items.iter_mut().for_each(|item| item.path.push('x'));
    let why = data.extract(&place.path().join("none"), &silent).unwrap_err().to_string();
    assert!(why.contains("none of the images could be written; first: train/a/0.pngx"), "{why}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
}

#[test]
fn names_with_a_point_before_them() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.zip");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    // As bsdtar packs a folder from within.
    for folder in ["./", "./a/", "./b/"] {
        zip.add_directory(folder, SimpleFileOptions::default()).unwrap();
    }
    for (i, name) in ["./a/0.png", "./a/1.png", "./b/0.png", "b/./1.png", "./.hidden/2.png"].iter().enumerate() {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&png(i as u8)).unwrap();
    }
    zip.finish().unwrap();
    let data = read(&path).unwrap();
    let paths: Vec<&str> = data.items.iter().map(|item| item.path.as_str()).collect();
    assert_eq!(paths, ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]);
    // What is hidden is another file, the folder of all is none.
    assert_eq!(data.notes, ["1 files with other extensions were ignored"]);
    assert!(paths.iter().all(|path| data.source.decode(path, false).is_ok()));
}

#[test]
fn images_beside_the_classes_are_in_none() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.zip");
    let found = |names: &[&str]| {
        archive(&path, &(0..).zip(names).map(|(i, name)| (*name, png(i))).collect::<Vec<_>>());
        let data = read(&path).unwrap();
        (data.classes.join(" "), data.items.len(), data.split(Split::Test).count(), data.notes)
    };
    let note = |count| vec![format!("{count} images outside of class folders were ignored")];
    let own = ["photos/a/0.png", "photos/a/1.png", "photos/b/0.png", "photos/b/x/1.png"];
    assert_eq!(found(&own), ("a b".into(), 4, 0, Vec::new()));
    assert_eq!(found(&[&own[..], &["photos/cover.jpg"]].concat()), ("a b".into(), 4, 0, note(1)));
    assert_eq!(found(&[&own[..], &["photos/cover.jpg", "cover.png"]].concat()), ("a b".into(), 4, 0, note(2)));
    let split = own.map(|name| name.replace("photos/", "set/of/train/"));
    let mut split: Vec<&str> = split.iter().map(String::as_str).collect();
    split.extend(["set/of/test/a/5.png", "set/of/test/b/6.png", "set/of/cover.png", "set/cover.png", "cover.png"]);
    assert_eq!(found(&split), ("a b".into(), 6, 2, note(3)));
    // A folder with images of its own, and one folder in it, is a class.
    archive(&path, &["cat/1.png", "cat/2.png", "cat/extra/3.png"].map(|name| (name, png(1))));
    assert!(read(&path).unwrap_err().to_string().contains("only one class, 'cat'"));
    // Two folders are classes, whatever lies below them.
    let two = ["a/0.png", "a/1.png", "b/x/0.png", "b/x/1.png"];
    assert_eq!(found(&two), ("a b".into(), 4, 0, Vec::new()));
}

#[test]
fn names_that_no_file_can_have_cost_that_image_alone() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.zip");
    let long = format!("a/{}.png", "x".repeat(300));
    archive(
        &path,
        &[("a/0.png", png(0)), (&long, png(1)), ("b/0.png", png(2)), ("b/0.png/1.png", png(3)), ("b/2.png", png(4))],
    );
    let (written, skipped) = read(&path).unwrap().extract(&place.path().join("out"), &silent).unwrap();
    // Which of a file and a folder of one name comes first is chance.
    assert_eq!((written, skipped.len()), (3, 2), "{skipped:?}");
    assert!(skipped.iter().all(|s| s.reason.starts_with("no file can be called so")), "{skipped:?}");
}

#[test]
fn folders_of_a_zip_file_that_are_called_as_images_are_none() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.zip");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    for folder in ["a/album.png/", "b/album.jpg/"] {
        zip.add_directory(folder, SimpleFileOptions::default()).unwrap();
    }
    for (i, name) in ["a/album.png/0.png", "a/1.png", "b/album.jpg/2.png", "b/3.png", "notes.txt"].iter().enumerate() {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&png(i as u8)).unwrap();
    }
    zip.finish().unwrap();
    let data = read(&path).unwrap();
    assert_eq!(
        (data.items.len(), &data.notes[..]),
        (4, &["1 files with other extensions were ignored".to_string()][..])
    );
}

/// Breaks the work off at the first step of a stage.
fn stop_at(stage: &'static str) -> impl Fn(Event) -> ControlFlow<()> + Sync {
    let there = AtomicBool::new(false);
    move |event| match event {
        Event::Stage { name, .. } => {
            there.store(name == stage, Ordering::SeqCst);
            ControlFlow::Continue(())
        }
        Event::Advance(steps) if steps > 0 && there.load(Ordering::SeqCst) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    }
}

#[test]
fn listing_can_be_stopped() {
    let place = tempfile::tempdir().unwrap();
    let (zip, table) = (place.path().join("x.zip"), place.path().join("x.csv"));
    let names: Vec<String> = (0..300).map(|i| format!("{}/{i}.png", ["a", "b"][i % 2])).collect();
    archive(&zip, &names.iter().map(|name| (name.as_str(), Vec::new())).collect::<Vec<_>>());
    fs::write(&table, (0..5000).map(|i| format!("{i}.png,a\n")).collect::<String>()).unwrap();
    let hub = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parquet/hub");
    let stages = [
        (&zip, "listing images"),
        (&table, "reading the list"),
        (&table, "looking for the images"),
        (&hub, "copying images"),
    ];
    for (place, stage) in stages {
        let error = Dataset::read(place, &ReadOptions::new(0., 0), &stop_at(stage)).unwrap_err();
        assert!(matches!(error, adapt::Error::Interrupted), "{stage}: {error}");
        let error = images_below(std::slice::from_ref(place), &stop_at(stage));
        assert!(matches!(error, Err(adapt::Error::Interrupted)) || stage == "looking for the images", "{stage}");
    }
}
