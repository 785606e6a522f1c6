//! `report.html`: whole without scripts and network, made again from a run's files, hostile names shown and not obeyed.

use super::support::{Place, left_out};
use std::fs;
use std::process::Command;

const HOSTILE: &str = "</script><script>alert(1)</script>\"'&{{7*7}}";

/// Two classes that cannot be told apart by colour, so that there are mistakes, and a test set.
pub fn place() -> Place {
    let (place, names) = (Place::empty(), ["a", "b"]);
    fs::copy(crate::common::golden("tiny.onnx"), place.path("tiny.onnx")).unwrap();
    for (class, name) in names.into_iter().enumerate() {
        for (split, count) in [("train", 8), ("test", 6)] {
            place.images(&format!("data/{split}/{name}"), 0, count);
            super::support::image(&place.path(format!("data/{split}/{name}/own.png")), class, 40);
        }
    }
    place.write(&format!("data/train/{}/broken.png", names[0]), "no image");
    place
}

/// The text inside of `<pre id="…"><code>`.
pub fn code(page: &str, id: &str) -> String {
    let start = format!("id=\"{id}\"><code>");
    let text = page.split(&start).nth(1).unwrap().split("</code>").next().unwrap();
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#x27;", "'");
    text.replace("&#x2f;", "/").replace("&amp;", "&")
}

