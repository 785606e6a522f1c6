//! The engines against each other and against numpy; where ONNX Runtime is looked for; what bad input does.

mod common;
#[path = "engine/explain.rs"]
mod explain;
#[path = "engine/trial.rs"]
mod trial;

use adapt::Error;
use adapt::engine::runtime::{self, Found, Places};
use adapt::engine::{Backend, Choice, Engine};
use adapt::onnx::Model;
use adapt::onnx::schema::NodeProto;
use adapt::onnx::tensor::integers;
use adapt::progress::{Event, silent};
use common::{golden, onnx_runtime, tract};
use ndarray::{Array2, ArrayD, Axis, Slice, concatenate};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;

/// The golden input `[5, 3, 8, 8]` and the logits `[5, 4]` that numpy computes from it.
fn tiny() -> (ArrayD<f32>, Array2<f32>) {
    let json: serde_json::Value = serde_json::from_slice(&fs::read(golden("tiny.json")).unwrap()).unwrap();
    let floats =
        |key: &str| -> Vec<f32> { json[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect() };
    let input = ArrayD::from_shape_vec(vec![5, 3, 8, 8], floats("input")).unwrap();
    (input, Array2::from_shape_vec((5, 4), floats("logits")).unwrap())
}

fn distance(a: &ArrayD<f32>, b: &ArrayD<f32>) -> f32 {
    assert_eq!(a.shape(), b.shape());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn backends() -> [Backend; 2] {
    [onnx_runtime(), tract()]
}

#[test]
fn both_engines_compute_what_numpy_does() {
    let (input, logits) = tiny();
    let logits = logits.into_dyn();
    for backend in backends() {
        for (file, bound) in
            [("tiny.onnx", 1e-5), ("tiny_batch1.onnx", 1e-5), ("tiny_batch2.onnx", 1e-5), ("tiny_f16.onnx", 1e-2)]
        {
            for threads in [1, 2, 3] {
                let mut engine = backend.open(&Model::open(golden(file)).unwrap(), &[], threads).unwrap();
                assert_eq!(engine.outputs(), ["logits", "best"]);
                let outputs = engine.run(input.view()).unwrap();
                let off = distance(&outputs[0], &logits);
                assert!(off < bound, "{} {file}: {off}", backend.name());
                assert_eq!(outputs[1].shape(), [5], "{} {file}", backend.name());
                let best = engine.run_outputs(input.view(), &[1]).unwrap();
                assert_eq!(best, outputs[1..2]);
            }
        }
    }
}

#[test]
fn uint8_inputs_are_rounded() {
    let pixels = tiny().0.mapv(|v| 100.0 + 20.0 * v);
    let rounded = pixels.mapv(f32::round);
    for backend in backends() {
        let mut engine = backend.open(&Model::open(golden("tiny_u8.onnx")).unwrap(), &[], 1).unwrap();
        let float =
            backend.open(&Model::open(golden("tiny.onnx")).unwrap(), &[], 1).unwrap().run(rounded.view()).unwrap();
        let off = distance(&engine.run(pixels.view()).unwrap()[0], &float[0]);
        assert!(off < 1e-3, "{}: {off}", backend.name());
    }
}

#[test]
fn the_same_input_gives_the_same_bits() {
    let (input, _) = tiny();
    for backend in backends() {
        let mut engine = backend.open(&Model::open(golden("tiny.onnx")).unwrap(), &[], 2).unwrap();
        let first = engine.run(input.view()).unwrap();
        assert_eq!(engine.run(input.view()).unwrap(), first);
        let mut again = backend.open(&Model::open(golden("tiny.onnx")).unwrap(), &[], 2).unwrap();
        assert_eq!(again.run(input.view()).unwrap(), first);
        let halves = [0..2, 2..5].map(|range| {
            let part = input.slice_axis(Axis(0), Slice::from(range));
            engine.run(part).unwrap().swap_remove(0)
        });
        let joined = concatenate(Axis(0), &[halves[0].view(), halves[1].view()]).unwrap();
        assert!(distance(&joined, &first[0]) < 1e-6);
    }
}

#[test]
fn weights_outside_the_model_stay_in_its_folder() {
    let (input, logits) = tiny();
    let model = Model::open(golden("tiny_external.onnx")).unwrap();
    for backend in backends() {
        let mut engine = backend.open(&model, &[], 1).unwrap();
        assert!(distance(&engine.run(input.view()).unwrap()[0], &logits.clone().into_dyn()) < 1e-5);
    }
    let text = Model::open(golden("tiny_escape.onnx")).unwrap_err().to_string();
    assert!(text.contains("leaves the model's folder"), "{text}");
    let bytes = fs::read(golden("tiny_external.onnx")).unwrap();
    let text = Model::from_bytes("<bytes>", bytes).unwrap_err().to_string();
    assert!(text.contains("lies in another file"), "{text}");
}

fn open(backend: &Backend, bytes: &[u8]) -> adapt::Result<Box<dyn Engine>> {
    backend.open(&Model::from_bytes("<bytes>", bytes.to_vec())?, &[], 1)
}

#[test]
fn bad_models_and_inputs_are_one_line() {
    let good = fs::read(golden("tiny.onnx")).unwrap();
    let one_line = |error: Error| {
        let text = error.to_string();
        assert!(text.lines().count() == 1 && text.len() < 700, "{text}");
        text
    };
    for backend in backends() {
        let noise: Vec<u8> = (0..4000u32).map(|i| (i * 2_654_435_761) as u8 ^ (i >> 3) as u8).collect();
        for bytes in [&b""[..], b"hello, this is no model", &noise, &good[..good.len() / 2]] {
            one_line(open(&backend, bytes).err().expect("not a model"));
        }
        // Every byte changed in turn: an error or a model, never a panic.
        for index in 0..good.len() {
            let mut bytes = good.clone();
            bytes[index] ^= 0x5a;
            match open(&backend, &bytes) {
                Ok(mut engine) => drop(engine.run(ArrayD::zeros(vec![2, 3, 8, 8]).view())),
                Err(error) => drop(one_line(error)),
            }
        }
        let mut engine = open(&backend, &good).unwrap();
        for shape in [vec![1, 3, 9, 8], vec![0, 3, 8, 8], vec![3, 8, 8], vec![]] {
            let text = one_line(engine.run(ArrayD::zeros(shape).view()).unwrap_err());
            assert!(text.contains("'x' takes [any, 3, 8, 8]"), "{text}");
        }
        one_line(engine.run_outputs(ArrayD::zeros(vec![1, 3, 8, 8]).view(), &[7]).unwrap_err());
        let missing = Model::open("no/such.onnx").unwrap_err();
        assert!(one_line(missing).starts_with("no/such.onnx"));
    }
}

#[test]
fn fewer_images_at_once_where_a_model_makes_large_tensors_of_one() {
    let backend = onnx_runtime();
    let mut model = Model::open(golden("tiny.onnx")).unwrap();
    assert_eq!(backend.open(&model, &[], 1).unwrap().at_once(), 8);
    // A map of 6 x 2008 x 2008 values behind the padding.
    let graph = model.proto.graph.as_mut().unwrap();
    graph.initializer.push(integers("pads", &[0, 0, 1000, 1000, 0, 0, 1000, 1000]));
    graph.node[0].input[0] = "wide".into();
    let (op_type, input, output) = (Some("Pad".into()), vec!["x".into(), "pads".into()], vec!["wide".into()]);
    graph.node.insert(0, NodeProto { op_type, input, output, ..Default::default() });
    assert_eq!(backend.open(&model, &[], 1).unwrap().at_once(), 2);
}

#[test]
fn a_named_library_must_work() {
    let dir = tempfile::tempdir().unwrap();
    let (text, missing) = (dir.path().join("libtext.so"), dir.path().join("none.so"));
    fs::write(&text, "not a library\n").unwrap();
    for (path, code) in [(&text, 1), (&missing, 2), (&dir.path().to_path_buf(), 1)] {
        let places = [
            Places { dylib_path: Some(path.clone()), ..Places::default() },
            Places { ort_lib: Some(path.clone()), ..Places::default() },
        ];
        for (place, name) in places.iter().zip(["ORT_DYLIB_PATH: ", "--ort-lib: "]) {
            let error = place.locate().unwrap_err();
            assert_eq!(error.exit_code(), code, "{error}");
            let shown = error.to_string();
            assert!(shown.starts_with(name) && shown.contains("adapt runtime install"), "{shown}");
            assert_eq!(shown.lines().count(), 1);
        }
        if std::env::var_os("ORT_DYLIB_PATH").is_none() {
            assert!(Backend::resolve(Choice::Auto, Some(path), true, &silent).is_err());
        }
        let found = Found { path: path.clone(), source: "--ort-lib", version: None };
        common::onnx_runtime();
        assert!(runtime::environment(&found).is_err());
    }
}

#[test]
fn places_are_tried_in_order() {
    let real = fs::canonicalize(&common::runtime().path).expect("a library with a path");
    let name = real.file_name().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let put = |folder: &str| {
        let folder = dir.path().join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::hard_link(&real, folder.join(name)).or_else(|_| fs::copy(&real, folder.join(name)).map(drop)).unwrap();
        folder
    };
    let mut places = Places::default();
    assert_eq!(places.locate().unwrap(), None);
    let mut expect = |set: &dyn Fn(&mut Places), source: &str| {
        set(&mut places);
        let found = places.locate().unwrap().unwrap();
        assert_eq!(found.source, source);
        assert_eq!(found.version, common::runtime().version);
        let list = places.candidates();
        assert!(list.iter().any(|c| c.source == source && c.outcome.as_ref().ok() == found.version.as_ref()));
    };
    expect(&|p| p.system = vec![real.clone()], "system library path");
    put("venv/lib/python3.12/site-packages/onnxruntime/capi");
    expect(&|p| p.virtual_env = Some(dir.path().join("venv")), "virtual environment");
    put(&format!("data/onnxruntime-{}", runtime::VERSION));
    expect(&|p| p.data_dir = Some(dir.path().join("data")), "user data directory");
    let exe = put("exe");
    // A broken library that is merely lying there is passed over.
    fs::write(exe.join("libonnxruntime.so"), "broken").unwrap();
    fs::write(exe.join("libonnxruntime_providers_shared.so"), "another").unwrap();
    expect(&|p| p.exe_dir = Some(exe.clone()), "beside the executable");
    expect(&|p| p.ort_lib = Some(real.clone()), "--ort-lib");
    expect(&|p| p.dylib_path = Some(real.clone()), "ORT_DYLIB_PATH");
}

#[test]
fn the_environment_names_the_library() {
    const ROLE: &str = "ADAPT_TEST_CHILD";
    if std::env::var_os(ROLE).is_some() {
        print!("child: {}", runtime::locate(None).unwrap_err());
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "the_environment_names_the_library", "--nocapture"]);
    let output = child.env(ROLE, "1").env("ORT_DYLIB_PATH", "/no/such/libonnxruntime.so").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("child: ORT_DYLIB_PATH: /no/such/libonnxruntime.so does not exist"), "{text}");
}

