//! Where a network is computed: `--device`.

use super::support::Place;

#[test]
fn a_device_that_cannot_be_used_is_told() {
    let place = Place::usual();
    // In no build, on no machine.
    place.main("--device cuda:99").fails(2, &["--device", "give --device cpu"]);
    place.main("--device cuda:-1").fails(2, &["'cuda:-1'", "cuda:N", "auto"]);
    assert_eq!(place.outputs(), [""; 0]);
    place.main("--device cpu --train all --amp bf16").fails(2, &["--tf32 and --amp are for a GPU", "--device cuda"]);
    place.main("--train all --tf32 on --amp bf16").fails(2, &["--tf32", "--amp"]);
    place.main("--train head --tf32 off").fails(2, &["do nothing with --train head"]);
    assert_eq!(place.outputs(), [""; 0]);
    if !cfg!(feature = "cuda") {
        place.main("--device cuda").fails(2, &["built without CUDA", "--features cuda"]);
        let ran = place.main("--device auto").succeeds();
        assert_eq!(place.json("out/run.json")["plan"]["device"], "cpu", "{}", ran.out);
    }
}

#[test]
fn the_runtime_status_tells_of_gpus() {
    let told = Place::empty().adapt("runtime status").succeeds().out;
    assert!(told.contains("for a GPU") && told.contains("cuda"), "{told}");
    for library in ["NVIDIA driver", "NVRTC", "cuBLAS", "cuDNN"] {
        assert_eq!(told.contains(library), cfg!(feature = "cuda"), "{told}");
    }
}

/// On a GPU, or in a build with `cuda-emulated`.
#[cfg(feature = "cuda")]
#[test]
fn a_gpu_trains_as_the_processor_does() {
    use super::inside::{classes, column};
    let place = classes();
    let status = place.adapt("runtime status").succeeds().out;
    if !status.lines().any(|line| line.contains("cuda:0") && line.contains("yes")) {
        return eprintln!("SKIPPED, no GPU:\n{status}");
    }
    let run = |arguments: &str, device: &str| {
        let ran = place.main(&format!("{arguments} --val 0 --force --device {device}")).succeeds();
        assert!(ran.out.contains("proof") && ran.out.contains("100 % the same class"), "{}", ran.out);
        let told = place.json("out/run.json");
        assert_eq!(told["parity"]["engine"], "onnxruntime", "{arguments}: candle is not its own judge");
        told
    };
    run("--train head --bake-preprocessing", "cuda");
    let on_gpu = run("--train head", "cuda");
    assert_eq!(on_gpu["plan"]["device"], "cuda:0");
    assert_eq!(on_gpu["plan"]["engine"]["name"], "candle");
    let elsewhere = run("--train head --engine tract", "cuda");
    assert_eq!(elsewhere["plan"]["device"], "cuda:0");
    assert!(elsewhere["plan"]["notes"].to_string().contains("are on cuda:0: the engine tract"), "{elsewhere}");
    // Either its library has a CUDA provider, or that is told.
    let elsewhere = run("--train head --engine ort", "cuda");
    assert_eq!(elsewhere["plan"]["engine"]["name"], "onnxruntime");
    let there = elsewhere["plan"]["engine"]["version"].to_string().contains("on CUDA");
    let why = "does not run on cuda:0: ONNX Runtime";
    assert!(there != elsewhere["plan"]["notes"].to_string().contains(why), "{elsewhere}");
    assert!(!there || !cfg!(feature = "cuda-emulated"));
    let inside = "--epochs 8 --lr 0.02 --probe off --augment none";
    for (part, more) in [("last:1", ""), ("all", "--ema 0.9 --clip-grad 1"), ("all", "--optimizer sgd --mixup 0.2")] {
        let arguments = format!("--train {part} {inside} {more}");
        run(&arguments, "cpu");
        let theirs = column(&place, "train_loss");
        // cuDNN may take float32 where TF32 is allowed.
        let rounds = if cfg!(feature = "cuda-emulated") { 1e-9 } else { 0. };
        for (rounding, least, most) in [("--tf32 off", 0., 1e-3), ("", rounds, 1e-2), ("--amp bf16", 1e-6, 1e-1)] {
            let on_gpu = run(&format!("{arguments} {rounding}"), "cuda:0");
            assert_eq!(on_gpu["plan"]["device"], "cuda:0");
            let ours = column(&place, "train_loss");
            assert!(ours.len() == 8 && ours[7] < ours[0], "{part} {more} {rounding}: {ours:?}");
            let far = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0., f64::max);
            let what = format!("{part} {more} {rounding}: {ours:?} on the GPU, {theirs:?} on the processor");
            assert!((least..most).contains(&far), "{what}");
        }
    }
    // Nobody looks at the gradients' norm there.
    for (val, clip) in [("0", "1"), ("0.2", "1"), ("0", "0")] {
        let arguments =
            format!("--train all --lr 1e30 --clip-grad {clip} --epochs 3 --force --val {val} --device cuda");
        let ran = place.main(&arguments);
        let told =
            ["not finite", "lower --lr", "best weights so far are in out"].iter().all(|word| ran.err.contains(word));
        assert!(ran.code == Some(1) && told, "{arguments}: {}", ran.err);
        place.adapt("predict out/model.onnx data").succeeds();
    }
}

