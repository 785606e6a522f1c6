//! Lists whose labels are no classes: what they are taken for, how they are split, what is wrong with them.

use adapt::data::{Columns, Dataset, ReadOptions, Split, Task};
use adapt::progress::silent;
use std::fs;
use tempfile::TempDir;

/// A folder with images `0.png` and so on, which are empty files: listing decodes nothing.
fn place(images: usize) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    (0..images).for_each(|i| fs::write(place.path().join(format!("{i}.png")), "").unwrap());
    place
}

fn list(place: &TempDir, text: &str, label: Option<&str>, task: Option<Task>) -> adapt::Result<Dataset> {
    let table = place.path().join("list.csv");
    fs::write(&table, text).unwrap();
    let columns = Columns { label: label.map(String::from), task, ..Columns::GUESSED };
    Dataset::read(&table, &ReadOptions { columns, ..ReadOptions::default() }, &silent)
}

fn rows(labels: &[&str]) -> String {
    let rows = labels.iter().enumerate().map(|(i, label)| format!("{i}.png,{label}\n"));
    format!("path,label\n{}", rows.collect::<String>())
}

#[test]
fn labels_are_what_they_look_like() {
    let place = place(6);
    for (labels, task, names) in [
        (["a", "b", "a", "b", "a", "b"], Task::Multiclass, &["a", "b"][..]),
        (["3", "12", "3", "12", "3", "12"], Task::Multiclass, &["3", "12"]),
        (["a;b", "b", "a", "", "b;a", " c ;a"], Task::Multilabel, &["a", "b", "c"]),
        (["1.5", "2", "3", "-4e1", "0", "7"], Task::Regression, &["label"]),
        (["1.5", "2", "3", "four", "0", "1.5"], Task::Multiclass, &["0", "1.5", "2", "3", "four"]),
    ] {
        let data = list(&place, &rows(&labels), None, None).unwrap();
        assert_eq!((data.task, &data.classes[..]), (task, &names.map_to_strings()[..]), "{labels:?}");
    }
    let data = list(&place, &rows(&["1", "2", "3", "4", "5", "6"]), None, Some(Task::Regression)).unwrap();
    assert_eq!((data.task, data.counts(Split::Train)), (Task::Regression, vec![5]));
    let data = list(&place, &rows(&["a", "b", "a", "b", "a", "b"]), None, Some(Task::Multilabel)).unwrap();
    assert_eq!(data.classes, ["a", "b"]);
    let error = list(&place, &rows(&["a;b"; 6]), None, Some(Task::Multiclass)).unwrap_err().to_string();
    assert!(error.contains("line 2 names several labels ('a;b')"), "{error}");
}

trait ToStrings {
    fn map_to_strings(&self) -> Vec<String>;
}

impl ToStrings for &[&str] {
    fn map_to_strings(&self) -> Vec<String> {
        self.iter().map(|name| name.to_string()).collect()
    }
}

#[test]
fn several_columns_are_targets_or_labels() {
    let place = place(5);
    let text = "path,age,size\n0.png,1,2.5\n1.png,3,4\n2.png,x,4\n3.png,5,\n4.png,7,1\n";
    let data = list(&place, text, Some("age,size"), None).unwrap();
    assert_eq!((data.task, &data.classes[..]), (Task::Regression, &["age".to_string(), "size".to_string()][..]));
    let skipped: Vec<_> = data.skipped.iter().map(|s| format!("{}: {}", s.path, s.reason)).collect();
    assert_eq!(skipped, ["line 4: 'x' is no number", "line 5: no label"]);
    let labels: Vec<usize> = data.items.iter().map(|item| item.label).collect();
    let mut sums: Vec<f32> = data.truth(&labels).rows().into_iter().map(|row| row.sum()).collect();
    sums.sort_by(f32::total_cmp);
    assert_eq!(sums, [3.5, 7., 8.]);
    let text = "path,red,round\n0.png,1,0\n1.png,0,0\n2.png,1,1\n3.png,2,1\n";
    let data = list(&place, text, Some("red, round"), Some(Task::Multilabel)).unwrap();
    assert_eq!(data.texts(), ["", "red", "red;round"]);
    assert_eq!(data.skipped[0].reason, "'2' for 'red' is neither 0 nor 1");
    let text = text.replace("3.png,2,1", "3.png,0,1");
    assert_eq!(list(&place, &text, Some("red,round"), None).unwrap().task, Task::Multilabel);
    let flags = "path,red,round\n0.png,True,\n1.png,false,TRUE\n2.png,1,0.0\n";
    assert_eq!(list(&place, flags, Some("red,round"), None).unwrap().texts(), ["red", "round"]);
    let error = list(&place, &text, Some("red,blue"), None).unwrap_err().to_string();
    assert!(error.contains("no column 'blue' (--label-column)"), "{error}");
    for twice in ["red,red", "red, red,round"] {
        let error = list(&place, &text, Some(twice), None).unwrap_err().to_string();
        assert!(error.contains("'red' (--label-column) is named twice"), "{error}");
    }
    for paths in ["path", "red,path"] {
        let error = list(&place, &text, Some(paths), None).unwrap_err().to_string();
        assert!(error.contains("'path' (--label-column) holds the paths"), "{error}");
    }
    let error = list(&place, &text, Some("red,round"), Some(Task::Multiclass)).unwrap_err().to_string();
    assert!(error.contains("several label columns"), "{error}");
}

