//! The lists that `adapt audit --csv` writes.

use super::support::Place;
use std::fs;
use std::io::Write;

#[test]
fn a_list_keeps_its_other_columns() {
    let place = Place::usual();
    let mut list = String::from("patient;file;note;species;set\n");
    for (number, class) in ["a", "b", "c"].iter().enumerate() {
        (0..5).for_each(|i| {
            let part = if i == 4 { "testing" } else { "" };
            list += &format!("p{i};{class}/{i}.png;\"of {number}, \"\"x\"\"\";{class};{part}\n");
        });
    }
    place.write("data/list.csv", list);
    let audit =
        |of: &str| place.adapt(&format!("audit --data data/{of} --onnx tiny.onnx --val 0 --csv")).succeeds().out;
    let told = audit("list.csv --label-column species");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!((lines[0], lines.len()), ("file,species,set,patient,note,kind,score,suggestion", 16));
    let line = lines.iter().find(|line| line.starts_with("b/4.png,")).unwrap();
    assert!(line.starts_with("b/4.png,b,test,p4,\"of 1, \"\"x\"\"\","), "{line}");
    // It takes the list's place, and what is looked for again is not there twice.
    place.write("data/audit.csv", &told);
    let ran = place.adapt("--data data/audit.csv --onnx tiny.onnx --groups patient --val 0 --out out").succeeds();
    assert!(!ran.err.contains("is not used"), "{}", ran.err);
    assert_eq!(place.json("out/run.json")["data"]["groups"]["column"], "patient");
    assert_eq!(audit("audit.csv"), told);
    // A column that is called as what is found is the list's own.
    place.write("data/own.csv", "path,label,score\na/0.png,a,5\na/1.png,a,7\nb/0.png,b,9\nb/1.png,b,2\n");
    let told = audit("own.csv");
    assert!(told.starts_with("path,label,split,score,audit_kind,audit_score,audit_suggestion\n"), "{told}");
    // Also where it is looked for again.
    place.write("data/twice.csv", &told);
    assert_eq!(audit("twice.csv"), told);
    // In another order they are no audit's.
    place.write(
        "data/own.csv",
        "path,label,suggestion,score,kind\na/0.png,a,x,5,y\na/1.png,a,,,\nb/0.png,b,,,\nb/1.png,b,,,\n",
    );
    let told = audit("own.csv");
    assert!(
        told.starts_with("path,label,split,suggestion,score,kind,audit_kind,audit_score,audit_suggestion\n"),
        "{told}"
    );
}

#[test]
fn what_an_audit_writes_is_read_as_the_list_is() {
    let place = Place::usual();
    let rows = |row: &dyn Fn(usize, &str) -> String| -> String {
        (0..12).map(|i| row(i, &format!("{}/{}.png", ["a", "b"][i % 2], i / 2))).collect()
    };
    let kind = |i: usize| ["cat", "dog"][i % 2];
    let part = |i: usize| if i < 8 { "train" } else { "test" };
    // Labels in a column that is called as what is found; a column `path` that is none, and `split`, which splits nothing;
    // a label that is the only column left; no titles.
    let lists = [
        ("--label-column kind", format!("file,kind,label\n{}", rows(&|i, path| format!("{path},{},x\n", kind(i))))),
        (
            "--split-column part",
            format!(
                "path,picture,split,y,part,score\n{}",
                rows(&|i, path| format!("of {i},{path},s{i},{},{},{i}\n", kind(i), part(i)))
            ),
        ),
        ("", format!("what,picture\n{}", rows(&|i, path| format!("{},{path}\n", kind(i))))),
        ("", rows(&|i, path| format!("{path},{}\n", kind(i)))),
    ];
    let heads = [
        "file,kind,split,label,audit_kind,audit_score,audit_suggestion",
        "picture,y,part,path,split,score,audit_kind,audit_score,audit_suggestion",
        "picture,label,split,kind,score,suggestion",
        "path,label,split,kind,score,suggestion",
    ];
    for ((flags, list), head) in lists.into_iter().zip(heads) {
        place.write("data/list.csv", &list);
        let audit = |of: &str| {
            place.adapt(&format!("audit --data data/{of} --onnx tiny.onnx --val 0 --csv {flags}")).succeeds().out
        };
        let data = |of: &str| {
            let told = place.adapt(&format!("data data/{of} --val 0 --json {flags}")).succeeds().out;
            serde_json::from_str::<serde_json::Value>(&told).unwrap()["classes"].clone()
        };
        let told = audit("list.csv");
        assert_eq!(told.lines().next(), Some(head));
        place.write("data/audit.csv", &told);
        assert_eq!(data("audit.csv"), data("list.csv"), "{told}");
        assert_eq!(audit("audit.csv"), told);
        // Nothing of the list is lost.
        let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        for line in list.lines().skip(usize::from(!list.starts_with("a/"))) {
            let has = |row: &str| cells(line).iter().all(|cell| cells(row).contains(cell));
            assert!(told.lines().any(has), "{line}: {told}");
        }
    }
}

#[test]
fn the_list_of_a_zip_file_says_what_to_do() {
    let place = Place::usual();
    let mut zip = zip::ZipWriter::new(fs::File::create(place.path("all.zip")).unwrap());
    for (class, number) in ["a", "b", "c"].into_iter().flat_map(|class| (0..6).map(move |number| (class, number))) {
        let name = format!("{class}/{number}.png");
        zip.start_file(&name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&place.read_bytes(&format!("data/{name}"))).unwrap();
    }
    zip.finish().unwrap();
    let audit = |of: &str| place.adapt(&format!("audit --data {of} --onnx tiny.onnx --val 0 --csv")).succeeds();
    let told = audit("all.zip");
    assert!(told.err.contains("once adapt data all.zip --extract DIR has made them"), "{}", told.err);
    place.adapt("data all.zip --extract laid").succeeds();
    place.write("laid/audit.csv", told.out);
    let read = place.adapt("data laid/audit.csv").succeeds();
    assert!(read.out.contains("a list of 18 images"), "{}", read.out);
    assert!(!audit("data").err.contains("--extract"));
}

#[test]
fn a_list_that_would_be_taken_for_something_else_is_told() {
    let place = Place::usual();
    for (class, name) in ["0.5", "1.5"].iter().enumerate() {
        place.images(&format!("numbers/{name}"), class, 6);
    }
    let ran = place.adapt("audit --data numbers --onnx tiny.onnx --val 0 --csv").succeeds();
    assert!(ran.err.contains("look like numbers: read the list with --task multiclass"), "{}", ran.err);
}
