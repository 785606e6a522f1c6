//! Features that are computed once, and what a run's golden images prove.

use crate::cli::support::{Place, Ran, image};
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

fn run(place: &Place, out: &str, more: &[&str]) -> Ran {
    let job = ["--data", "data", "--onnx", "tiny.onnx", "--out", out, "--cache", "kept"];
    place.run(place.command().args(job).args(more)).succeeds()
}

fn files(place: &Place) -> Vec<PathBuf> {
    let shelves = fs::read_dir(place.path("kept")).unwrap().map(|entry| entry.unwrap().path());
    shelves.flat_map(|shelf| fs::read_dir(shelf).unwrap().map(|entry| entry.unwrap().path())).collect()
}

#[test]
fn nothing_is_computed_twice() {
    let place = Place::usual();
    let first = run(&place, "one", &[]);
    assert!(first.err.contains("extracting train features: 15"), "{}", first.err);
    let second = run(&place, "two", &[]);
    assert!(second.err.contains("features from the cache: 15") && !second.err.contains("extracting"), "{}", second.err);
    assert_eq!(place.read_bytes("one/model.onnx"), place.read_bytes("two/model.onnx"));
    // Another place, another class, other names, another split: the images are the same.
    fs::rename(place.path("data/c"), place.path("data/d")).unwrap();
    fs::rename(place.path("data/d/0.png"), place.path("data/d/x.png")).unwrap();
    let moved = run(&place, "three", &["--seed", "7", "--val", "0.4"]);
    assert!(!moved.err.contains("extracting"), "{}", moved.err);
    image(&place.path("data/a/new.png"), 0, 99);
    let added = run(&place, "four", &[]);
    assert!(added.err.contains("features: 1 in"), "{}", added.err);
    // Another preprocessing has other features.
    let other = run(&place, "five", &["--preprocess", "raw01"]);
    assert!(other.err.contains("extracting train features: 16"), "{}", other.err);
    let status = place.run(place.command().args(["cache", "--cache", "kept", "--json"])).succeeds();
    let status: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!((&status["holding"]["models"], &status["holding"]["rows"]), (&2.into(), &38.into()));
}

#[test]
fn what_is_damaged_is_computed_again() {
    let place = Place::usual();
    run(&place, "one", &[]);
    let rows = files(&place);
    assert!(!rows.is_empty());
    let shelf = rows[0].parent().unwrap();
    for (number, change) in (0..).zip([-20i64, 40, 34, 20, 9, 4]) {
        // A value, an image's hash, a width, a part's name, how many parts there are, what the file is.
        for path in files(&place) {
            let mut file = OpenOptions::new().write(true).open(&path).unwrap();
            file.seek(if change < 0 { SeekFrom::End(change) } else { SeekFrom::Start(change as u64) }).unwrap();
            file.write_all(b"\xa5").unwrap();
        }
        fs::write(shelf.join(".newhalf"), b"adaptft2").unwrap();
        // One part of four values, and of far more images than it has.
        let part = [&[0; 16][..], b"\x04\0\0\0"].concat();
        fs::write(shelf.join("short.rows"), [&b"adaptft2\x01\0\0\0\xff\xff\xff\xff"[..], &part].concat()).unwrap();
        fs::write(shelf.join("empty.rows"), b"").unwrap();
        let again = run(&place, &format!("again{number}"), &[]);
        assert!(again.err.contains("extracting"), "{}", again.err);
        assert_eq!(place.read_bytes("one/model.onnx"), place.read_bytes(&format!("again{number}/model.onnx")));
        // What was computed again stands before what is damaged.
        let more = run(&place, &format!("more{number}"), &[]);
        assert!(!more.err.contains("extracting"), "{}", more.err);
    }
}

#[test]
fn other_heads_compute_nothing_again() {
    let place = Place::usual();
    run(&place, "one", &[]);
    let narrower = run(&place, "two", &["--head", "lda"]);
    assert!(!narrower.err.contains("extracting"), "{}", narrower.err);
    let audited = place.run(place.command().args("audit --data data --onnx tiny.onnx --cache kept".split(' ')));
    assert!(!audited.succeeds().err.contains("extracting"));
}

