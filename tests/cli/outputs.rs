//! Where results go, and what must not be lost there.

use super::support::Place;
use std::fs;

const FILES: [&str; 12] = [
    "config.json",
    "golden",
    "labels.txt",
    "maps.json",
    "metrics.json",
    "model.onnx",
    "model.safetensors",
    "predictions.csv",
    "preprocessor_config.json",
    "report.html",
    "run.json",
    "scores.safetensors",
];

fn names(place: &Place, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(place.path(folder)).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_earlier_run_is_replaced_with_force_only() {
    let place = Place::usual();
    fs::create_dir(place.path("out")).unwrap();
    place.main("").succeeds();
    assert_eq!(names(&place, "out"), FILES);
    let before = fs::read(place.path("out/run.json")).unwrap();
    place.main("").fails(2, &["out", "exists already", "--force"]);
    assert_eq!(fs::read(place.path("out/run.json")).unwrap(), before);
    place.main("--force --seed 5").succeeds();
    assert_eq!(place.json("out/run.json")["seed"], 5);
    assert_eq!(place.outputs(), ["out"]);
}

#[test]
fn foreign_files_are_never_deleted() {
    for folder in ["out", "out.partial"] {
        for foreign in ["notes.txt", "model.onnx/notes.txt", ".hidden"] {
            let place = Place::usual();
            place.write(&format!("{folder}/labels.txt"), "a\n");
            place.write(&format!("{folder}/{foreign}"), "mine");
            let name = foreign.split('/').next().unwrap();
            place.main("--force").fails(2, &[folder, name, "did not write", "choose another --out"]);
            assert_eq!(place.read(&format!("{folder}/{foreign}")), "mine");
            assert_eq!(place.read(&format!("{folder}/labels.txt")), "a\n");
            assert_eq!(place.outputs(), [folder]);
        }
    }
}

#[test]
fn a_folder_that_happens_to_be_called_old_is_kept() {
    let place = Place::usual();
    place.write("out.old/notes.txt", "mine");
    place.main("").succeeds();
    assert_eq!(place.read("out.old/notes.txt"), "mine");
    // Where it would be needed to replace a run, that is said before the work.
    let before = fs::read(place.path("out/run.json")).unwrap();
    place.main("--force").fails(2, &["out.old", "notes.txt"]);
    assert_eq!(place.read("out.old/notes.txt"), "mine");
    assert_eq!(fs::read(place.path("out/run.json")).unwrap(), before);
    assert_eq!(place.outputs(), ["out", "out.old"]);
}

#[test]
fn what_a_killed_run_left_is_cleaned() {
    let place = Place::usual();
    place.write("out.partial/model.onnx", "half");
    place.main("").succeeds();
    assert_eq!(place.outputs(), ["out"]);
    assert_eq!(names(&place, "out"), FILES);
}

#[test]
fn folders_that_cannot_be_written() {
    let place = Place::usual();
    let run = |out: &str| place.adapt(&format!("--data data --onnx tiny.onnx --out {out}"));
    for out in ["/", ".", "..", "data/.."] {
        run(out).fails(2, &[out, "choose another --out"]);
        run(&format!("{out} --force")).fails(2, &[out, "choose another --out"]);
    }
    #[cfg(target_os = "linux")]
    run("/proc").fails(2, &["/proc is a mount point", "inside it"]);
    run("tiny.onnx").fails(2, &["tiny.onnx", "is a file"]);
    run("tiny.onnx/below").fails(2, &["tiny.onnx/below", "below one"]);
    #[cfg(target_os = "linux")]
    run("/proc/adapt").fails(1, &["/proc/adapt"]);
    let mut left: Vec<_> = fs::read_dir(place.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["data", "tiny.onnx"]);
}

#[test]
fn the_current_folder_is_no_place_even_when_empty() {
    let place = Place::usual();
    fs::create_dir(place.path("empty")).unwrap();
    let mut command = place.command();
    command.current_dir(place.path("empty")).args(["--data", "../data", "--onnx", "../tiny.onnx", "--out", "."]);
    place.run(&mut command).fails(2, &["--out .", "not a folder's name"]);
    assert_eq!(names(&place, "empty"), [""; 0]);
}

#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_printed_are_a_failure() {
    let place = Place::usual();
    place.shell("$ADAPT inspect tiny.onnx >/dev/full").fails(1, &["standard output"]);
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    // A limit on the size of files fails writes in the middle as a full disk does, and needs no rights.
    let place = Place::usual();
    let limited = |run: &str| place.shell(&format!("trap '' XFSZ; ulimit -f 2; exec $ADAPT {run}"));
    limited("--data data --onnx tiny.onnx --out out -q").fails(1, &["out/model.onnx"]);
    assert_eq!(place.outputs(), [""; 0]);
    place.main("").succeeds();
    let before = fs::read(place.path("out/model.onnx")).unwrap();
    limited("--data data --onnx tiny.onnx --out out --force -q").fails(1, &["out/model.onnx"]);
    assert_eq!(fs::read(place.path("out/model.onnx")).unwrap(), before);
    limited("merge out/model.onnx out/model.safetensors -o out.onnx").fails(1, &["out.onnx"]);
    assert_eq!(place.outputs(), ["out"]);
}

