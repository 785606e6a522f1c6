//! Folders that are no datasets, and images that are none.

use super::support::Place;
use crate::common::golden;
use std::fs;

/// A PNG that says it has 30000 x 30000 pixels, and holds next to nothing.
fn bomb() -> Vec<u8> {
    let mut file = Vec::new();
    image::RgbImage::new(1, 1).write_to(&mut std::io::Cursor::new(&mut file), image::ImageFormat::Png).unwrap();
    let side = 30000u32.to_be_bytes();
    let ihdr = [&b"IHDR"[..], &side, &side, &file[24..29]].concat();
    // PNG's checksum, bit by bit.
    let crc = !ihdr.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    });
    [&file[..12], &ihdr, &crc.to_be_bytes(), &file[33..]].concat()
}

/// Four files of class `a` that are no images.
fn spoil(place: &Place) {
    let good = fs::read(place.path("data/a/0.png")).unwrap();
    place.write("data/a/corrupt.png", [&good[..50], &[7; 60]].concat());
    place.write("data/a/zero.jpg", "");
    place.write("data/a/text.jpg", "not an image at all\n");
    place.write("data/a/bomb.png", bomb());
}

#[test]
fn folders_that_are_no_datasets() {
    let place = Place::usual();
    fs::create_dir(place.path("empty")).unwrap();
    place.images("one/only", 0, 5);
    place.write("unreadable/a/0.jpg", "x");
    place.write("unreadable/a/1.jpg", "x");
    place.write("unreadable/b/0.jpg", "x");
    place.write("unreadable/b/1.jpg", "x");
    let cases = [
        ("missing", 2, &["missing", "folder of images"][..]),
        ("tiny.onnx", 2, &["not a folder"]),
        ("empty", 1, &["empty", "no class folders"]),
        ("one", 1, &["only one class", "'only'", "2"]),
        ("unreadable", 1, &["none of the 2 training images could be read", "first: a/", "not an image"]),
    ];
    for (folder, code, words) in cases {
        place.adapt(&format!("--data {folder} --onnx tiny.onnx --out out")).fails(code, words);
        assert_eq!(place.outputs(), [""; 0], "{folder}");
    }
}

#[test]
fn unusable_images_are_skipped_and_listed() {
    let place = Place::usual();
    spoil(&place);
    let ran = place.main("").succeeds();
    assert!(ran.out.contains("skipped  4 images"), "{}", ran.out);
    let run = place.json("out/run.json");
    let mut skipped: Vec<_> = run["data"]["skipped"].as_array().unwrap().iter().collect();
    skipped.sort_by_key(|s| s["path"].as_str().unwrap().to_string());
    let found: Vec<_> = skipped.iter().map(|s| (s["path"].as_str().unwrap(), s["reason"].as_str().unwrap())).collect();
    assert_eq!(found[0], ("a/bomb.png", "too large: 30000x30000 pixels"));
    assert!(found[1].0 == "a/corrupt.png" && !found[1].1.is_empty(), "{found:?}");
    assert_eq!(found[2..], [("a/text.jpg", "not an image"), ("a/zero.jpg", "empty file")]);
    let counts: u64 = run["data"]["counts"].as_object().unwrap().values().map(|c| c[0].as_u64().unwrap()).sum();
    assert_eq!(counts, 6);
    assert_eq!(place.read("out/predictions.csv").lines().count(), 1 + 18);
}

#[test]
fn skipped_folders_and_images_are_counted_apart() {
    let place = Place::usual();
    spoil(&place);
    std::os::unix::fs::symlink(place.path("data"), place.path("data/loop")).unwrap();
    let ran = place.main("").succeeds();
    assert!(ran.out.contains("skipped  1 folder and 4 images"), "{}", ran.out);
    assert!(ran.err.contains("note: 1 folder skipped already"), "{}", ran.err);
}

#[test]
fn strict_fails_on_the_first_unusable_image() {
    let place = Place::usual();
    place.write("data/b/zero.jpg", "");
    place.refuses("--strict", 1, &["b/zero.jpg", "empty file", "--strict"]);
    fs::remove_file(place.path("data/b/zero.jpg")).unwrap();
    place.main("--strict").succeeds();
    // Nothing is trained before every split was read.
    for (class, folder) in ["a", "b"].iter().enumerate() {
        place.images(&format!("split/train/{folder}"), class, 3);
        place.images(&format!("split/test/{folder}"), class, 3);
    }
    place.write("split/test/b/zero.jpg", "");
    let ran = place.adapt("--data split --onnx tiny.onnx --out strict --strict -v");
    ran.fails(1, &["test/b/zero.jpg", "empty file", "--strict"]);
    assert!(ran.err.contains("extracting train features"), "{}", ran.err);
    assert!(!ran.err.contains("comparing heads") && !place.path("strict").exists(), "{}", ran.err);
}

