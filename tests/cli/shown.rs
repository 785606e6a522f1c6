//! What stands on the page is what it says it is: large figures, lists of images, maps, pictures that are not to be had.

use super::{report, tasks};

/// The texts between two marks.
fn all<'a>(page: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    page.split(start).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
}

#[test]
fn the_large_figures_are_those_of_their_names() {
    let place = report::place();
    place.main("").succeeds();
    let large = |page: &str, names: &[&str]| {
        let tiles = all(page, "<dl class=\"tiles\">", "</dl>");
        assert_eq!(all(tiles[0], "<dt>", "</dt>"), names);
        assert!(tiles.len() == 1 && !tiles[0].contains('–'), "{tiles:?}");
    };
    large(&place.read("out/report.html"), &["Accuracy", "Macro F1", "Log-loss"]);
    let place = tasks::place();
    for (list, more, names) in [
        ("labels.csv", "", ["Micro F1", "Macro F1", "Mean average precision (mAP)"]),
        ("values.csv", "--label-column bright", ["R²", "Mean absolute error", "Root mean squared error"]),
        (
            "values.csv",
            "--label-column bright,contrast",
            [
                "R², mean of the targets",
                "Mean absolute error, mean of the targets",
                "Root mean squared error, mean of the targets",
            ],
        ),
    ] {
        place.adapt(&format!("--data {list} {more} --onnx tiny.onnx --preprocess raw01 --force --out out")).succeeds();
        let page = place.read("out/report.html");
        large(&page, &names);
        // Figures have the names that people know them by.
        for key in ["log loss", "macro f1", "r2 ", "mae ", "std err", "rightly"] {
            assert!(!page.contains(key), "{list}: {key}");
        }
    }
}

#[test]
fn lists_of_images_tell_how_many_they_leave_out() {
    let place = report::place();
    place.main("").succeeds();
    let headings = |page: &str| all(page, "tabindex=\"-1\"><h3>", "</h3>").join("\n");
    assert!(!headings(&place.read("out/report.html")).contains("shown"));
    // All of one class are taken for the other, and all of that are right.
    let rows = |class: &str, images: usize| -> String {
        (0..images).map(|i| format!("{class}{i}.png,test,{class},a,0.9\n")).collect()
    };
    std::fs::remove_file(place.path("out/scores.safetensors")).unwrap();
    for (own, told) in
        [(501, "b taken for a: 24 of 500 shown\na, right: 8 of 501 shown"), (500, "b taken for a: 500\na, right: 500")]
    {
        let rows = rows("a", own) + &rows("b", 500);
        place.write("out/predictions.csv", format!("path,split,label,predicted,confidence\n{rows}"));
        let mut run = place.json("out/run.json");
        run["metrics"]["test"]["accuracy"] = (own as f64 / (own + 500) as f64).into();
        place.write("out/run.json", run.to_string());
        place.adapt("report out --force").succeeds();
        let page = place.read("out/report.html");
        assert_eq!(headings(&page), told);
        assert_eq!(page.contains("<div class=\"path\">a499.png</div>"), own == 500);
    }
}

#[test]
fn only_a_gain_is_called_one() {
    let place = report::place();
    place.main("").succeeds();
    for (gain, told) in [(0.0125, true), (0., false), (-0.0031, false)] {
        let mut run = place.json("out/run.json");
        run["fine_tuning"]["gain_of_depth"] = gain.into();
        place.write("out/run.json", run.to_string());
        place.adapt("report out").succeeds();
        assert_eq!(place.read("out/report.html").contains("from deeper features already"), told, "{gain}");
    }
}