#[test]
fn whatever_job_comes_first_the_next_computes_nothing() {
    let place = Place::usual();
    let ran = |cache: &str, job: &str| {
        let args = format!("{job} --cache {cache}");
        place.run(place.command().args(args.split(' '))).succeeds()
    };
    let adapt = "--data data --onnx tiny.onnx --out out --force";
    let heads = ["softmax", "lda", "ncm", "mlp"].map(|head| (head, format!("{adapt} --head {head}")));
    let others = [
        ("audit", "audit --data data --onnx tiny.onnx".to_string()),
        ("rank", "rank tiny.onnx --no-builtin --data data".into()),
    ];
    for (name, job) in heads.iter().chain(&others) {
        let first = ran(name, job);
        assert!(first.err.contains("extracting") || first.err.contains("features of tiny.onnx"), "{}", first.err);
        let then = ran(name, adapt);
        assert!(
            then.err.contains("features from the cache") && !then.err.contains("extracting"),
            "{name}: {}",
            then.err
        );
        let embedded = ran(name, "embed tiny.onnx data");
        assert!(!embedded.err.contains("extracting"), "{name}: {}", embedded.err);
    }
    // So does the head of the best of several models.
    fs::copy(place.path("tiny.onnx"), place.path("twin.onnx")).unwrap();
    let best = ran("several", &format!("{adapt} --onnx twin.onnx"));
    assert!(best.err.contains("features of tiny.onnx"), "{}", best.err);
    assert!(!best.err.contains("extracting train"), "{}", best.err);
    // The head is that of a run that keeps nothing.
    let model = |job: &str| {
        ran("off", job);
        place.read_bytes("out/model.onnx")
    };
    let (job, off) = (&heads[1].1, model(&heads[1].1));
    ran("lda", job);
    assert_eq!(place.read_bytes("out/model.onnx"), off);
    // What takes the cut's features alone finds what has no more, adds what pixels tell, and leaves the rest to the others.
    ran("embed", "embed tiny.onnx data");
    // Who wants that of later jobs alone decodes nothing again.
    let held = || ran("embed", "cache --json").out;
    let before = held();
    assert!(!ran("embed", &others[1].1).err.contains("features of tiny.onnx"));
    assert_eq!(held(), before);
    for job in [&others[0].1, job, &heads[3].1] {
        assert!(!ran("embed", job).err.contains("extracting"));
    }
    assert!(ran("embed", adapt).err.contains("extracting"));
    assert!(!ran("embed", adapt).err.contains("extracting"));
}

#[cfg(unix)]
#[test]
fn many_small_files_become_few_and_none_is_lost() {
    use std::process::Command;
    let place = Place::usual();
    // A run for each new image: a file each.
    for number in 0..40 {
        image(&place.path(format!("data/a/more{number}.png")), 0, number);
        place
            .run(
                place
                    .command()
                    .args("audit --data data --onnx tiny.onnx --preprocess raw01 --cache kept -q".split(' ')),
            )
            .succeeds();
    }
    let count = || files(&place).iter().filter(|path| path.extension().is_some_and(|e| e == "rows")).count();
    assert!(count() <= 33, "{}", count());
    // As many files as a process may have open, or more, are no reason to compute anything, or to remove one.
    let usual = place.command();
    let mut few = Command::new("sh");
    few.args(["-c", "ulimit -n 24; exec \"$0\" \"$@\""]).arg(usual.get_program());
    few.args("audit --data data --onnx tiny.onnx --preprocess raw01 --cache kept --threads 1".split(' '));
    few.envs(usual.get_envs().filter_map(|(key, value)| Some((key, value?))))
        .current_dir(usual.get_current_dir().unwrap());
    let before = count();
    let ran = place.run(&mut few).succeeds();
    assert!(!ran.err.contains("extracting") && count() == before, "{}", ran.err);
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let place = Place::usual();
    let job = |out: &str, preprocess: &str| run(&place, out, &["--preprocess", preprocess]);
    let sizes = || -> u64 { files(&place).iter().map(|path| fs::metadata(path).unwrap().len()).sum() };
    job("one", "raw01");
    let one = sizes();
    job("two", "raw255");
    std::thread::sleep(std::time::Duration::from_millis(50));
    // Used again, it is the younger one.
    assert!(!job("three", "raw01").err.contains("extracting"));
    assert!(sizes() > one);
    place.run(place.command().args(["cache", "prune", "--cache", "kept", "--max-size", &one.to_string()])).succeeds();
    assert_eq!(sizes(), one);
    assert!(!job("four", "raw01").err.contains("extracting"));
    assert!(job("five", "raw255").err.contains("extracting"));
}