#[test]
fn a_class_that_loses_its_images_is_named() {
    let place = Place::usual();
    for i in 0..6 {
        place.write(&format!("data/b/{i}.png"), "");
    }
    place.refuses("", 1, &["class 'b' has no training image left", "unreadable", "the first b/", "empty file"]);
}

#[test]
fn links_pipes_and_folders_with_an_images_name() {
    use std::os::unix::fs::symlink;
    let place = Place::usual();
    symlink(place.path("data"), place.path("data/a/loop")).unwrap();
    symlink(place.path("data/b"), place.path("data/b/self")).unwrap();
    symlink("nowhere", place.path("data/a/broken.jpg")).unwrap();
    fs::create_dir(place.path("data/a/folder.jpg")).unwrap();
    place.shell("mkfifo data/c/pipe.jpg").succeeds();
    place.main("").succeeds();
    let run = place.json("out/run.json");
    let skipped = run["data"]["skipped"].as_array().unwrap();
    let reason = |path: &str| skipped.iter().find(|s| s["path"] == path).unwrap()["reason"].as_str().unwrap();
    assert_eq!(reason("a/loop"), "a symbolic link to a folder that contains it");
    assert_eq!(reason("b/self"), "a symbolic link to a folder that contains it");
    assert_eq!(reason("a/broken.jpg"), "a broken symbolic link");
    assert_eq!(reason("c/pipe.jpg"), "not a regular file");
    assert_eq!(skipped.len(), 4, "{skipped:?}");
    place.adapt("predict out/model.onnx data/c/pipe.jpg").fails(1, &["c/pipe.jpg", "none of the images could be read"]);
    let ran = place.adapt("predict out/model.onnx data --csv").succeeds();
    assert_eq!(ran.out.lines().count(), 1 + 18, "{}", ran.out);
}

#[test]
fn files_that_may_not_be_read() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    let place = Place::usual();
    let mode = |name: &str, mode| fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("data/a/0.png", 0o0);
    // Root may read every file: then the program runs as nobody, who needs to reach it, the folder, and no library.
    let root = fs::File::open(place.path("data/a/0.png")).is_ok();
    mode("", 0o777);
    // By another process: one that is started beside this test could inherit the open file, and keep it from running.
    place.shell("cp \"$ADAPT\" program").succeeds();
    let run = |arguments: &str| {
        let mut command = std::process::Command::new(place.path("program"));
        command.current_dir(place.path("")).args(arguments.split_whitespace());
        if root {
            command.uid(65534).gid(65534);
        }
        place.run(&mut command)
    };
    let main = "--data data --onnx tiny.onnx --out out --engine tract --offline --force";
    run(main).succeeds();
    let skipped = place.json("out/run.json")["data"]["skipped"].clone();
    assert_eq!(skipped[0]["path"], "a/0.png");
    assert!(skipped[0]["reason"].as_str().unwrap().contains("ermission denied"), "{skipped}");
    mode("tiny.onnx", 0o0);
    run(main).fails(1, &["tiny.onnx", "ermission denied"]);
}