/// `scripts/gpu-check.sh` with stand-ins for what it runs, one of which hangs.
#[cfg(unix)]
#[test]
fn the_check_of_a_gpu_ends_in_time() {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    let place = Place::empty();
    place.write("models/efficientnet_lite0/model.onnx", "");
    let stand_ins = [
        ("adapt", "echo no GPU; ls -l ${LD_LIBRARY_PATH%%:*}"),
        ("train_step", "true"),
        ("graph-tests", "echo they begin; sleep 50"),
        ("zoo_logits", "true"),
    ];
    for (name, does) in stand_ins {
        place.write(name, format!("#!/bin/sh\n{does}\n"));
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/gpu-check.sh");
    let check = |variables: &str, parts: &str| {
        place.shell(&format!("PYTHON=./python OUT=logs {variables} bash {script} ./ {parts}"))
    };
    // One that has two folders of libraries.
    for file in ["a/libcublas.so.13", "b/libcublas.so.12", "b/libcudnn.so.9", "b/libcudnn_ops.so.9"] {
        place.write(&format!("nvidia/{file}"), "");
    }
    place.write("python", "#!/bin/sh\necho $PWD/nvidia/a:$PWD/nvidia/b\n");
    fs::set_permissions(place.path("python"), fs::Permissions::from_mode(0o755)).unwrap();
    let ran = check("LIMIT=20 BUDGET=2", "operators zoo");
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    for (name, outcome) in
        [("a step", "ok"), ("models, losses", "TIMEOUT"), ("operators", "LEFT OUT"), ("zoo", "LEFT OUT")]
    {
        let told = ran.out.lines().any(|line| line.starts_with(name) && line.contains(outcome));
        assert!(told, "{name}: {}", ran.out);
    }
    // Its libraries are found by names without a version, the first of each.
    let linked = |name: &str, to: &str| ran.out.lines().any(|l| l.contains(&format!("{name} -> ")) && l.ends_with(to));
    assert!(
        linked("libcublas.so", "/nvidia/a/libcublas.so.13") && linked("libcudnn.so", "/nvidia/b/libcudnn.so.9"),
        "{}",
        ran.out
    );
    let ran = check("", "zoo");
    assert!(ran.code == Some(0) && ran.out.lines().any(|l| l.starts_with("zoo ") && l.contains("ok")), "{}", ran.out);
    // All in one file, however many checks there are.
    assert_eq!(fs::read_dir(place.path("logs")).unwrap().count(), 1);
    let kept = place.read("logs/gpu-check.log");
    for part in ["no GPU", "they begin", "TIMEOUT", "LEFT OUT", "--- zoo"] {
        assert!(kept.contains(part), "{part}: {kept}");
    }
}
