//! The audit through the command line, and what the main job leaves out.

use super::support::Place;
use adapt::random::{stream, uniform};
use image::imageops::{FilterType, resize};
use image::{Rgb, RgbImage};
use std::fs;

/// Two classes of images that all differ, with `copies` of test images and of each other among those to train.
fn place() -> Place {
    let place = Place::usual();
    for (split, count) in [("train", 12), ("test", 4)] {
        for (class, name) in ["a", "b"].iter().enumerate() {
            let folder = place.path(format!("set/{split}/{name}"));
            fs::create_dir_all(&folder).unwrap();
            for i in 0..count {
                let mut random = stream(class as u64, split, 0, i);
                let coarse =
                    RgbImage::from_fn(6, 6, |_, _| Rgb([0; 3].map(|_: u8| (uniform(&mut random) * 180.) as u8)));
                let mut image = resize(&coarse, 24, 24, FilterType::CatmullRom);
                image.pixels_mut().for_each(|pixel| pixel[2] = 60 + 100 * class as u8);
                image.save(folder.join(format!("{i:02}.png"))).unwrap();
            }
        }
    }
    let copy =
        |from: &str, to: &str| fs::copy(place.path("set").join(from), place.path("set").join(to)).map(|_| ()).unwrap();
    copy("test/a/01.png", "train/a/leak.png");
    copy("train/a/03.png", "train/a/twin.png");
    copy("train/b/05.png", "train/a/other.png");
    place
}

#[test]
fn the_audit_lists_what_was_planted() {
    let place = place();
    let audit = |more: &str| place.adapt(&format!("audit --data set --onnx tiny.onnx --val 0 {more}")).succeeds();
    let table = audit("");
    assert!(table.out.contains("set: 35 images: 1 leak, 2 conflicts"), "{}", table.out);
    assert!(table.out.contains("train/a/leak.png") && table.out.contains("alone tells"), "{}", table.out);
    let found: serde_json::Value = serde_json::from_str(&audit("--json").out).unwrap();
    let findings = found["findings"].as_array().unwrap();
    let of = |kind: &str| -> Vec<(&str, &str)> {
        let own = findings.iter().filter(|finding| finding["kind"] == kind);
        own.map(|f| (f["path"].as_str().unwrap(), f["suggestion"].as_str().unwrap())).collect()
    };
    assert_eq!(of("leak"), [("train/a/leak.png", "test/a/01.png")]);
    assert_eq!(of("duplicate"), [("train/a/twin.png", "train/a/03.png")]);
    assert_eq!(of("conflict"), [("train/a/other.png", "train/b/05.png"), ("train/b/05.png", "train/a/other.png")]);
    assert_eq!((&found["images"], &found["counts"]["leak"]), (&35.into(), &1.into()));

    // The CSV has every image, and is a data set where they lie.
    let csv = audit("--csv").out;
    let lines: Vec<_> = csv.lines().collect();
    assert!(lines.len() == 36 && lines[1].starts_with("train/a/leak.png,a,train,leak"), "{csv}");
    assert_eq!(lines[0], "path,label,split,kind,score,suggestion");
    let edited: Vec<_> = lines.iter().filter(|line| !line.contains("leak.png,")).copied().collect();
    place.write("set/audit.csv", edited.join("\n"));
    place.adapt("--data set/audit.csv --onnx tiny.onnx --out listed").succeeds();
    let counts = place.json("listed/run.json")["data"]["counts"].clone();
    assert_eq!((counts["test"][0].as_u64(), counts["val"].is_array()), (Some(4), true), "{counts}");
}

