//! Lists (CSV, TSV) of images: their forms, what is wrong told with its line, bounds.

use super::files::{png, read};
use adapt::data::{Columns, Dataset, ReadOptions, Skipped, Split, Task, images_below};
use adapt::progress::silent;
use std::fs;
use std::path::Path;

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
        "line 7: '0.png' stands in line 2 already, as 'a'",
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
    // Half of a character on each side of a comma.
    fs::write(place.path().join("l.csv"), b"path,label\n0.png\xc3,\xa9\n").unwrap();
    assert!(read(&place.path().join("l.csv")).unwrap_err().to_string().contains("line 2 is not UTF-8"));
    let columns = Columns { label: Some("kind".into()), ..Columns::GUESSED };
    let error = list(place.path(), "l.csv", good, &columns).unwrap_err().to_string();
    assert!(error.contains("no column 'kind' (--label-column); it has: path, label, split"), "{error}");
}

#[test]
fn columns_of_other_values_are_no_splits() {
    let place = tempfile::tempdir().unwrap();
    for i in 0..6 {
        fs::write(place.path().join(format!("{i}.png")), png(i)).unwrap();
    }
    let text = |head: &str, cells: [&str; 6]| -> String {
        let row = |(i, cell): (usize, &&str)| format!("{i}.png,{cell},{}\n", ["a", "b"][i % 2]);
        format!("{head}\n{}", cells.iter().enumerate().map(row).collect::<String>())
    };
    let folds = text("path,fold,label", ["0", "1", "2", "3", "4", "0"]);
    let data = list(place.path(), "l.csv", &folds, &Columns::GUESSED).unwrap();
    assert_eq!((data.split(Split::Train).count(), data.skipped.len()), (6, 0));
    assert!(
        data.notes[0].starts_with("the column 'fold' holds other values than train, val and test"),
        "{:?}",
        data.notes
    );
    // Who names it means it.
    let columns = Columns { split: Some("fold".into()), ..Columns::GUESSED };
    let error = list(place.path(), "l.csv", &folds, &columns).unwrap_err().to_string();
    assert!(error.contains("'0' is no split"), "{error}");
    let folds = text("path,fold,label", ["train", "train", "val", "train", "", "later"]);
    let data = list(place.path(), "l.csv", &folds, &Columns::GUESSED).unwrap();
    assert_eq!((data.split(Split::Train).count(), data.split(Split::Val).count(), data.skipped.len()), (4, 1, 1));
    // A class that is called as a split is, in a column without a title.
    let data = list(place.path(), "l.csv", &text("p,q,r", ["train"; 6]), &Columns::GUESSED).unwrap();
    assert_eq!((data.classes.len(), data.split(Split::Train).count()), (2, 6));
    let kinds = "0.png,train\n1.png,plane\n2.png,ship\n3.png,plane\n4.png,train\n5.png,ship\n";
    let data = list(place.path(), "l.csv", kinds, &Columns::GUESSED).unwrap();
    assert_eq!(data.classes, ["plane", "ship", "train"]);
}

#[test]
fn lists_are_bounded() {
    let place = tempfile::tempdir().unwrap();
    let error = |text: &str| {
        let error = list(place.path(), "l.csv", text, &Columns::GUESSED).unwrap_err().to_string();
        assert!(error.len() < 6000, "{} bytes", error.len());
        error
    };
    assert!(error(&format!("path,label\n{}", ",".repeat(1 << 20))).contains("line 2 has more than 4096 columns"));
    // Lines that end within quotes are one row.
    let quoted = format!("path,label\n\n{}", "\"\n\",".repeat(5000));
    assert!(error(&quoted).contains("line 3 has more than 4096 columns"), "{}", error(&quoted));
    let open = format!("path,label\n0.png,\"a\n{}", "1.png,b\n".repeat(1 << 18));
    assert!(error(&open).contains("line 2 has more than 1048576 bytes; is a quotation mark missing"));
    let wide = format!("{}\n", vec!["x".repeat(200); 4096].join(","));
    assert!(error(&wide).contains("and 4076 more"), "{}", error(&wide));
    let long = format!("path,label\n{}.png,a\n", "x".repeat(100_000));
    assert!(error(&long).contains("there is no file 'xxx"));
}

