//! Flags: wrong values, help, and the ONNX Runtime that is named.

use super::support::Place;

#[test]
fn usage_and_help() {
    let place = Place::empty();
    let ran = place.adapt("");
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.starts_with("error:") && ran.err.contains("--data") && ran.err.contains("Usage:"), "{}", ran.err);
    let ran = place.adapt("--help").succeeds();
    for word in ["Examples:", "adapt --data photos/", "--onnx", "--preprocess", "inspect", "predict", "merge"] {
        assert!(ran.out.contains(word), "{word}");
    }
    for command in ["inspect", "predict", "eval", "embed", "cut", "merge", "runtime"] {
        assert!(place.adapt(&format!("{command} --help")).succeeds().out.contains("Usage:"));
        if command != "runtime" {
            let ran = place.adapt(command);
            assert!(ran.code == Some(2) && ran.err.contains("Usage:"), "{}", ran.err);
        }
    }
    let version = place.adapt("--version").succeeds().out;
    assert_eq!(version, format!("adapt {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_values_are_explained() {
    let place = Place::usual();
    let cases = [
        ("--val 1.5", &["val", "1.5", "less than 1"][..]),
        ("--val 1", &["val", "less than 1"]),
        ("--val -1", &["val", "-1", "at least 0"]),
        ("--val NaN", &["val", "NaN", "at least 0"]),
        ("--val inf", &["val", "inf"]),
        ("--val half", &["--val", "'half'"]),
        ("--size 0x0", &["--size", "'0x0'", "224x224"]),
        ("--size 99999x1", &["--size", "'99999x1'", "8192"]),
        ("--size -4", &["'-4'"]),
        ("--size big", &["--size", "'big'"]),
        ("--seed abc", &["--seed", "'abc'"]),
        ("--seed -1", &["--seed", "'-1'"]),
        ("--seed 99999999999999999999", &["--seed"]),
        ("--preprocess imagnet", &["--preprocess", "did you mean 'imagenet'?"]),
        ("--preprocess imagenet,fliter=box", &["did you mean 'filter'?"]),
        ("--preprocess filter=bicubik", &["did you mean 'bicubic'?"]),
        ("--preprocess std=0", &["--preprocess", "std"]),
        ("--preprocess crop=99999999999", &["--preprocess", "crop"]),
        ("--preprocess ,", &["--preprocess"]),
        ("--quiet --verbose", &["--quiet", "--verbose"]),
    ];
    for (arguments, words) in cases {
        place.refuses(arguments, 2, words);
    }
}

#[test]
fn misspelt_flags_and_values_get_a_suggestion() {
    let place = Place::usual();
    let cases = [
        ("--engine trakt", &["possible values", "tract"][..]),
        ("--device gpu", &["'gpu'", "cpu", "cuda:N"]),
        ("--train all --schedule cosin", &["possible values", "cosine"]),
        ("--dta x", &["--data"]),
        ("--preproces imagenet", &["--preprocess"]),
    ];
    for (arguments, words) in cases {
        let ran = place.main(arguments);
        ran.fails(2, &[]);
        assert!(words.iter().all(|word| ran.err.contains(word)), "{}", ran.err);
        assert_eq!(place.outputs(), [""; 0]);
    }
    let ran = place.adapt("inspekt tiny.onnx");
    ran.fails(2, &[]);
    assert!(ran.err.contains("inspect"), "{}", ran.err);
}

#[test]
fn a_named_library_must_be_one() {
    let place = Place::usual();
    place.write("text.so", "not a library\n");
    // The variable goes before the flag, and the machine may have one.
    let job = ["--data", "data", "--onnx", "tiny.onnx", "--out", "out"];
    let named =
        |flag: &str| place.run(place.command().env_remove("ORT_DYLIB_PATH").args(job).args(["--ort-lib", flag]));
    named("no/lib.so").fails(2, &["--ort-lib", "no/lib.so", "does not exist", "adapt runtime install"]);
    // A bare name is the system loader's to find.
    named("missing.so").fails(1, &["--ort-lib", "missing.so", "cannot be used as ONNX Runtime"]);
    named("text.so").fails(1, &["--ort-lib", "text.so", "cannot be used as ONNX Runtime"]);
    named("data").fails(1, &["--ort-lib", "data", "not a file"]);
    place.run(place.command().env("ORT_DYLIB_PATH", "text.so").args(job)).fails(1, &["ORT_DYLIB_PATH", "text.so"]);
    assert_eq!(place.outputs(), [""; 0]);
}

#[test]
fn the_runtime_status_is_json() {
    let place = Place::empty();
    let ran = place.adapt("runtime status --json").succeeds();
    let status: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let places = status.as_array().unwrap();
    let sources: std::collections::BTreeSet<_> = places.iter().filter_map(|p| p["source"].as_str()).collect();
    assert_eq!(sources.len(), 7, "each place is told: {status}");
    assert!(places.iter().any(|p| p["outcome"]["Ok"].is_string()), "{status}");
    let ran = place.adapt("runtime --ort-lib nowhere.so").succeeds();
    assert!(ran.out.contains("nowhere.so"), "{}", ran.out);
}