#[test]
fn without_a_library_tract_is_used_and_said_once() {
    const ROLE: &str = "ADAPT_TEST_OFFLINE_CHILD";
    if std::env::var_os(ROLE).is_some() {
        let warnings = Mutex::new(Vec::new());
        let note = |event: Event| {
            warnings.lock().unwrap().push(format!("{event:?}"));
            ControlFlow::Continue(())
        };
        let backend = Backend::resolve(Choice::Auto, None, true, &note).unwrap();
        let forced = Backend::resolve(Choice::Ort, None, true, &silent).is_ok();
        print!("child: {} {forced} {:?}", backend.name(), warnings.lock().unwrap());
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "without_a_library_tract_is_used_and_said_once", "--nocapture"]);
    let child = child.env_clear().env(ROLE, "1").env("HOME", home.path()).env("PATH", home.path());
    let text = String::from_utf8_lossy(&child.output().unwrap().stdout).into_owned();
    // A machine may have the library on the system's path, where this test cannot hide it.
    let expected = ["child: onnxruntime true []", "child: tract false [\"Warning("];
    assert!(expected.iter().any(|start| text.contains(start)), "{text}");
    assert!(text.contains("onnxruntime true") || text.matches("adapt runtime install").count() == 1, "{text}");
}

#[test]
fn installing_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let error = runtime::install_in(dir.path(), Path::new("no-such-python"), &silent).unwrap_err().to_string();
    assert!(error.contains("no-such-python cannot be run") && error.contains("ORT_DYLIB_PATH"), "{error}");
    let stop = |_: Event| ControlFlow::Break(());
    let stopped = runtime::install_in(dir.path(), Path::new("python3"), &stop).unwrap_err();
    assert!(matches!(stopped, Error::Interrupted));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing half-written stays");
}

#[test]
fn tract_stands_in_with_one_warning() {
    let warnings = Mutex::new(Vec::new());
    let progress = |event: Event| {
        if let Event::Warning(text) = event {
            warnings.lock().unwrap().push(text.to_owned());
        }
        ControlFlow::Continue(())
    };
    let backend = Backend::resolve(Choice::Tract, None, true, &progress).unwrap();
    assert_eq!((backend.name(), warnings.lock().unwrap().len()), ("tract", 0));
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let version = lock.split("name = \"tract-onnx\"\nversion = \"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(backend.version(), version);
    assert_eq!(onnx_runtime().version(), common::runtime().version.as_deref().unwrap());
}