#[test]
fn lists_of_spreadsheets() {
    let place = tempfile::tempdir().unwrap();
    for i in 0..4 {
        fs::write(place.path().join(format!("{i}.png")), png(i)).unwrap();
    }
    let read = |text: &str| list(place.path(), "l.csv", text, &Columns::GUESSED).unwrap();
    let labels = |text: &str| {
        let data = read(text);
        assert_eq!((data.items.len(), data.skipped.len()), (4, 0), "{text}: {:?}", data.skipped);
        (data.task, data.items.iter().map(|item| data.texts()[item.label].clone()).collect::<Vec<_>>())
    };
    let rows = |with: &str| (0..4).map(|i| format!("{i}.png{with}c{}\n", i % 2)).collect::<String>();
    for (text, lines) in [
        (format!("sep=,\npath,label\n{}", rows(",")), [3, 6]),
        (format!("\u{feff}SEP=;\r\npath;label\r\n{}", rows(";").replace('\n', "\r\n")), [3, 6]),
        (format!("\"sep=|\"\n{}", rows("|")), [2, 5]),
        (format!("path;label\n{}", rows(";")), [2, 5]),
    ] {
        assert_eq!(labels(&text).1, ["c0", "c0", "c1", "c1"], "{text}");
        // The lines are those of the file.
        let data = read(&(text.clone() + "gone.png" + &text[text.len() - 5..]));
        assert_eq!(data.skipped.len(), 1, "{text}");
        assert!(data.skipped[0].path.ends_with(&(lines[1] + 1).to_string()), "{:?}", data.skipped);
    }
    // Excel where the comma is decimal.
    let numbers = |head: &str, row: &dyn Fn(usize, &str) -> String| {
        let values = ["1,5", "-2", "0,25", "1e3"];
        format!("{head}{}", (0..4).map(|i| row(i, values[i]) + "\r\n").collect::<String>())
    };
    let wanted = (Task::Regression, ["1.5", "-2", "0.25", "1000"].map(String::from).to_vec());
    let own = |i: usize, value: &str| format!("{i}.png;{value}");
    for text in [
        numbers("path;length\r\n", &own),
        numbers("path;length, cm\r\n", &own),
        numbers("", &own),
        numbers("", &|i, value| format!("{value};{i}.png")),
    ] {
        let mut found = labels(&text);
        found.1.sort();
        let mut wanted = wanted.clone();
        wanted.1.sort();
        assert_eq!(found, wanted, "{text}");
    }
    // Behind tabs, and in quotation marks between commas; which is told, and can be refused.
    let quoted = |i: usize, value: &str| format!("{i}.png,\"{value}\"");
    let notes = |text: &str, task| {
        let data = list(place.path(), "l.csv", text, &Columns { task, ..Columns::GUESSED }).unwrap();
        (data.task, data.notes.join("\n"), data.texts().to_vec())
    };
    for text in
        [numbers("path\tlength\r\n", &|i, value| format!("{i}.png\t{value}")), numbers("path,length\r\n", &quoted)]
    {
        let (task, mut found) = labels(&text);
        found.sort();
        assert_eq!(
            (task, &found[..]),
            (Task::Regression, &["-2", "0.25", "1.5", "1000"].map(String::from)[..]),
            "{text}"
        );
        assert!(notes(&text, None).1.contains("labels as '1,5' are read as numbers"), "{text}");
        let kept = notes(&text, Some(Task::Multiclass));
        assert!(kept.0 == Task::Multiclass && kept.2.contains(&"1,5".into()) && kept.1.is_empty(), "{kept:?}");
    }
    // What may be thousands is no number, unless another comma cannot part them; nor are most numbers all.
    let list_of = |values: [&str; 4]| -> String {
        "path,length\n".to_string() + &(0..4).map(|i| quoted(i, values[i]) + "\n").collect::<String>()
    };
    let (task, note, _) = notes(&list_of(["1,234", "12,500", "1,234", "12,500"]), None);
    assert!(task == Task::Multiclass && note.contains("as '1,234' the comma may part thousands"), "{note}");
    let (task, note, texts) = notes(&list_of(["1,234", "12,5", "1,234", "12,500"]), None);
    assert!(task == Task::Regression && texts.contains(&"12.5".into()), "{note} {texts:?}");
    let (_, note, texts) = notes(&list_of(["1,5", "1.204", "2,5", "7"]), Some(Task::Regression));
    assert!(texts == ["1.204", "7"] && note.contains("commas, as '1,5', and points, as '1.204'"), "{note} {texts:?}");
    // Though some are no numbers, where numbers are asked for.
    let (_, note, texts) = notes(&list_of(["1,234", "n/a", "7", "8"]), Some(Task::Regression));
    assert!(texts == ["7", "8"] && note.contains("may part thousands"), "{note} {texts:?}");
    let (task, note, _) = notes(&list_of(["1,5", "n/a", "1,5", "n/a"]), None);
    assert!(
        task == Task::Multiclass && note.contains("2 labels are numbers with decimal commas, as '1,5', and 2 are none")
    );
    // Names are no numbers; nor is what stands between labels a decimal point's place.
    let text = "path;label\n0.png;a,5\n1.png;1,5\n2.png;a,5\n3.png;1,5\n";
    assert_eq!(labels(text).1, ["1,5", "1,5", "a,5", "a,5"]);
    let several = labels("0.png,a;b\n1.png,b\n2.png,a\n3.png,a;b\n");
    assert_eq!((several.0, several.1.len()), (Task::Multilabel, 4));
    // A line that is no number is told, and the others are read.
    let asked = Columns { task: Some(Task::Regression), ..Columns::GUESSED };
    let text = numbers("path;length\r\n", &own) + "0.png;many\r\n";
    let data = list(place.path(), "l.csv", &text, &asked).unwrap();
    assert_eq!((data.items.len(), data.skipped[0].reason.as_str()), (4, "'many' is no number"));
}