#[test]
fn the_main_job_warns_and_leaves_out() {
    let place = place();
    let run = |out: &str, more: &str| {
        let ran = place.adapt(&format!("--data set --onnx tiny.onnx --val 0 --out {out} {more}")).succeeds();
        let run = place.json(&format!("{out}/run.json"));
        let skipped = run["data"]["skipped"].as_array().unwrap().clone();
        let skipped: Vec<String> = skipped
            .iter()
            .map(|s| format!("{}: {}", s["path"].as_str().unwrap(), s["reason"].as_str().unwrap()))
            .collect();
        (ran.err, skipped, run["data"]["counts"]["train"].clone())
    };
    let (told, skipped, counts) = run("plain", "");
    let leak = "warning: training images that are copies of validation or test images: at least 1, as train/a/leak.png of test/a/01.png";
    assert!(told.contains(leak) && skipped.is_empty() && counts == serde_json::json!([15, 12]), "{told}");
    let problems = place.json("plain/run.json")["problems"].clone();
    assert_eq!((&problems["complete"], &problems["counts"]["leak"]), (&false.into(), &1.into()), "{problems}");
    let page = place.read("plain/report.html");
    for words in [
        "1 training images that are copies of validation or test",
        "is a copy of test&#x2f;a&#x2f;01.png",
        "adapt audit",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let (told, skipped, counts) = run("fewer", "--drop leaks,duplicates");
    assert!(told.contains("         train/a/leak.png: a copy of test/a/01.png, which validates or tests"), "{told}");
    assert!(place.read("fewer/report.html").contains("4 of these images did not train"));
    assert!(told.contains("training images left out: 4") && counts == serde_json::json!([12, 11]), "{told}");
    let reasons = [
        "train/a/leak.png: a copy of test/a/01.png, which validates or tests (--drop leaks)",
        "train/a/other.png: a copy of train/b/05.png, which has another label (--drop duplicates)",
        "train/a/twin.png: a copy of train/a/03.png (--drop duplicates)",
    ];
    assert!(reasons.iter().all(|reason| skipped.iter().any(|s| s == reason)), "{skipped:?}");
    let (told, skipped, _) = run("sure", "--drop suspects");
    assert!(skipped.iter().all(|s| s.ends_with("(--drop suspects)")), "{told}{skipped:?}");
    assert!(told.contains(leak), "{told}");
    // Training inside leaves out the same.
    let (_, inside, counts) = run("inside", "--drop leaks,duplicates --train all --epochs 1");
    assert!(inside.len() == 4 && counts == serde_json::json!([12, 11]), "{inside:?}");
    // The same bytes again.
    run("again", "--drop leaks,duplicates");
    assert_eq!(place.read_bytes("fewer/model.onnx"), place.read_bytes("again/model.onnx"));
}

#[test]
fn the_main_job_tells_of_unequal_classes_and_of_images_that_show_nothing() {
    let place = place();
    let blank = RgbImage::from_pixel(24, 24, Rgb([250; 3]));
    blank.save(place.path("set/train/a/blank.png")).unwrap();
    RgbImage::from_fn(3, 3, |x, y| Rgb([(x * 90 + y * 20) as u8; 3])).save(place.path("set/train/a/tiny.png")).unwrap();
    let told = place.adapt("--data set --onnx tiny.onnx --val 0 --out out --drop duplicates").succeeds().err;
    let line = "training images of one colour all over: 1; of far fewer pixels than usual: 1";
    assert!(told.contains(line) && !told.contains("unequal"), "{told}");
    let counts = place.json("out/run.json")["problems"]["counts"].clone();
    assert_eq!((&counts["blank"], &counts["tiny"]), (&1.into(), &1.into()), "{counts}");
    let page = place.read("out/report.html");
    assert!(page.contains("1 training images that show nothing") && page.contains("has 3x3 pixels"));
    (1..12).for_each(|i| fs::remove_file(place.path(format!("set/train/b/{i:02}.png"))).unwrap());
    let told = place.adapt("--data set --onnx tiny.onnx --val 0 --out rare").succeeds().err;
    assert!(told.contains("the classes are unequal: 'a' has 17 training images, 'b' 1"), "{told}");
}

#[test]
fn images_are_decoded_once_and_what_they_tell_is_kept() {
    let place = place();
    let job = "audit --data set --onnx tiny.onnx --preprocess raw01 --val 0 --json";
    let audit = |more: &str| place.adapt(&format!("{job} {more}")).succeeds();
    let plain = audit("");
    assert!(plain.err.contains("extracting features: 35") && !plain.err.contains("looking"), "{}", plain.err);
    let (first, second) = (audit("--cache kept"), audit("--cache kept"));
    assert!(second.err.contains("features from the cache: 35") && !second.err.contains("extracting"), "{}", second.err);
    assert!(first.out == plain.out && second.out == plain.out);
    // Where features were kept by who did not look.
    place.adapt("embed tiny.onnx set --preprocess raw01 --cache other -o rows.npy").succeeds();
    for _ in 0..2 {
        let after = audit("--cache other");
        assert!(after.out == plain.out && !after.err.contains("extracting"), "{}", after.err);
    }
}

#[test]
fn the_main_job_counts_outliers_and_warns_of_shortcuts() {
    let place = place();
    let odd = RgbImage::from_fn(24, 24, |x, y| Rgb([255 * ((x / 3 + y / 3) % 2) as u8, 250, 0]));
    odd.save(place.path("set/train/a/odd.png")).unwrap();
    let found = place.adapt("audit --data set --onnx tiny.onnx --val 0 --json").succeeds().out;
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let far: Vec<_> = found["findings"].as_array().unwrap().iter().filter(|f| f["kind"] == "outlier").collect();
    assert!(far.iter().any(|f| f["path"] == "train/a/odd.png"), "{found}");
    let trained = far.iter().filter(|f| f["split"] == "train").count();
    for more in ["", "--drop leaks", "--train all --epochs 1 --drop leaks"] {
        let ran = place.adapt(&format!("--data set --onnx tiny.onnx --val 0 --out out --force {more}")).succeeds();
        let line = format!("audit    training images that are far from all others: {trained}; adapt audit --data set");
        assert!(ran.err.contains(&line), "{more}: {}", ran.err);
        assert!(ran.err.contains("warning: the mean colour alone tells 9"), "{more}: {}", ran.err);
        let run = place.json("out/run.json");
        assert_eq!(run["problems"]["counts"]["outlier"], trained, "{more}");
        assert!(run["data"]["notes"].to_string().contains("mean colour alone"), "{}", run["data"]["notes"]);
    }
    let page = place.read("out/report.html");
    assert!(page.contains("training images that are far from all others") && page.contains("mean colour alone"));
}

#[test]
fn odd_data_is_refused_or_listed() {
    let place = Place::usual();
    place.adapt("audit --data missing --onnx tiny.onnx").fails(2, &["missing"]);
    place.adapt("audit --data data --onnx data/a/0.png").fails(1, &["0.png"]);
    place.write("bad/a/0.png", "x");
    place.write("bad/a/1.png", "x");
    place.write("bad/b/0.png", "x");
    place.write("bad/b/1.png", "x");
    place.adapt("audit --data bad --onnx tiny.onnx").fails(1, &["bad", "none of the images could be read"]);
    // One class is left with a single image, and one with none.
    place.images("odd/a", 0, 5);
    place.images("odd/b", 1, 5);
    (1..5).for_each(|i| place.write(&format!("odd/b/{i}.png"), ""));
    place.write("odd/c/0.png", "");
    place.write("odd/c/1.png", "");
    let ran = place.adapt("audit --data odd --onnx tiny.onnx --val 0 --json").succeeds();
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["counts"]["unreadable"], 6);
    let alone = place.adapt("audit --data data --onnx tiny.onnx --csv --json");
    assert_eq!(alone.code, Some(2));
    place.refuses("--drop everything", 2, &["everything"]);
}