#[test]
fn labels_and_numbers_have_a_map() {
    let place = tasks::place();
    for (list, more) in [("labels.csv", ""), ("values.csv", "--label-column bright,contrast")] {
        place.adapt(&format!("--data {list} {more} --onnx tiny.onnx --preprocess raw01 --force --out out")).succeeds();
        let page = place.read("out/report.html");
        assert!(page.contains("href=\"#map\"") && page.contains("id=\"map-told\""), "{list}");
        let map = all(&page, "<section id=\"map\">", "</section>")[0];
        let (points, legend) = map.split_once("</svg>\n").unwrap();
        let titles = all(points, "<title>", "</title>");
        assert_eq!((titles.len(), all(points, "<g class=\"point\"", "</g>").len()), (60, 60), "{list}");
        assert!(all(points, "<use href=\"#t", "\"").len() == 60 && map.contains("Point at one"), "{list}");
        if list == "labels.csv" {
            assert!(titles.iter().all(|title| title.contains(": has ") && title.contains("; given ")), "{titles:?}");
            // What has no label is grey, what is not given its labels a cross; every label has its name.
            assert_eq!(points.matches("style=\"--s:0%\"").count(), 10);
            let test = place.read("out/predictions.csv");
            let test = test.lines().map(|line| line.split(',').collect::<Vec<_>>()).filter(|row| row[1] == "test");
            assert_eq!(points.matches("class=\"wrong\"").count(), test.filter(|row| row[2] != row[3]).count());
            // Once for wide screens, once for narrow ones.
            assert_eq!(all(map, "<text class=\"name\"", "</text>").len(), 2 * 4);
        } else {
            assert!(titles.iter().all(|title| title.contains(": is ") && title.contains(", predicted ")), "{titles:?}");
            // Larger values have larger dots, and the legend says of which values they are.
            let radii = all(legend, " r=\"", "\"");
            let radii: Vec<f64> = radii.iter().map(|radius| radius.parse().unwrap()).collect();
            assert!(radii.len() == 5 && radii.is_sorted() && radii[0] < radii[4], "{radii:?}");
            let values = all(legend, "y=\"19\">", "</text>");
            let values: Vec<f64> = values.iter().map(|value| value.parse().unwrap()).collect();
            assert!(values.len() == 5 && values.is_sorted() && legend.contains("the larger is bright"), "{legend}");
        }
    }
}

#[test]
fn pictures_that_are_not_found_are_told() {
    let place = report::place();
    place.main("").succeeds();
    std::fs::create_dir(place.path("other")).unwrap();
    place.images("other/test/c", 0, 2);
    let why = "none of the images that it shows can be read in other; --data says where they are now";
    let ran = place.adapt("report out --data other --force").succeeds();
    assert_eq!(ran.err, format!("warning: without pictures: {why}\n"));
    assert!(place.read("out/report.html").contains(&format!("There are no pictures: {why}.")));
    let ran = place.adapt("report out --data data").succeeds();
    assert_eq!(ran.err, "");
}

#[test]
fn a_page_does_not_lose_pictures_unasked() {
    let place = report::place();
    place.main("").succeeds();
    let page = place.read("out/report.html");
    std::fs::remove_file(place.path("data/test/b/3.png")).unwrap();
    let why = "1 of the images that it shows cannot be read in data; --data says where they are now";
    place.adapt("report out").fails(1, &["out/report.html: it has 14 pictures, and would have 13", why, "--force"]);
    assert_eq!(place.read("out/report.html"), page);
    let ran = place.adapt("report out --force").succeeds();
    assert!(ran.err.contains(&format!("warning: without some pictures: {why}\n")), "{}", ran.err);
    assert_eq!(place.read("out/report.html").matches("<image id=\"t").count(), 13);
    for file in ["scores.safetensors", "maps.json"] {
        std::fs::remove_file(place.path("out").join(file)).unwrap();
        let ran = place.adapt("report out").succeeds();
        assert!(ran.err.contains(&format!("warning: out/{file} is not there: the page is without")), "{}", ran.err);
    }
    place.adapt("report out --data gone.csv --force").succeeds();
    assert!(place.read("out/report.html").contains("gone.csv: does not exist; --data says"));
}