#[test]
fn every_run_has_one() {
    let place = place();
    place.main("").succeeds();
    let page = place.read("out/report.html");
    for words in ["95 % interval", "Accuracy", "Without a model", "taken for", "Model card", "broken.png"] {
        assert!(page.contains(words), "{words}");
    }
    for id in ["figures", "confusion", "classes", "calibration", "images", "map", "data", "card", "code"] {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    // Each picture is there once, and nothing is fetched from anywhere.
    assert_eq!(page.matches("<image id=\"t").count(), 14);
    for foreign in ["http:", "https:", "src=", "url(", "@import", "//cdn"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    // Every link leads somewhere.
    for link in page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(page.contains(&format!("id=\"{link}\"")), "{link}");
    }
}

#[test]
fn hostile_names_are_text() {
    let (place, long) = (place(), "y".repeat(5000));
    let field = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut list = "path,label,split\n".to_string();
    let folder = place.path(HOSTILE.replace('/', "\u{2215}"));
    fs::rename(place.path("data"), &folder).unwrap();
    let folder = folder.file_name().unwrap().to_str().unwrap();
    for (split, count) in [("train", 8), ("test", 6)] {
        for (class, label) in [("a", HOSTILE), ("b", &*long)] {
            let row = |i| format!("{},{},{split}\n", field(&format!("{folder}/{split}/{class}/{i}.png")), field(label));
            list += &(0..count).map(row).collect::<String>();
        }
    }
    place.write("list.csv", &list);
    place.adapt("--data list.csv --onnx tiny.onnx --out out").succeeds();
    let page = place.read("out/report.html");
    assert!(page.contains("&lt;script&gt;alert(1)"), "the name is shown");
    assert!(!page.contains("<script>alert") && page.contains("{{7*7}}"), "it is not obeyed");
    assert_eq!(page.matches("<script").count(), 1);
    let quoted = page.split(['<', '>']).filter(|tag| tag.contains("aria-label=\"")).collect::<Vec<_>>();
    assert!(page.contains(&("y".repeat(200) + "…")) && !page.contains(&"y".repeat(201)), "long ones are cut");
    assert!(quoted.iter().all(|tag| tag.matches('"').count() % 2 == 0), "no attribute ends early");
}

#[test]
fn it_is_made_again_without_the_images() {
    let place = place();
    place.main("").succeeds();
    let first = place.read("out/report.html");
    fs::remove_file(place.path("out/report.html")).unwrap();
    place.adapt("report out").succeeds();
    assert_eq!(place.read("out/report.html"), first);
    fs::rename(place.path("data"), place.path("moved")).unwrap();
    let ran = place.adapt("report out -o other.html").succeeds();
    assert!(ran.err.contains("without pictures") && ran.err.contains("--data"), "{}", ran.err);
    // Pictures that cannot be made again are not lost.
    let what = ["out/report.html: it has 14 pictures, and would have 0", "--data says where they are now; --force"];
    place.adapt("report out").fails(1, &what);
    assert_eq!(place.read("out/report.html"), first);
    place.adapt("report out --force").succeeds();
    assert!(place.read("out/report.html").contains("There are no pictures"));
    place.adapt("report out").succeeds();
    let page = place.read("other.html");
    assert!(page.contains("There are no pictures") && !page.contains("data:image/jpeg"));
    place.adapt("report out -o other.html --data moved").fails(2, &["other.html", "--force"]);
    place.adapt("report out -o other.html --data moved --force").succeeds();
    assert_eq!(place.read("other.html"), first);
    // An earlier version's run has neither scores nor the newer figures.
    fs::remove_file(place.path("out/scores.safetensors")).unwrap();
    let mut run = place.json("out/run.json");
    let figures = run["metrics"]["test"].as_object_mut().unwrap();
    ["intervals", "baseline", "reliability", "ece", "brier"].iter().for_each(|key| drop(figures.remove(*key)));
    place.write("out/run.json", run.to_string());
    place.adapt("report out --data moved").succeeds();
    assert!(!place.read("out/report.html").contains("id=\"map\""));
}

#[test]
fn what_is_not_measured_is_not_shown() {
    let place = Place::usual();
    place.main("--val 0").succeeds();
    let page = place.read("out/report.html");
    assert!(page.contains("folds of a cross-validation") && !page.contains("id=\"confusion\""));
    place.main("--train all --probe off --epochs 1 --val 0 --force").succeeds();
    assert!(place.read("out/report.html").contains("nothing was measured"));
}

#[test]
fn sections_come_with_their_data() {
    let place = place();
    place.main("").succeeds();
    assert!(!place.read("out/report.html").contains("Learning curve"));
    let mut run = place.json("out/run.json");
    run["head"]["learning_curve"] = serde_json::json!({
        "points": [{"images": 10, "accuracy": 0.5, "std_err": 0.1}, {"images": 20, "accuracy": 0.7, "std_err": 0.05}],
        "expected": [{"images": 40, "accuracy": 0.8, "std_err": 0.05}]});
    run["head"]["calibration_error"] = serde_json::json!([0.1, 0.0123]);
    run["head"]["compared"] =
        serde_json::json!([{"kind": "lda", "taps": 2, "macro_f1": 0.75}, {"kind": "<b>", "macro_f1": "<i>"}]);
    place.write("out/run.json", run.to_string());
    place.adapt("report out").succeeds();
    let page = place.read("out/report.html");
    for words in [
        "Learning curve",
        "<polygon class=\"band b0\"",
        // From 0.7 ± 0.05 of 20 images to 0.8 ± 0.05 of 40, between 0.4 of 10 and 0.85.
        "<polygon class=\"band b1\" points=\"183.3,67.2 440,15 440,67.2 183.3,119.4\"/>",
        "0.0123",
        "discriminant analysis",
        "0.7500",
        "&lt;i&gt;",
        "expected",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("NaN"));
}

#[test]
fn a_strangers_run_gets_no_code_into_the_programs() {
    let place = place();
    place.main("").succeeds();
    let mut run = place.json("out/run.json");
    for (input, word) in [("float16", "float16"), ("uint8", "uint8"), ("float32)); evil((\"", "float32")] {
        run["plan"]["input"]["data_type"] = input.into();
        run["model"]["output"]["activation"] = "evil()".into();
        place.write("out/run.json", run.to_string());
        place.adapt("report out").succeeds();
        let page = place.read("out/report.html");
        let programs = ["python", "javascript"].map(|id| code(&page, id));
        assert!(programs.iter().all(|program| program.contains(word) && !program.contains("evil")), "{input}");
    }
}

#[test]
fn a_strangers_run_shows_no_pictures_from_elsewhere() {
    let place = place();
    place.main("").succeeds();
    fs::copy(place.path("data/test/a/0.png"), place.path("private.png")).unwrap();
    let private = place.path("private.png");
    let list = place.read("out/predictions.csv");
    let list = list.replace("test/a/0.png", "../private.png").replace("test/a/1.png", private.to_str().unwrap());
    place.write("out/predictions.csv", list);
    let why = "lies elsewhere than the data; --data data says that this is right";
    place.adapt("report out").fails(1, &[why]);
    let ran = place.adapt("report out --force").succeeds();
    assert!(ran.err.contains("data, as run.json says"), "{}", ran.err);
    let pictures = || place.read("out/report.html").matches("<image id=\"t").count();
    assert_eq!(pictures(), 12);
    place.adapt("report out --data data").succeeds();
    assert_eq!(pictures(), 14);
    let mut run = place.json("out/run.json");
    run["data"]["path"] = "\\\\host\\share".into();
    place.write("out/run.json", run.to_string());
    place.adapt("report out").fails(1, &["another machine"]);
    assert!(place.adapt("report out --force").succeeds().err.contains("another machine"));
}

#[cfg(unix)]
#[test]
fn no_link_is_written_through() {
    let place = place();
    place.main("").succeeds();
    place.write("mine.txt", "mine");
    fs::remove_file(place.path("out/report.html")).unwrap();
    std::os::unix::fs::symlink("../mine.txt", place.path("out/report.html")).unwrap();
    place.adapt("report out").succeeds();
    assert_eq!(place.read("mine.txt"), "mine");
    assert!(!place.path("out/report.html").is_symlink() && place.read("out/report.html").contains("</html>"));
}

#[test]
fn damaged_runs_are_refused() {
    let place = place();
    place.adapt("report data").fails(2, &["data", "no run.json"]);
    place.main("").succeeds();
    place.write("out/scores.safetensors", "no");
    place.adapt("report out").fails(1, &["scores.safetensors", "damaged"]);
    place.write("out/predictions.csv", "path,split,label,predicted,confidence\nx,test,a,zebra,0.5\n");
    place.adapt("report out").fails(1, &["predictions.csv", "of no class"]);
    fs::File::create(place.path("out/run.json")).unwrap().set_len((64 << 20) + 1).unwrap();
    place.adapt("report out").fails(1, &["run.json", "larger than 64 MiB"]);
    place.write("out/run.json", "{");
    place.adapt("report out").fails(1, &["run.json", "damaged"]);
}

#[test]
fn only_a_report_is_replaced_by_one() {
    let place = place();
    place.main("").succeeds();
    let model = place.read_bytes("out/model.onnx");
    place.adapt("report out -o out/model.onnx --force").fails(1, &["out/model.onnx", "no report", "another --out"]);
    assert_eq!(place.read_bytes("out/model.onnx"), model);
    place.write("empty.html", "");
    place.adapt("report out -o empty.html --force").succeeds();
    place.adapt("report out -o empty.html --force").succeeds();
    fs::remove_file(place.path("out/report.html")).unwrap();
    fs::create_dir(place.path("out/report.html")).unwrap();
    place.adapt("report out").fails(2, &["out/report.html: a folder", "another --out"]);
}

/// Class and probability of `photo.png` as the run's own model gives them.
fn predicted(place: &Place) -> (String, f64) {
    let ran = place.adapt("predict out/model.onnx photo.png --json").succeeds();
    let row: serde_json::Value = serde_json::from_str(ran.out.lines().next().unwrap()).unwrap();
    (row["label"].as_str().unwrap().into(), row["confidence"].as_f64().unwrap())
}

/// A run whose preprocessing resizes and crops, and a photo of another shape than the model's input.
pub fn with_photo(model: &str, options: &str) -> Place {
    let place = place();
    fs::copy(crate::common::golden(model), place.path("tiny.onnx")).unwrap();
    image::RgbImage::from_fn(61, 37, |x, y| image::Rgb([(x * 4) as u8, (y * 6) as u8, (x * y) as u8]))
        .save(place.path("photo.png"))
        .unwrap();
    place.main(options).succeeds();
    place
}

/// Models and options.
pub const PROGRAMS: [(&str, &str); 12] = [
    ("tiny.onnx", "--preprocess resize=9,crop=8,filter=bicubic"),
    ("tiny.onnx", "--preprocess resize=8x8,filter=lanczos,color=bgr"),
    ("tiny.onnx", "--preprocess resize=long:8,crop=8,filter=bilinear"),
    ("tiny.onnx", "--bake-preprocessing --preprocess resize=12,crop=8,filter=bicubic"),
    ("onnx/sigmoid.onnx", ""),
    ("onnx/logsoftmax.onnx", ""),
    ("onnx/nhwc.onnx", "--preprocess resize=9,crop=8"),
    ("onnx/channels_1.onnx", "--preprocess resize=9,crop=8,color=gray,mean=0.4,std=0.3"),
    ("onnx/channels_2.onnx", "--preprocess resize=8x8,color=grayalpha"),
    ("tiny_batch2.onnx", "--preprocess raw01"),
    ("tiny_u8.onnx", ""),
    ("onnx/float16.onnx", "--preprocess imagenet"),
];

/// What a program prints as `label probability` is what the run's model gives.
pub fn agrees(place: &Place, told: &str, options: &str) {
    let (label, confidence) = predicted(place);
    let mut fields = told.split_whitespace().rev();
    let probability: f64 = fields.next().unwrap().parse().unwrap();
    assert_eq!(fields.next().unwrap(), label, "{options}: {told}");
    assert!((probability - confidence).abs() < 2e-3, "{options}: {told}, not {confidence}");
}

/// A Python that can run the program.
pub fn python() -> Option<String> {
    let python = std::env::var("ADAPT_TEST_PYTHON").unwrap_or("python3".into());
    let has = Command::new(&python).args(["-c", "import onnxruntime, PIL, numpy"]).output();
    if !has.is_ok_and(|ran| ran.status.success()) {
        left_out(&format!("{python} has not onnxruntime, Pillow and numpy (ADAPT_TEST_PYTHON=FILE names another)"));
        return None;
    }
    Some(python)
}

#[test]
fn the_python_program_gives_the_same() {
    let Some(python) = python() else { return };
    for (model, options) in PROGRAMS {
        let place = with_photo(model, options);
        place.write("out/classify.py", code(&place.read("out/report.html"), "python"));
        let mut command = Command::new(&python);
        command.args(["classify.py", "../photo.png"]).current_dir(place.path("out"));
        let ran = place.run(&mut command).succeeds();
        agrees(&place, ran.out.lines().next().unwrap(), &format!("{model} {options}"));
    }
}
