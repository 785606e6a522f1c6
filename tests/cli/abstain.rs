//! From which probability on answers are to be taken, in the model, the terminal and the page.

use super::heads::into;
use super::support::Place;

/// The first line of a model's predictions.
fn header(place: &Place, model: &str) -> String {
    let said = place.adapt(&format!("predict {model}/model.onnx data --csv")).succeeds().out;
    said.lines().next().unwrap().to_string()
}

#[test]
fn answers_that_are_not_to_be_taken_are_marked() {
    let place = Place::usual();
    for share in ["1.5", "1"] {
        place.refuses(&format!("--abstain {share}"), 2, &["0 to 1"]);
    }
    let ran = into(&place, "few", "--abstain 0.9 --head softmax");
    let why = "training images are too few, since it takes 25 right answers and no wrong one to tell";
    assert!(ran.err.contains(why) && place.read("few/report.html").contains(why), "{}", ran.err);
    let warning = ran.err.lines().find(|line| line.contains(why)).unwrap();
    let most = warning.split("; ").nth(1).unwrap();
    assert!(
        most.starts_with("0.") && most.contains(" is the most, with ") && most.ends_with(" images answered"),
        "{warning}"
    );
    assert!(warning.ends_with("the model has no threshold"), "{warning}");
    let told = place.json("few/run.json")["head"]["no_abstention"].take();
    assert!(told.as_str().unwrap().ends_with(most), "{told}");
    assert_eq!(header(&place, "few"), "path,label,confidence,outlier_score,outlier");
    for (class, i) in (0..3).flat_map(|class| (0..20).map(move |i| (class, i))) {
        let mut base = [20 + 2 * i as u8; 3];
        base[class] = 200;
        let image = image::RgbImage::from_fn(12, 10, |x, y| image::Rgb(base.map(|value| value + (x + y) as u8)));
        image.save(place.path(format!("data/{}/{i}.png", ["a", "b", "c"][class]))).unwrap();
    }
    let ran = into(&place, "out", "--abstain 0.9 --head softmax");
    let run = place.json("out/run.json");
    let (threshold, coverage) = (
        run["head"]["abstention"]["threshold"].as_f64().unwrap(),
        run["head"]["abstention"]["coverage"].as_f64().unwrap(),
    );
    assert!((0.3..=1.).contains(&threshold) && (0.5..=1.).contains(&coverage), "{threshold} {coverage}");
    let said = place.adapt("predict out/model.onnx data --json").succeeds();
    for line in said.out.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let confidence = row["confidence"].as_f64().unwrap();
        assert_eq!(row["sure"].as_bool(), Some(confidence as f32 >= threshold as f32), "{row}");
    }
    assert_eq!(header(&place, "out"), "path,label,confidence,sure,outlier_score,outlier");
    // The images that had no part in it, as they are predicted.
    let told = &run["head"]["held_out_abstention"]["val"];
    let rows = place.read("out/predictions.csv");
    let rows: Vec<Vec<&str>> = rows.lines().map(|line| line.split(',').collect()).collect();
    let (held, mut taken): (_, Vec<_>) = (rows.iter().filter(|row| row[1] == "val").count(), rows.iter().collect());
    taken.retain(|row| row[1] == "val" && row[4].parse::<f32>().unwrap() >= threshold as f32);
    let right = taken.iter().filter(|row| row[2] == row[3]).count();
    let share = |part: usize, of: usize| Some(part as f64 / of as f64);
    assert_eq!((told["images"].as_u64(), told["coverage"].as_f64()), (Some(held as u64), share(taken.len(), held)));
    assert!(held > 5 && !taken.is_empty() && told["precision"].as_f64() == share(right, taken.len()), "{told}");
    let [coverage, precision] = ["coverage", "precision"].map(|key| 100. * told[key].as_f64().unwrap());
    let words = format!("val: {} of {held} images are answered, {precision:.1} % of them rightly", taken.len());
    assert!(ran.out.contains(&words), "{words} {}", ran.out);
    let shown = format!("Of the val images {coverage:.1} % are answered, {precision:.1} % of them rightly.");
    assert!(place.read("out/report.html").contains(&shown), "{shown}");
    // Of the same images elsewhere the same, and of a model without a threshold nothing.
    let list = rows.iter().filter(|row| row[1] == "val").map(|row| format!("data/{},{}\n", row[0], row[2]));
    place.write("val.csv", "path,label\n".to_string() + &list.collect::<String>());
    let eval = |model: &str| place.adapt(&format!("eval {model}/model.onnx --data val.csv --json")).succeeds().out;
    let eval = |model: &str| serde_json::from_str::<serde_json::Value>(&eval(model)).unwrap();
    assert_eq!(&eval("out")["abstention"], told);
    let said = place.adapt("eval out/model.onnx --data val.csv").succeeds().out;
    assert!(said.contains(&format!("\nabstain  e{words}\n")), "{said}");
    into(&place, "plain", "--head softmax");
    assert_eq!(header(&place, "plain"), "path,label,confidence,outlier_score,outlier");
    assert!(!place.read("plain/report.html").contains("--abstain") && eval("plain")["abstention"].is_null());
}