#[test]
fn files_of_a_run_that_do_not_fit_each_other_are_refused() {
    let place = report::place();
    place.main("").succeeds();
    let (list, scores) = (place.read("out/predictions.csv"), place.read_bytes("out/scores.safetensors"));
    let rows: Vec<&str> = list.lines().collect();
    let held_out = rows[1..].iter().filter(|row| !row.contains(",train,")).count();
    // Of a shorter list there may be nothing left that did not train.
    for left in [rows.len() - 1, rows.len() - held_out] {
        place.write("out/predictions.csv", rows[..left].join("\n") + "\n");
        let told = format!("predictions.csv {} images", held_out + left - rows.len());
        for command in ["report out", "compare out out"] {
            place.adapt(command).fails(1, &["scores.safetensors", &told, "one of the two was changed"]);
        }
    }
    place.write("out/predictions.csv", &list);
    let mut bytes = scores.clone();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    place.write("out/scores.safetensors", bytes);
    for command in ["report out", "compare out out"] {
        place.adapt(command).fails(1, &["scores.safetensors", "is NaN in row ", "run it again"]);
    }
    place.write("out/scores.safetensors", scores);
    // Rows in another order, another label, another figure, and what is no probability.
    let mut turned = rows.clone();
    turned[1..].reverse();
    let own = rows.iter().position(|row| row.contains(",test,a,a,")).unwrap();
    let with = |from: &str, to: &str| {
        let mut rows: Vec<String> = rows.iter().map(|row| (*row).to_string()).collect();
        rows[own] = rows[own].replacen(from, to, 1);
        rows.join("\n")
    };
    let confidence = rows[own].rsplit(',').next().unwrap();
    for (list, why) in [
        (turned.join("\n"), "by scores.safetensors; one of the two was changed"),
        (with(",a,a,", ",b,a,"), "accuracy of the test images is "),
        (with(confidence, "0.123"), "by scores.safetensors; one of the two was changed"),
        (with(confidence, "7"), "has a confidence of 7"),
        (with(confidence, "nan"), "has a confidence of NaN"),
    ] {
        place.write("out/predictions.csv", list);
        place.adapt("report out").fails(1, &["out/predictions.csv: ", why]);
    }
    place.write("out/predictions.csv", rows.join("\n"));
    place.adapt("report out").succeeds();
}

#[test]
fn numbers_have_the_digits_that_tell_something() {
    use adapt::report::{digits, precise};
    let figures =
        [(0., "0.000"), (0.8123, "0.8123"), (-0.012345, "-0.0123"), (0.00012345, "0.000123"), (1.23456, "1.235")];
    let figures = figures.into_iter().chain([
        (-123.456, "-123.5"),
        (123456.789, "123457"),
        (2e-6, "2.00e-6"),
        (1.5e9, "1.500e9"),
    ]);
    figures.for_each(|(value, text)| assert_eq!(precise(value), text));
    assert_eq!([0.0625, 99.96, 1234.5].map(|value| digits(value, 3)), ["0.0625", "100.0", "1234"]);

    // Of numbers in the thousands nothing but the digits that are known is told.
    let place = tasks::place();
    let text = place.read("values.csv");
    let mut list = "path,grams,split\n".to_string();
    for row in text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>()) {
        list += &format!("{},{:.3},{}\n", row[0], row[1].parse::<f64>().unwrap() * 1e5 + 1e4 + 0.125, row[3]);
    }
    place.write("large.csv", list);
    let ran = place.adapt("--data large.csv --onnx tiny.onnx --preprocess raw01 --out out").succeeds();
    let page = place.read("out/report.html");
    let shown = page.split("id=\"data\"").next().unwrap();
    let is_long = |word: &&str| {
        let (whole, part) = word.split_once('.').unwrap_or((*word, ""));
        let is = |part: &str| part.chars().all(|c| c.is_ascii_digit());
        whole.len() >= 4 && !part.is_empty() && is(whole) && is(part)
    };
    let ends = [' ', '>', '<', '(', ')', '–', '\t', '\n', ',', ';', '±'];
    for text in [shown, &ran.out, &place.adapt("data large.csv").succeeds().out] {
        assert_eq!(text.split(ends).find(is_long), None);
    }
}