#[test]
fn an_image_under_two_names_is_one() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("i")).unwrap();
    (0..4).for_each(|i| fs::write(place.path().join(format!("i/{i}.png")), png(i)).unwrap());
    let whole = place.path().join("i/0.png");
    let again = ["./i/0.png", "i//1.png", "i/./2.png", whole.to_str().unwrap()];
    let text = (0..4).map(|i| format!("i/{i}.png,{}\n", ["a", "b"][i % 2])).collect::<String>();
    let text = text + &again.map(|path| format!("{path},a\n")).concat();
    let data = list(place.path(), "l.csv", &text, &Columns::GUESSED).unwrap();
    assert_eq!(data.items.len(), 4);
    let told: Vec<_> = data.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
    let other = ["", ", as 'b'", "", ""];
    let line = |i: usize| format!("'{}' stands in line {} already{}", again[i], [1, 2, 3, 5][i], other[i]);
    assert_eq!(told, [0, 1, 2, 3].map(line));
}

#[test]
fn columns_are_found_by_their_names_first() {
    let place = tempfile::tempdir().unwrap();
    (0..4).for_each(|i| fs::write(place.path().join(format!("{i}.png")), png(i)).unwrap());
    let text = |head: &str, row: &dyn Fn(usize) -> String| {
        let rows = (0..4).map(|i| format!("{},{}\n", row(i), ["a", "b"][i % 2])).collect::<String>();
        format!("{head},label\n{rows}")
    };
    for text in [
        text("url,filename", &|i| format!("https://example.org/{i}.jpg,{i}.png")),
        text("Name,thumbnail,PATH", &|i| format!("pictures/{i}.png,t/{i}.jpg,{i}.png")),
        // What is called so, and is none, leaves it to what is in the others.
        text("name,where", &|i| format!("Number {i},{i}.png")),
    ] {
        let data = list(place.path(), "l.csv", &text, &Columns::GUESSED).unwrap();
        assert_eq!((data.items.len(), data.skipped.len(), data.classes.len()), (4, 0, 2), "{text}");
        let (source, paths, _) = images_below(&[place.path().join("l.csv")], &silent).unwrap();
        assert!(paths.len() == 4 && paths.iter().all(|path| source.decode(path, false).is_ok()), "{text}: {paths:?}");
    }
}