#[test]
fn files_of_many_images() {
    let place = Place::usual();
    let header = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    for (stem, count) in [("train", 20), ("t10k", 8)] {
        let labels: Vec<u8> = (0..count).map(|i| [2, 10][i as usize % 2]).collect();
        let pixels = labels.iter().flat_map(|&label| [label * 20; 64]).collect();
        place.write(&format!("digits/{stem}-images-idx3-ubyte"), [header(&[0x803, count, 8, 8]), pixels].concat());
        place.write(&format!("digits/{stem}-labels-idx1-ubyte"), [header(&[0x801, count]), labels].concat());
    }
    let ran = place.adapt("--data digits --onnx tiny.onnx --out out").succeeds();
    assert!(ran.out.contains("adapt predict out/model.onnx digits\n"), "{}", ran.out);
    assert_eq!(place.read("out/labels.txt"), "2\n10\n");
    let run = place.json("out/run.json");
    assert_eq!((&run["data"]["path"], &run["data"]["counts"]["test"]), (&"digits".into(), &serde_json::json!([4, 4])));
    assert!(place.read("out/predictions.csv").contains("t10k-000007,test,10,"));
    let figures = place.adapt("eval out/model.onnx --data digits --json").succeeds();
    let figures: serde_json::Value = serde_json::from_str(&figures.out).unwrap();
    assert_eq!((&figures["n"], &figures["accuracy"]), (&8.into(), &run["metrics"]["test"]["accuracy"]));
    let ran = place.adapt("predict out/model.onnx digits/t10k-images-idx3-ubyte --csv").succeeds();
    assert!(ran.out.lines().count() == 9 && ran.out.contains("\ndigits/t10k-000007,"), "{}", ran.out);
    let ran = place.adapt("embed tiny.onnx digits data").succeeds();
    assert_eq!(ran.out.lines().count(), 1 + 28 + 18, "{}", ran.out);
    place.write("digits/train-labels-idx1-ubyte", header(&[0x801, 9]));
    place.adapt("--data digits --onnx tiny.onnx --out other").fails(1, &["train-labels-idx1-ubyte", "do not belong"]);
}

#[test]
fn zip_files_and_lists() {
    let place = Place::usual();
    let list: String =
        ["a", "b", "c"].map(|c| (0..6).map(|i| format!("{c}/{i}.png,{c}\n")).collect::<String>()).concat();
    place.write("data/list.csv", &list);
    let mut zip = zip::ZipWriter::new(fs::File::create(place.path("all.zip")).unwrap());
    for line in list.lines() {
        let name = line.split_once(',').unwrap().0;
        zip.start_file(format!("photos/{name}"), zip::write::SimpleFileOptions::default()).unwrap();
        std::io::copy(&mut fs::File::open(place.path("data").join(name)).unwrap(), &mut zip).unwrap();
    }
    zip.finish().unwrap();
    // The split goes by the path, which is another in the zip file.
    let main = |data: &str| place.adapt(&format!("--data {data} --onnx tiny.onnx --out out --force --val 0"));
    main("data").succeeds();
    let (model, predictions) = (place.read_bytes("out/model.safetensors"), place.read("out/predictions.csv"));
    let ran = main("data/list.csv").succeeds();
    assert!(ran.out.contains("adapt predict out/model.onnx data/a/0.png\n"), "{}", ran.out);
    assert!(place.read_bytes("out/model.safetensors") == model && place.read("out/predictions.csv") == predictions);
    let ran = main("all.zip").succeeds();
    assert!(ran.out.contains("adapt predict out/model.onnx all.zip\n"), "{}", ran.out);
    assert!(place.read_bytes("out/model.safetensors") == model);
    assert_eq!(place.read("out/predictions.csv").replace("photos/", ""), predictions);
    let ran = place.adapt("predict out/model.onnx all.zip --csv").succeeds();
    assert!(ran.out.lines().count() == 19 && ran.out.contains("\nall.zip/photos/c/5.png,"), "{}", ran.out);
    for data in ["data", "data/list.csv", "all.zip"] {
        let ran = place.adapt(&format!("eval out/model.onnx --data {data} --json")).succeeds();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&ran.out).unwrap()["n"], 18, "{data}");
        let ran = place.adapt(&format!("data {data} --val 0 --json")).succeeds();
        let summary: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((&summary["formats"]["png"], &summary["classes"][1]["train"]), (&18.into(), &6.into()), "{data}");
    }
    // What calls itself an image is one, or broken.
    place.write("gone.png", "{\"error\":\"not found\",\"code\":404}");
    let ran = place.adapt("predict out/model.onnx gone.png data/a/0.png --csv").succeeds();
    assert!(ran.err.contains("warning: gone.png") && ran.out.lines().count() == 2, "{}", ran.err);
    for rows in ["id,label\n1,cat,a/0.png\n2,dog\n", "path,label\na/0.png,cat,train\na/1.png,dog\n"] {
        place.write("data/wide.csv", rows);
        assert!(matches!(place.adapt("data data/wide.csv").code, Some(0..=2)));
    }
    let ran = place.adapt("data all.zip --extract files").succeeds();
    assert!(ran.out == "files: 18 images\n" && place.path("files/photos/b/3.png").is_file(), "{}", ran.out);
    place.adapt("data all.zip --extract files").fails(2, &["files: exists already"]);
    // Names are not needed, nor believed where the first bytes say otherwise.
    fs::copy(place.path("all.zip"), place.path("download")).unwrap();
    fs::copy(place.path("all.zip"), place.path("odd.csv")).unwrap();
    fs::copy(place.path("data/list.csv"), place.path("data/list.txt")).unwrap();
    fs::copy(golden("parquet/multi.parquet"), place.path("rows")).unwrap();
    for (data, format) in [("download", "png"), ("odd.csv", "png"), ("data/list.txt", "png"), ("rows", "png")] {
        let told = place.adapt(&format!("data {data} --val 0 --json")).succeeds().out;
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert!(told["formats"][format].as_u64() > Some(0), "{data}: {told}");
    }
    place.adapt("data data --label-column label").fails(2, &["data: --label-column names a", "a column 'label'"]);
    main("data/list.csv --label-column kind").fails(1, &["list.csv", "no column 'kind' (--label-column)"]);
}

