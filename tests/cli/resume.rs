//! Runs that are interrupted, and go on.

use super::inside::classes;
use super::support::{Place, Running};
use crate::common::golden;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Long enough to be killed in its midst.
const JOB: &str =
    "--data data --onnx tiny.onnx --train all --epochs 60 --batch-size 2 --ema 0.9 --mixup 0.2 --threads 1";

/// What must be the same, however often a run was interrupted; of `results.csv` all but the times.
fn results(place: &Place, out: &str) -> Vec<Vec<u8>> {
    let files = ["model.onnx", "model.safetensors", "predictions.csv", "metrics.json", "labels.txt"];
    let mut found: Vec<_> = files.iter().map(|name| fs::read(place.path(out).join(name)).unwrap()).collect();
    let rows = place.read(&format!("{out}/results.csv"));
    assert_eq!(rows.lines().count(), 62);
    let untimed = |line: &str| line.rsplitn(4, ',').last().unwrap().to_string() + "\n";
    found.push(rows.lines().map(untimed).collect::<String>().into_bytes());
    found
}

fn start(place: &Place, arguments: &str) -> Running {
    place.start(place.command().args(arguments.split_whitespace()))
}

/// Until the run has written it.
fn wait_for(running: &mut Running, file: &Path, since: Option<std::time::SystemTime>) {
    let start = Instant::now();
    let written = || file.metadata().and_then(|m| m.modified()).is_ok_and(|at| since.is_none_or(|since| at > since));
    while !written() {
        assert!(running.child.try_wait().unwrap().is_none(), "it ended: {}", running.err());
        assert!(start.elapsed() < Duration::from_secs(30), "{}", running.err());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn kill(mut running: Running) {
    assert!(running.child.try_wait().unwrap().is_none(), "it ended: {}", running.err());
    running.child.kill().unwrap();
    running.child.wait().unwrap();
}

/// A run in `out` that is killed when its first checkpoint is there.
fn interrupted(place: &Place) {
    let mut running = start(place, &format!("{JOB} --out out"));
    wait_for(&mut running, &place.path("out.partial/checkpoint.safetensors"), None);
    kill(running);
}

#[test]
fn killed_runs_go_on_to_the_same_bits() {
    let place = classes();
    place.write("data/a/broken.png", "no image");
    place.adapt(&format!("{JOB} --out whole")).succeeds();
    let mut running = start(&place, &format!("{JOB} --out out"));
    let checkpoint = place.path("out.partial/checkpoint.safetensors");
    wait_for(&mut running, &place.path("out.partial/resume.json"), None);
    kill(running);
    // At the end of an epoch, and in its midst.
    for wait in [0, 7, 0, 13] {
        let since = checkpoint.metadata().and_then(|m| m.modified()).ok();
        let mut running = start(&place, "--resume out");
        wait_for(&mut running, &checkpoint, since);
        std::thread::sleep(Duration::from_millis(wait));
        kill(running);
    }
    place.adapt("--resume out").succeeds();
    assert!(results(&place, "out") == results(&place, "whole"));
    let command = |out: &str| place.json(&format!("{out}/run.json"))["command"].to_string();
    assert_eq!(command("out"), command("whole").replace("\"whole\"]", "\"out\"]"));
    assert!(!place.path("out/resume.json").exists() && !place.path("out/checkpoint.safetensors").exists());
    assert_eq!(place.outputs(), ["out"]);
}

#[test]
fn an_interrupt_keeps_what_was_trained() {
    let place = classes();
    place.adapt(&format!("{JOB} --out whole")).succeeds();
    let mut running = start(&place, &format!("{JOB} --out out"));
    wait_for(&mut running, &place.path("out.partial/checkpoint.safetensors"), None);
    std::thread::sleep(Duration::from_millis(7));
    let pid = running.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    let ran = running.wait();
    ran.fails(130, &["interrupted"]);
    assert!(ran.err.contains("adapt --resume out"), "{}", ran.err);
    assert_eq!(place.outputs(), ["out.partial"]);
    place.adapt(&format!("{JOB} --out out")).fails(2, &["out", "--resume out", "--force"]);
    place.adapt("--data data --onnx tiny.onnx --out out").fails(2, &["--resume out"]);
    // From another folder.
    let folder = place.path("out");
    place.run(place.command().current_dir("/").arg("--resume").arg(&folder)).succeeds();
    assert!(results(&place, "out") == results(&place, "whole"));
}

#[test]
fn what_fails_behind_the_training_can_go_on_too() {
    let place = classes();
    let mut running = start(&place, &format!("{JOB} --out out"));
    wait_for(&mut running, &place.path("out.partial/checkpoint.safetensors"), None);
    // Somebody puts a file where the result is to go.
    place.write("out/mine.txt", "");
    let ran = running.wait();
    ran.fails(1, &["mine.txt", "out.partial"]);
    assert!(ran.err.contains("adapt --resume out goes on"), "{}", ran.err);
    fs::remove_dir_all(place.path("out")).unwrap();
    place.adapt("--resume out").succeeds();
    assert_eq!(place.outputs(), ["out"]);
}

#[test]
fn what_is_done_stays_and_what_changed_is_refused() {
    let place = classes();
    place.adapt("--resume nothing").fails(2, &["nothing", "without --resume"]);
    place.adapt("--resume data").fails(2, &["data", "without --resume"]);
    interrupted(&place);
    place.write("data/a/new.png", fs::read(place.path("data/a/0.png")).unwrap());
    place
        .adapt("--resume out")
        .fails(2, &["data, or one of them (its size, or when it was changed), has changed", "without --resume"]);
    fs::remove_file(place.path("data/a/new.png")).unwrap();
    fs::copy(golden("tiny_f16.onnx"), place.path("tiny.onnx")).unwrap();
    place.adapt("--resume out").fails(2, &["tiny.onnx has changed", "without --resume"]);
    fs::copy(golden("tiny.onnx"), place.path("tiny.onnx")).unwrap();
    // What stands beside the model tells another preprocessing.
    let told = json!({ "do_normalize": true, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.5],
        "do_rescale": true, "rescale_factor": 0.00392156862745098, "size": { "height": 8, "width": 8 } });
    place.write("preprocessor_config.json", told.to_string());
    place
        .adapt("--resume out")
        .fails(2, &["preprocessing", "preprocessor_config.json", "has changed", "without --resume"]);
    fs::remove_file(place.path("preprocessor_config.json")).unwrap();
    // A checkpoint that is damaged.
    let checkpoint = fs::read(place.path("out.partial/checkpoint.safetensors")).unwrap();
    let mut flipped = checkpoint.clone();
    let header = u64::from_le_bytes(checkpoint[..8].try_into().unwrap()) as usize;
    flipped[8 + header] ^= 1;
    place.write("out.partial/checkpoint.safetensors", &flipped);
    place.adapt("--resume out").fails(1, &["checkpoint.safetensors: damaged: its checksum", "without --resume"]);
    for damaged in [&checkpoint[..checkpoint.len() / 2], b"", b"no checkpoint at all"] {
        place.write("out.partial/checkpoint.safetensors", damaged);
        let ran = place.adapt("--resume out");
        ran.fails(1, &["checkpoint.safetensors", "without --resume"]);
        // Before any work, and nothing else.
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    }
    // One of another network: no advice to go on beside what is wrong.
    for name in ["w.value", "w.ema"] {
        let mut strange = checkpoint.clone();
        let at = strange.windows(name.len()).position(|bytes| bytes == name.as_bytes()).unwrap();
        strange[at..][..name.len()].fill(b'x');
        place.write("out.partial/checkpoint.safetensors", &strange);
        let ran = place.adapt("--resume out");
        ran.fails(1, &["checkpoint.safetensors", "without --resume"]);
        assert!(!ran.err.contains("goes on"), "{}", ran.err);
    }
    place.write("out.partial/checkpoint.safetensors", &checkpoint);
    place.adapt("--resume out.partial").succeeds();
    assert_eq!(place.outputs(), ["out"]);
    let before = fs::read(place.path("out/run.json")).unwrap();
    let ran = place.adapt("--resume out").succeeds();
    assert!(ran.err.contains("done already") && fs::read(place.path("out/run.json")).unwrap() == before);
    // Killed before it could be resumed: what an earlier one left is not what was asked for.
    fs::create_dir(place.path("out.partial")).unwrap();
    place.adapt("--resume out").fails(2, &["out", "without --resume"]);
    fs::remove_dir(place.path("out.partial")).unwrap();
    // Begun anew over one that was interrupted, which is there until that is sure to work.
    fs::remove_dir_all(place.path("out")).unwrap();
    interrupted(&place);
    let checkpoint = fs::read(place.path("out.partial/checkpoint.safetensors")).unwrap();
    place.main("--force --train all --patience 2 --val 0").fails(2, &["--patience"]);
    place.main("--force --train nowhere").fails(2, &["--train nowhere"]);
    assert!(fs::read(place.path("out.partial/checkpoint.safetensors")).unwrap() == checkpoint);
    place.adapt("--resume out").succeeds();
    fs::remove_dir_all(place.path("out")).unwrap();
    interrupted(&place);
    place.main("--force").succeeds();
    assert_eq!(place.outputs(), ["out"]);
}

/// Its last checkpoint is there, but not its result.
#[test]
fn a_run_that_was_patient_enough_does_not_train_on() {
    let place = classes();
    let job = JOB.replace("--epochs 60", "--epochs 5000 --patience 1");
    place.adapt(&format!("{job} --out whole")).succeeds();
    let mut running = start(&place, &format!("{job} --out out"));
    let start_of = Instant::now();
    while !running.err().contains("training: ") && running.child.try_wait().unwrap().is_none() {
        assert!(start_of.elapsed() < Duration::from_secs(30));
    }
    let _ = running.child.kill();
    running.child.wait().unwrap();
    place.adapt("--resume out").succeeds();
    let [one, other] = ["whole", "out"].map(|out| fs::read(place.path(out).join("model.onnx")).unwrap());
    let rows = |out: &str| place.read(&format!("{out}/results.csv")).lines().count();
    assert!(one == other && rows("whole") == rows("out"));
}

/// Its last checkpoint is there, and what it says of the end.
#[test]
fn a_run_that_blew_up_does_not_recover_by_going_on() {
    let place = classes();
    let job = "--data data --onnx tiny.onnx --train all --val 0 --batch-size 12 --epochs 1 --optimizer sgd --momentum 0 \
               --schedule constant --lr 300 --clip-grad 0 --augment none --probe off --preprocess imagenet --threads 1";
    let whole = place.adapt(&format!("{job} --out whole"));
    assert!(whole.code == Some(1) && whole.err.contains("far worse than guessing"), "{}", whole.err);
    let mut running = start(&place, &format!("{job} --out out"));
    wait_for(&mut running, &place.path("out.partial/checkpoint.safetensors"), None);
    kill(running);
    let resumed = place.adapt("--resume out");
    assert!(resumed.code == Some(1) && resumed.err.contains("far worse than guessing"), "{}", resumed.err);
    let [one, other] = ["whole", "out"].map(|out| fs::read(place.path(out).join("model.onnx")).unwrap());
    assert!(one == other);
}

#[test]
fn a_run_that_did_not_end_is_told_where_its_result_is_wanted() {
    let place = classes();
    let wanted = ["report out", "report out.partial", "compare out out", "compare out.partial out"];
    let refused = |to_do: &str| {
        for command in wanted {
            let folder = command.split(' ').nth(1).unwrap();
            place.adapt(command).fails(2, &[&format!("{folder}: its run is not finished; {to_do}")]);
        }
    };
    let mut running = start(&place, &format!("{} --out out", JOB.replace("--epochs 60", "--epochs 5000")));
    wait_for(&mut running, &place.path("out.partial/checkpoint.safetensors"), None);
    refused("wait for its end");
    kill(running);
    refused("go on with it: adapt --resume out");
    for name in ["resume.json", "checkpoint.safetensors"] {
        fs::remove_file(place.path("out.partial").join(name)).unwrap();
    }
    refused("run it again");
    // A folder that no run left is nobody's run.
    fs::remove_dir_all(place.path("out.partial")).unwrap();
    fs::create_dir(place.path("out.partial")).unwrap();
    place.adapt("report out").fails(2, &["out: no run.json in it; give the folder of a run"]);
    place.adapt("report .").fails(2, &["no run.json in it"]);
}

#[cfg(target_os = "linux")]
#[test]
fn folders_whose_names_are_no_text() {
    use std::os::unix::ffi::OsStrExt;
    let place = classes();
    let folder = place.path(std::ffi::OsStr::from_bytes(b"f\xff o"));
    fs::create_dir(&folder).unwrap();
    let job = ["--data", "../data", "--onnx", "../tiny.onnx", "--out", "out", "--train", "all", "--epochs", "2"];
    place.run(place.command().current_dir(&folder).args(job)).succeeds();
    assert!(folder.join("out/model.onnx").is_file());
}