#[test]
fn of_many_copies_all_are_copies() {
    let place = place();
    // One picture says of many that they are not there.
    let copy = |to: String| assert!(fs::copy(place.path("set/train/b/07.png"), place.path(to)).is_ok());
    (0..30).for_each(|number| copy(format!("set/train/{}/no{number}.png", ["a", "b"][number % 2])));
    (0..10).for_each(|number| copy(format!("set/test/a/no{number}.png")));
    let audited = place.adapt("audit --data set --onnx tiny.onnx --val 0 --json").succeeds();
    let told: serde_json::Value = serde_json::from_str(&audited.out).unwrap();
    // With what was planted already, and the picture itself.
    assert_eq!((&told["counts"]["leak"], &told["counts"]["conflict"]), (&32.into(), &43.into()));
    let ran = place.adapt("--data set --onnx tiny.onnx --out out --val 0 --drop leaks").succeeds();
    assert!(ran.err.contains("validation or test images: 32, as"), "{}", ran.err);
    let rows = place.read("out/predictions.csv");
    assert!(!rows.lines().any(|line| line.starts_with("train/") && line.contains("/no")), "{rows}");
    // What has the same features is found by those who only glance, too.
    let ran = place.adapt("--data set --onnx tiny.onnx --out out --val 0 --force").succeeds();
    assert!(ran.err.contains("at least 32, as"), "{}", ran.err);
}

#[test]
fn conflicts_with_images_that_do_not_train_are_no_duplicates() {
    let place = place();
    let copy = |to: &str| assert!(fs::copy(place.path("set/train/b/07.png"), place.path(to)).is_ok());
    // With one that trains and one that tests, and with one that tests alone.
    ["set/train/a/both.png", "set/test/a/both.png"].iter().for_each(|to| copy(to));
    fs::copy(place.path("set/train/b/08.png"), place.path("set/test/a/one.png")).unwrap();
    place.adapt("--data set --onnx tiny.onnx --out out --val 0 --drop duplicates").succeeds();
    let run: serde_json::Value = serde_json::from_str(&place.read("out/run.json")).unwrap();
    let left = run["data"]["skipped"].as_array().unwrap();
    let left: Vec<&str> = left.iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert!(left.contains(&"train/a/both.png") && left.contains(&"train/b/07.png"), "{left:?}");
    assert!(!left.contains(&"train/b/08.png"), "{left:?}");
}