#[test]
fn a_result_that_cannot_be_put_in_its_place_is_kept() {
    let place = Place::empty();
    let filled = |name: &str| {
        let out = adapt::OutDir::create(&place.path(name), true).unwrap();
        out.write("labels.txt", b"a\n").unwrap();
        assert!(place.path(format!("{name}.partial/.lock")).is_file());
        out
    };
    let out = filled("out");
    // Somebody's own folder, made there meanwhile.
    place.write("out/notes.txt", "mine");
    let error = out.commit().unwrap_err().to_string();
    assert!(error.contains("notes.txt") && error.contains("out.partial"), "{error}");
    assert_eq!((place.read("out/notes.txt"), names(&place, "out.partial")), ("mine".into(), vec!["labels.txt".into()]));
    // The same for a model that failed its verification.
    place.write("rejected.rejected/notes.txt", "mine");
    let error = filled("rejected").reject().unwrap_err().to_string();
    assert!(error.contains("notes.txt") && error.contains("rejected.partial"), "{error}");
    assert_eq!(names(&place, "rejected.partial"), ["labels.txt"]);
    assert_eq!(names(&place, "rejected.rejected"), ["notes.txt"]);
    let committed = filled("whole").commit().unwrap();
    assert_eq!((committed, names(&place, "whole")), (place.path("whole"), vec!["labels.txt".into()]));
}

#[test]
fn failed_runs_leave_no_empty_folders() {
    let place = Place::usual();
    place.write("data/b/zero.jpg", "");
    fs::create_dir(place.path("mine")).unwrap();
    for out in ["new/deep/out", "mine/deep/out"] {
        let ran = place.adapt(&format!("--data data --onnx tiny.onnx --strict --out {out}"));
        ran.fails(1, &["zero.jpg"]);
    }
    assert!(!place.path("new").exists());
    assert_eq!(names(&place, "mine"), [""; 0]);
    place.adapt("--data data --onnx tiny.onnx --out new/deep/out").succeeds();
    assert_eq!(names(&place, "new/deep/out"), FILES);
}

#[test]
fn runs_are_numbered_by_default() {
    let place = Place::usual();
    // What a killed run left costs no number.
    place.write("runs/adapt-1.partial/labels.txt", "a\n");
    place.write("runs/adapt-1.partial/.lock", "");
    // A result that could not be renamed does.
    place.write("runs/adapt-2.partial/labels.txt", "a\n");
    for n in [1, 3] {
        let ran = place.adapt("--data data --onnx tiny.onnx").succeeds();
        assert!(ran.out.contains(&format!("written  runs/adapt-{n}")), "{}", ran.out);
    }
    assert_eq!(names(&place, "runs"), ["adapt-1", "adapt-2.partial", "adapt-3"]);
}

#[test]
fn the_same_command_gives_the_same_bytes() {
    let place = Place::usual();
    place.main("").succeeds();
    let read = |name: &str| fs::read(place.path("out").join(name)).unwrap();
    let files = ["model.onnx", "model.safetensors", "predictions.csv", "metrics.json", "labels.txt", "config.json"];
    let before = files.map(read);
    assert!(before.iter().all(|bytes| !bytes.is_empty()));
    place.main("--force").succeeds();
    assert!(files.map(read) == before);
}

#[test]
fn json_is_all_there_is_on_standard_output() {
    let place = Place::usual();
    let ran = place.main("--json").succeeds();
    let printed: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(printed, place.json("out/run.json"));
    assert!(ran.err.contains("classes"), "the plan is for standard error: {}", ran.err);
    let ran = place.main("--json --quiet --force").succeeds();
    let warned = ran.err.lines().filter(|line| line.starts_with("warning: ")).count();
    assert!(warned > 0 && warned == ran.err.lines().count(), "{}", ran.err);
}

#[test]
fn closed_pipes_are_no_failure() {
    let place = Place::usual();
    place.main("").succeeds();
    // The reader of each pipe is gone before anything is written.
    let runs = ["--help", "inspect tiny.onnx", "predict out/model.onnx data --csv", "runtime status --json"];
    for run in runs {
        let ran = place.shell(&format!("{{ sleep 0.1; $ADAPT {run}; echo $? >code; }} | true"));
        assert!(!ran.err.contains("panicked") && place.read("code") == "0\n", "{run}: {}", ran.err);
    }
    // Nobody reads the plan either: results must come all the same.
    let run = "$ADAPT --data data --onnx tiny.onnx --out out --force -v";
    place.shell(&format!("{{ sleep 0.1; {run} 2>&1 >/dev/null; echo $? >code; }} | true"));
    assert_eq!(place.read("code"), "0\n");
    place.shell("{ sleep 0.1; $ADAPT --data nowhere 2>&1; echo $? >code; } | true");
    assert_eq!(place.read("code"), "2\n");
}