#[test]
fn lists_of_images_to_label() {
    let place = Place::usual();
    place.main("").succeeds();
    place.write("data/more.csv", "name,file\nx,a/0.png\ny,b/1.png\nz,missing.png\n");
    let ran = place.adapt("predict out/model.onnx data/more.csv --csv").succeeds();
    let paths: Vec<&str> = ran.out.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(paths, ["path", "data/a/0.png", "data/b/1.png"]);
    assert!(ran.err.contains("data/missing.png"), "{}", ran.err);
    let alone = place.adapt("predict out/model.onnx data/a/0.png data/b/1.png --csv").succeeds();
    assert_eq!(ran.out, alone.out);
    // Without a header; and the same for features.
    place.write("bare.tsv", "data/a/1.png\n\ndata/c/2.png\n");
    let ran = place.adapt("predict out/model.onnx bare.tsv --json").succeeds();
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
    place.adapt("embed tiny.onnx bare.tsv -o rows.csv").succeeds();
    assert_eq!(place.read("rows.csv").lines().count(), 3);
    place.write("none.csv", "x,y\n1,2\n");
    place.adapt("predict out/model.onnx none.csv").fails(1, &["none.csv", "which column holds the paths", "x, y"]);
    place.write("empty.csv", "");
    place.adapt("predict out/model.onnx empty.csv").fails(1, &["empty.csv", "is empty"]);
}

#[test]
fn a_list_of_which_no_line_can_be_used_says_why() {
    let place = Place::usual();
    place.main("").succeeds();
    let lines: String = (1..=4).map(|i| format!("no/{i}.png,a\n")).collect();
    place.write("list.csv", format!("path,label\n{lines}"));
    let words = ["line 2: there is no file 'no/1.png'", "line 4", "and 1 more"];
    place.adapt("--data list.csv --onnx tiny.onnx --out other").fails(1, &words);
    place.adapt("eval out/model.onnx --data list.csv").fails(1, &words);
    place.adapt("--data list.csv --task multilabel --onnx tiny.onnx --out other").fails(1, &words);
    // Lines that are wrong among others are told by eval, too.
    place.write("list.csv", format!("path,label\ndata/a/0.png,a\n{lines}"));
    assert!(place.adapt("eval out/model.onnx --data list.csv").succeeds().err.contains("line 3: there is no file"));
}

#[test]
fn parquet_with_lists_is_learnt_as_labels() {
    let place = Place::usual();
    fs::copy(crate::common::golden("parquet/multi.parquet"), place.path("multi.parquet")).unwrap();
    place.adapt("--data multi.parquet --onnx tiny.onnx --out out --val 0").succeeds();
    assert_eq!(place.read("out/labels.txt"), "zebra\nant\ncow\n");
    assert_eq!(place.json("out/run.json")["plan"]["task"], "multilabel");
    assert!(place.read("out/predictions.csv").contains("row-000001,train,ant;cow,"));
    let ran = place.adapt("eval out/model.onnx --data multi.parquet --json").succeeds();
    let m: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let support: Vec<u64> = m["per_label"].as_array().unwrap().iter().map(|l| l["support"].as_u64().unwrap()).collect();
    assert_eq!(support, [2, 4, 3]);
    place.adapt("data multi.parquet --extract files").succeeds();
    place
        .adapt("--data multi.parquet --task multiclass --onnx tiny.onnx --out other")
        .fails(1, &["holds lists", "--task"]);
}