#[cfg(unix)]
#[test]
fn a_killed_run_leaves_a_cache_that_is_sound() {
    let place = Place::usual();
    for wait in [30u64, 80, 150, 250] {
        let args = ["--data", "data", "--onnx", "tiny.onnx", "--out", "killed", "--cache", "kept", "--force"];
        let mut child = place.command().args(args).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let off =
        place.run(place.command().args("--data data --onnx tiny.onnx --out off --cache off".split(' '))).succeeds();
    assert!(off.err.contains("extracting"));
    run(&place, "on", &[]);
    assert_eq!(place.read_bytes("on/model.onnx"), place.read_bytes("off/model.onnx"));
    assert!(!run(&place, "again", &[]).err.contains("extracting"));
}

#[test]
fn no_run_fails_for_its_cache() {
    let place = Place::usual();
    place.write("kept", "a file");
    run(&place, "one", &[]);
    let off = place.run(place.command().args(["cache", "clear"]));
    off.fails(2, &["the cache is off"]);
    place.run(place.command().args(["cache", "--cache", "kept"])).fails(1, &["kept"]);
}

#[test]
fn two_runs_at_once_do_not_meet() {
    let place = Place::usual();
    let job = |out: &str| {
        let args = ["--data", "data", "--onnx", "tiny.onnx", "--out", out, "--cache", "kept", "--quiet"];
        place.command().args(args).spawn().unwrap()
    };
    let mut both = [job("one"), job("two")];
    assert!(both.iter_mut().all(|child| child.wait().unwrap().success()));
    assert_eq!(place.read_bytes("one/model.onnx"), place.read_bytes("two/model.onnx"));
    assert!(!run(&place, "three", &[]).err.contains("extracting"));
}

#[test]
fn only_what_is_ours_is_removed() {
    let place = Place::usual();
    run(&place, "one", &[]);
    place.write("kept/mine.txt", "kept");
    place.write("kept/folder/x.rows", "kept");
    let cleared = place.run(place.command().args(["cache", "clear", "--cache", "kept"])).succeeds();
    assert!(cleared.out.starts_with("removed ") && cleared.out.contains(" 0 rows"), "{}", cleared.out);
    assert_eq!(place.read("kept/mine.txt") + &place.read("kept/folder/x.rows"), "keptkept");
    assert_eq!(fs::read_dir(place.path("kept")).unwrap().count(), 2);
}

#[test]
fn what_killed_runs_left_unfinished_goes() {
    let place = Place::usual();
    run(&place, "one", &[]);
    let shelf = files(&place)[0].parent().unwrap().to_path_buf();
    let [old, new] = [".newold", ".newnew"].map(|name| shelf.join(name));
    [&old, &new].iter().for_each(|path| fs::write(path, b"adaptft2").unwrap());
    let before = std::time::SystemTime::now() - std::time::Duration::from_secs(11 * 60);
    fs::File::options().write(true).open(&old).unwrap().set_modified(before).unwrap();
    place.run(place.command().args(["cache", "clear", "--cache", "kept"])).succeeds();
    // A run may be writing the other.
    assert_eq!(files(&place), [new]);
}

#[test]
fn golden_images_prove_the_model_anywhere() {
    let place = Place::usual();
    run(&place, "one", &[]);
    for engine in ["auto", "tract", "candle"] {
        let checked = place.run(place.command().args(["verify", "one", "--engine", engine])).succeeds();
        assert!(checked.out.starts_with("3 images in "), "{}", checked.out);
    }
    let tensors = place.read_bytes("one/golden/tensors.safetensors");
    let mut other = tensors.clone();
    let header = 8 + u64::from_le_bytes(tensors[..8].try_into().unwrap()) as usize;
    let told: serde_json::Value = serde_json::from_slice(&tensors[8..header]).unwrap();
    let start = header + told["logits"]["data_offsets"][0].as_u64().unwrap() as usize;
    other[start..start + 4].copy_from_slice(&1e3f32.to_le_bytes());
    place.write("one/golden/tensors.safetensors", other);
    place.run(place.command().args(["verify", "one"])).fails(1, &["one", "stored logits"]);
    place.write("one/golden/tensors.safetensors", tensors);
    let list = place.read("one/golden/golden.json");
    fs::copy(place.path("one/golden/image-0.png"), place.path("one/golden/image-1.png")).unwrap();
    place.run(place.command().args(["verify", "one"])).fails(1, &["one", "steps of a pixel"]);
    place.write("one/golden/golden.json", list.replace("image-0.png", "../../data/a/0.png"));
    place.run(place.command().args(["verify", "one"])).fails(1, &["golden.json", "no file beside it"]);
    place.write("one/golden/golden.json", "{}");
    place.run(place.command().args(["verify", "one"])).fails(1, &["golden.json", "damaged"]);
    place.write("one/golden/tensors.safetensors", [255; 100]);
    place.write("one/golden/golden.json", list);
    place.run(place.command().args(["verify", "one"])).fails(1, &["tensors.safetensors", "damaged"]);
    // The folder is the run's own: it can be replaced.
    run(&place, "one", &["--force"]);
    place.write("one/golden/mine.txt", "x");
    let foreign = ["--data", "data", "--onnx", "tiny.onnx", "--out", "one", "--force"];
    place.run(place.command().args(foreign)).fails(2, &["holds 'golden'"]);
    // Another model in its place is found out.
    run(&place, "two", &["--val", "0.5", "--seed", "3", "--preprocess", "raw01"]);
    fs::copy(place.path("two/model.onnx"), place.path("one/model.onnx")).unwrap();
    place.run(place.command().args(["verify", "one"])).fails(1, &["one"]);
    place.run(place.command().args(["verify", "data"])).fails(2, &["golden.json", "folder of a run"]);
}