#[test]
fn one_image_is_no_images() {
    let place = report::place();
    place.main("").succeeds();
    let mut run = place.json("out/run.json");
    run["data"]["counts"]["test"] = serde_json::json!([1, 0]);
    run["parity"]["images"] = 1.into();
    place.write("out/run.json", run.to_string());
    place.adapt("report out").succeeds();
    let page = place.read("out/report.html");
    assert!(page.contains(", 1 image tested it.") && page.contains("gave for 1 image what"), "{page}");
    place.images("one/a", 0, 1);
    let embedded = place.adapt("embed tiny.onnx one/a/0.png --out one.csv").succeeds().out;
    assert!(embedded.contains(" features of 1 image at "), "{embedded}");
    let told = [&*page, &embedded].map(|text| text.contains(" 1 images"));
    assert_eq!(told, [false, false]);
}

#[test]
fn tables_of_depths_have_titles_and_mark_the_chosen_one() {
    let place = tasks::place();
    for (list, more, loss) in [("labels.csv", "", "log-loss"), ("values.csv", "--label-column bright", "squared error")]
    {
        let options = "--onnx tiny.onnx --preprocess raw01 --verbose --force --out out";
        let ran = place.adapt(&format!("--data {list} {more} {options}")).succeeds();
        let header = ran.err.lines().find(|line| line.starts_with("head ") && line.contains(loss)).unwrap();
        assert!(header.ends_with("behind the best"), "{header}");
        let page = place.read("out/report.html");
        let table = all(&page, "<summary>Depths compared, by cross-validation</summary>", "</details>")[0];
        assert_eq!(all(table, "<th scope=\"col\">", "</th>"), ["Depths", "features", loss, "behind the best"]);
        assert_eq!((table.matches(", chosen<").count(), table.matches("the best<").count()), (1, 2), "{table}");
    }
}

/// What stands beside such a name would change its place: a percentage, the other class's name.
#[test]
fn names_from_right_to_left_are_isolated() {
    let place = report::place();
    for split in ["train", "test"] {
        let folder = format!("data/{split}");
        std::fs::rename(place.path(format!("{folder}/a")), place.path(format!("{folder}/שלום"))).unwrap();
    }
    place.main("").succeeds();
    let page = place.read("out/report.html");
    for words in [
        "<bdi>שלום</bdi> taken for b",
        "<div class=\"path\"><bdi>test&#x2f;שלום",
        ": \u{2068}שלום\u{2069}, right",
        "</svg>",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let starts = |text: &str| text.matches("<bdi>").count() + text.matches('\u{2068}').count();
    let ends = |text: &str| text.matches("</bdi>").count() + text.matches('\u{2069}').count();
    assert!(page.match_indices("שלום").all(|(at, _)| starts(&page[..at]) == ends(&page[..at]) + 1));
    // No elements in attributes, titles and drawings, and nothing else anywhere.
    for (start, end) in [("=\"", "\""), ("<title>", "</title>"), ("<text", "</text>")] {
        assert!(all(&page, start, end).iter().all(|text| !text.contains("bdi>")), "{start}");
    }
    let texts = page.split('<').filter(|part| !part.starts_with("title") && !part.starts_with("text"));
    assert!(texts.filter_map(|part| part.split_once('>')).all(|(_, text)| !text.contains(['\u{2068}', '\u{2069}'])));
    assert!(!all(&page, "<div class=\"path\">", "</div>").iter().any(|path| path.contains("<bdi>b")));
}