#[test]
fn rare_labels_are_shared_out_and_others_left_out() {
    let place = place(50);
    // One image in ten has the rare label, beside one that all have.
    let own = |i: usize| if i.is_multiple_of(10) { "all;rare" } else { "all" };
    let text: String = (0..50).map(|i| format!("{i}.png,{},train\n", own(i))).collect();
    let data = list(&place, &format!("path,label,split\n{text}"), None, None).unwrap();
    assert_eq!((data.counts(Split::Train), data.counts(Split::Val)), (vec![40, 4], vec![10, 1]));
    let text = text.replace("49.png,all,train", "49.png,all;new,test");
    let data = list(&place, &format!("path,label,split\n{text}"), None, None).unwrap();
    assert_eq!(data.classes, ["all", "rare"]);
    assert!(
        data.notes.iter().any(|note| note.contains("test has labels that nothing learns") && note.contains("'new'"))
    );
    let text = text.replace("49.png,all;new,test", "49.png,new,test");
    let data = list(&place, &format!("path,label,split\n{text}"), None, None).unwrap();
    assert!(data.notes.contains(&"test has no images with any of the labels".into()), "{:?}", data.notes);
    let error = list(&place, "path,label\n0.png,\n1.png,\n2.png,;\n", None, None).unwrap_err().to_string();
    assert!(error.contains("no training image has a label"), "{error}");
}

#[test]
fn whole_numbers_are_classes_and_the_user_is_told() {
    let place = place(60);
    let text: String = (0..60).map(|i| format!("{i}.png,{}\n", i / 2)).collect();
    let data = list(&place, &format!("path,label\n{text}"), None, None).unwrap();
    assert_eq!((data.task, data.classes.len()), (Task::Multiclass, 30));
    assert!(
        data.notes
            .iter()
            .any(|note| note.contains("30 of 30 different labels are numbers") && note.contains("--task regression"))
    );
    // Numbers that no model gives are none to propose that for.
    let large = text.replace('\n', "e39\n");
    assert!(list(&place, &format!("path,label\n{large}"), None, None).unwrap().notes.is_empty());
    let one = text.replace(",29\n", ",1e39\n");
    let notes = list(&place, &format!("path,label\n{one}"), None, None).unwrap().notes;
    assert!(notes[0].contains("29 of 30 different labels ('1e39' is more than float32 holds) are"), "{notes:?}");
    let few: String = (0..60).map(|i| format!("{i}.png,{}\n", i % 5)).collect();
    assert!(list(&place, &format!("path,label\n{few}"), None, None).unwrap().notes.is_empty());
}

#[test]
fn numbers_that_float32_cannot_hold_are_told() {
    let place = place(6);
    let of = |values: &[&str]| {
        let rows: String = values.iter().enumerate().map(|(i, value)| format!("{i}.png,{value}\n")).collect();
        list(&place, &format!("path,y\n{rows}"), None, Some(Task::Regression))
    };
    for (values, why) in [
        (&["1e9", "1000000000.001", "1000000000.002", "1e9"], "float32's rounding, take their mean from them first"),
        (&["1e37", "2e37", "-3e37", "0"], "are near float32's end; divide them by a number first"),
    ] {
        let error = of(values).unwrap_err().to_string();
        assert!(error.contains("'y'") && error.contains(why), "{error}");
    }
    let data = of(&["1.5", "2.5", "3.5", "4", "1e400", "nan"]).unwrap();
    let reasons: Vec<&str> = data.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
    assert_eq!(reasons, ["'1e400' is more than float32 holds", "'nan' is no number"]);
}
