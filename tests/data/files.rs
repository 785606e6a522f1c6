//! Zip files and lists: the same data set as the folder, what is wrong told with its number, nothing unpacked that leads out.

use adapt::data::{Columns, Dataset, ReadOptions, Skipped, Split, images_below, labelled};
use adapt::progress::silent;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn png(value: u8) -> Vec<u8> {
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

fn read(place: &Path) -> Result<Dataset, adapt::Error> {
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
    let (source, paths) = images_below(&[zip.clone(), place.path().join("folder/test")]).unwrap();
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

fn list(place: &Path, name: &str, text: &str, columns: &Columns) -> Result<Dataset, adapt::Error> {
    fs::write(place.join(name), text).unwrap();
    let options = ReadOptions { columns: columns.clone(), ..ReadOptions::new(0.0, 0) };
    Dataset::read(&place.join(name), &options, &silent)
}

#[test]
fn lists_of_any_form_are_read() {
    let place = tempfile::tempdir().unwrap();
    for name in ["i/0.png", "i/1.png", "i/2.png", "i/3.png", "i/4.png"] {
        fs::create_dir_all(place.path().join("i")).unwrap();
        fs::write(place.path().join(name), png(0)).unwrap();
    }
    let rows = [("0", "10", "train"), ("1", "9", "train"), ("2", "10", ""), ("3", "9", "train"), ("4", "9", "test")];
    let text = |head: &str, row: &dyn Fn((&str, &str, &str)) -> String| format!("{head}{}\n", rows.map(row).join("\n"));
    let named = Columns {
        path: Some("who".into()),
        label: Some("what".into()),
        split: Some("when".into()),
        ..Columns::GUESSED
    };
    let usual = |(i, c, s): (&str, &str, &str)| format!("i/{i}.png,{c},{s}");
    let lists = [
        ("a.csv", text("path,label,split\n", &usual), Columns::GUESSED),
        ("b.csv", text("", &usual), Columns::GUESSED),
        ("c.tsv", text("Class\tid\tImage\tset\n", &|(i, c, s)| format!("{c}\t7\ti/{i}.png\t{s}")), Columns::GUESSED),
        (
            "d.csv",
            text("\u{feff}split;file_name;kind\r\n", &|(i, c, s)| format!("{s};\"i/{i}.png\";{c}\r")),
            Columns::GUESSED,
        ),
        ("e.csv", text("id,what,when,who\n", &|(i, c, s)| format!("x.png,{c}, {s},i/{i}.png ")), named),
    ];
    for (name, text, columns) in lists {
        let data = list(place.path(), name, &text, &columns).unwrap_or_else(|error| panic!("{name}: {error}"));
        // Numbers in their own order.
        assert_eq!(data.classes, ["9", "10"], "{name}");
        let found: Vec<_> = data.items.iter().map(|i| (i.path.as_str(), i.label, i.split)).collect();
        let train = [("i/1.png", 0), ("i/3.png", 0), ("i/0.png", 1), ("i/2.png", 1)];
        let mut wanted: Vec<_> = train.map(|(path, label)| (path, label, Split::Train)).into();
        wanted.push(("i/4.png", 0, Split::Test));
        assert_eq!((found, data.skipped.len()), (wanted, 0), "{name}");
        assert_eq!(data.summary(&silent).unwrap().kind, "list");
    }
}

#[test]
fn wrong_lines_are_told_by_number() {
    let place = tempfile::tempdir().unwrap();
    for i in 0..4 {
        fs::write(place.path().join(format!("{i}.png")), png(i)).unwrap();
    }
    let good = "path,label,split\n0.png,a,\n1.png,a,\n2.png,b,\n3.png,b,\n";
    let bad = ["gone.png,a,", "0.png,b,", ",a,", "x.png,,", "x.png,a", "x.png,a,later"];
    let data = list(place.path(), "l.csv", &format!("{good}{}", bad.join("\n")), &Columns::GUESSED).unwrap();
    let skipped: Vec<_> = data.skipped.iter().map(|Skipped { path, reason }| format!("{path}: {reason}")).collect();
    let wanted = [
        "line 6: there is no file 'gone.png'",
        "line 7: '0.png' stands in line 2 already",
        "line 8: no path",
        "line 9: no label",
        "line 10: 2 values, and there are 3 columns",
        "line 11: 'later' is no split; give train, val or test",
    ];
    assert_eq!(skipped, wanted);
    for (text, said) in [
        ("", "is empty"),
        ("path,label\n0.png,;\n", "no training image has a label"),
        ("one,two,three\n1,2,3\n", "which column holds the paths; give --path-column (it has: one, two, three)"),
        ("path,two,three\n0.png,2,3\n", "which column holds the labels; give --label-column"),
        ("path,label\n0.png,a\n1.png,a\n", "only one class"),
        ("path,label\n", "no images to train on"),
    ] {
        let error = list(place.path(), "l.csv", text, &Columns::GUESSED).unwrap_err().to_string();
        assert!(error.contains("l.csv") && error.contains(said), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    fs::write(place.path().join("l.csv"), b"path,label\n0.png,\xff\n").unwrap();
    assert!(read(&place.path().join("l.csv")).unwrap_err().to_string().contains("line 2 is not UTF-8"));
    let columns = Columns { label: Some("kind".into()), ..Columns::GUESSED };
    let error = list(place.path(), "l.csv", good, &columns).unwrap_err().to_string();
    assert!(error.contains("no column 'kind' (--label-column); it has: path, label, split"), "{error}");
}
