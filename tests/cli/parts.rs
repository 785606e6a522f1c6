//! What stands alone: parts of a model, and features.

use super::support::{Place, Ran};
use crate::common::golden;
use adapt::onnx::Model;
use adapt::onnx::schema::{GraphProto, NodeProto, data_type};
use adapt::onnx::tensor::{self, encode_floats, set_raw};
use serde_json::{Value, json};
use std::fs;

/// As [`Place::usual`], with the images and models of `make_parts.py` in `parts`.
pub fn place() -> Place {
    let place = Place::usual();
    fs::create_dir(place.path("parts")).unwrap();
    for entry in fs::read_dir(golden("parts")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), place.path("parts").join(entry.file_name())).unwrap();
    }
    place
}

const AS_THEY_ARE: &str = "--preprocess raw01,resize=8x8,crop=none -q";

/// Where NumPy's header ends and the values begin.
fn split(npy: &[u8]) -> (&[u8], Vec<f32>) {
    let end = 10 + usize::from(u16::from_le_bytes([npy[8], npy[9]]));
    (&npy[..end], floats(&npy[end..]))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

fn columns(csv: &str) -> (Vec<String>, Vec<f32>) {
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("path,f0,f1,f2,f3,f4,f5"));
    let (mut paths, mut values) = (Vec::new(), Vec::new());
    for line in lines {
        let (path, rest) = line.split_once(',').unwrap();
        paths.push(path.to_string());
        values.extend(rest.split(',').map(|v| v.parse::<f32>().unwrap()));
    }
    (paths, values)
}

#[test]
fn features_are_those_of_onnx_runtime_in_the_formats_of_numpy_and_safetensors() {
    let place = place();
    place.adapt(&format!("embed tiny.onnx parts -o f.npy {AS_THEY_ARE}")).succeeds();
    let (ours, golden) = (fs::read(place.path("f.npy")).unwrap(), fs::read(golden("parts/features.npy")).unwrap());
    let ((header, values), (numpys, expected)) = (split(&ours), split(&golden));
    assert_eq!(String::from_utf8_lossy(header), String::from_utf8_lossy(numpys));
    assert!(values.len() == 18 && values.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{values:?}");
    let paths = ["parts/0.png", "parts/1.png", "parts/2.png"];
    assert_eq!(place.read("f.npy.paths.txt").lines().collect::<Vec<_>>(), paths);

    place.adapt(&format!("embed tiny.onnx parts -o f.safetensors {AS_THEY_ARE}")).succeeds();
    let bytes = fs::read(place.path("f.safetensors")).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let list = &header.metadata().as_ref().unwrap()["paths"];
    assert_eq!(serde_json::from_str::<Value>(list).unwrap(), json!(paths));
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("features").unwrap();
    assert_eq!((tensor.shape(), floats(tensor.data())), (&[3, 6][..], values.clone()));

    let csv = place.adapt(&format!("embed tiny.onnx parts {AS_THEY_ARE}")).succeeds().out;
    assert_eq!(columns(&csv), (paths.map(String::from).to_vec(), values));
    place.adapt(&format!("embed tiny.onnx parts -o f.csv {AS_THEY_ARE}")).succeeds();
    assert_eq!(place.read("f.csv"), csv);
}

#[test]
fn embed_skips_what_it_cannot_read_and_replaces_nothing() {
    let place = place();
    place.write("parts/1.png", "no image");
    let ran = place.adapt("embed tiny.onnx parts -o f.npy").succeeds();
    assert!(ran.err.contains("parts/1.png") && ran.err.contains("guess"), "{}", ran.err);
    assert_eq!(place.read("f.npy.paths.txt"), "parts/0.png\nparts/2.png\n");
    place.adapt("embed tiny.onnx parts -o f.npy").fails(2, &["f.npy", "exists already", "--force"]);
    fs::remove_file(place.path("f.npy")).unwrap();
    place.adapt("embed tiny.onnx parts -o f.npy").fails(2, &["f.npy.paths.txt", "exists already"]);
    place.adapt("embed tiny.onnx parts -o f.npy --force").succeeds();
    place.adapt("embed tiny.onnx parts -o f.txt").fails(2, &["f.txt", ".npy, .safetensors or .csv"]);
    place.adapt("embed tiny.onnx parts --cut featurs").fails(2, &["did you mean 'features'?"]);
    place.adapt("embed tiny.onnx nowhere").fails(2, &["nowhere"]);
    place.adapt("embed tiny.onnx parts/1.png").fails(1, &["parts/1.png", "none of the images"]);
}

#[test]
fn an_adapted_model_gives_the_features_that_its_head_was_trained_on() {
    let place = place();
    place.main("--val 0 --preprocess raw01,resize=8x8,crop=none").succeeds();
    // The preprocessing is in its metadata: no guess.
    let ran = place.adapt("embed out/model.onnx parts").succeeds();
    assert!(!ran.err.contains("guess"), "{}", ran.err);
    let original = place.adapt(&format!("embed tiny.onnx parts {AS_THEY_ARE}")).succeeds();
    assert_eq!(ran.out, original.out);
    // The part alone says so too, and no more has classes.
    place.adapt("cut out/model.onnx -o part.onnx").succeeds();
    let part = place.adapt("embed part.onnx parts").succeeds();
    assert_eq!((part.out, part.err.contains("guess")), (ran.out, false));
    assert!(place.adapt("inspect part.onnx --json").succeeds().out.contains("\"problems\": []"));
}

#[test]
fn a_part_is_the_original_up_to_its_output() {
    let place = place();
    let ran = place.adapt("cut tiny.onnx -o part.onnx").succeeds();
    assert!(ran.out.contains("'features' [N, 6]") && ran.out.contains("batches of 1 and 3"), "{}", ran.out);
    let (part, whole) = (Model::open(place.path("part.onnx")).unwrap(), Model::open(place.path("tiny.onnx")).unwrap());
    assert_eq!(part.graph().node[..], whole.graph().node[..4]);
    assert_eq!(part.proto.opset_import, whole.proto.opset_import);
    assert_eq!(part.graph().input, whole.graph().input);
    let output = &part.graph().output[0];
    assert_eq!((part.graph().output.len(), output.name()), (1, "features"));
    assert_eq!(output.tensor_type(), Some((1, Some(vec![None, Some(6)]))));
    let stored: Vec<_> = part.graph().initializer.iter().map(|t| t.name()).collect();
    assert_eq!(stored, ["w", "b"]);

    let ran = place.adapt("cut tiny.onnx --at conv --output best --engine tract -o conv.onnx").succeeds();
    assert!(ran.out.contains("'conv' [N, 6, 8, 8]") && ran.out.contains("tract"), "{}", ran.out);
    for (file, words) in [("tiny_batch2", "[2, 6]"), ("tiny_f16", "[N, 6]"), ("tiny_u8", "[N, 6]")] {
        fs::copy(golden(&format!("{file}.onnx")), place.path("other.onnx")).unwrap();
        let ran = place.adapt("cut other.onnx -o other_part.onnx --force").succeeds();
        assert!(ran.out.contains(words), "{}", ran.out);
        place.adapt("embed other_part.onnx parts").succeeds();
    }
}

#[test]
fn cuts_that_cannot_be_made_leave_nothing() {
    let place = place();
    let refuses = |arguments: &str, code: i32, words: &[&str]| -> Ran {
        let ran = place.adapt(&format!("cut {arguments} -o out.onnx"));
        ran.fails(code, words);
        assert_eq!(place.outputs(), [""; 0]);
        ran
    };
    refuses("tiny.onnx --at featurs", 2, &["'featurs'", "did you mean 'features'?"]);
    refuses("tiny.onnx --at w", 2, &["'w' is the model's input or stored in it"]);
    refuses("tiny.onnx --output no", 2, &["no output 'no'"]);
    refuses("nothing.onnx", 2, &["nothing.onnx", "no such file"]);
    refuses("parts/custom.onnx", 1, &["ONNX Runtime", "Frobnicate"]);
    place.write("out.onnx", "mine");
    place.adapt("cut tiny.onnx -o out.onnx").fails(2, &["out.onnx", "exists already", "--force"]);
    assert_eq!(place.read("out.onnx"), "mine");
    place.adapt("cut tiny.onnx -o out.onnx --force").succeeds();
}

#[test]
fn sizes_that_the_importer_recurses_over_without_end_are_refused() {
    let place = place();
    fs::copy(golden("parts/halves.onnx"), place.path("halves.onnx")).unwrap();
    let found = inspected(&place, "halves.onnx");
    assert_eq!(found["training"]["inside"], "nothing");
    let obstacle = found["training"]["obstacles"][0].to_string();
    assert!(obstacle.contains("\"half") && obstacle.contains("too many steps"), "{obstacle}");
    place.adapt("predict halves.onnx parts --engine tract").fails(1, &["halves.onnx", "too many steps"]);
    place.adapt("predict halves.onnx parts --engine candle").fails(1, &["halves.onnx", "too many steps"]);
    place.adapt("predict halves.onnx parts").succeeds();
}

pub fn inspected(place: &Place, file: &str) -> Value {
    serde_json::from_str(&place.adapt(&format!("inspect {file} --json")).succeeds().out).unwrap()
}

#[test]
fn what_a_plan_settles_is_settled_for_parts_and_features_too() {
    let place = place();
    for name in ["extra_training", "extra_paddle", "size_open", "size_rank", "size_side", "int_features"] {
        fs::copy(golden(&format!("onnx/{name}.onnx")), place.path("whole.onnx")).unwrap();
        let cut = place.adapt("cut whole.onnx -o part.onnx --force").succeeds();
        assert!(cut.out.contains("the same as in the original"), "{name}: {}", cut.out);
        let whole = place.adapt("embed whole.onnx parts --preprocess raw01").succeeds().out;
        // The part alone no longer tells the size.
        let size = if name.starts_with("size") { "--size 32x32" } else { "" };
        let part = place.adapt(&format!("embed part.onnx parts --preprocess raw01 {size}")).succeeds().out;
        assert_eq!(columns_of(&whole), columns_of(&part), "{name}");
        // A square where one side is fixed: nothing has to be looked for.
        let looked = ["size_open", "size_rank"].contains(&name);
        assert_eq!(cut.err.contains("32x32"), looked, "{name}: {}", cut.err);
    }
    // Features need no head: neither the old one, which ONNX Runtime no longer knows, nor a new one.
    fs::copy(golden("onnx/opset6.onnx"), place.path("old.onnx")).unwrap();
    let rows = columns_of(&place.adapt("embed old.onnx parts --preprocess raw01").succeeds().out);
    assert_eq!((rows.len(), rows[0].len()), (3, 6));
    let mut model = Model::open(golden("onnx/gemm_transb1.onnx")).unwrap();
    let graph = model.proto.graph.as_mut().unwrap();
    for tensor in graph.initializer.iter_mut().filter(|t| t.data_type() == data_type::FLOAT) {
        let raw = encode_floats(tensor::floats(tensor).unwrap(), data_type::BFLOAT16);
        set_raw(tensor, raw);
        tensor.data_type = Some(data_type::BFLOAT16);
    }
    for info in graph.input.iter_mut().chain(&mut graph.output) {
        info.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = Some(data_type::BFLOAT16);
    }
    place.write("bfloat16.onnx", model.to_bytes().unwrap());
    let ran = place.adapt("cut bfloat16.onnx -o part.onnx --force").succeeds();
    assert!(ran.err.contains("bfloat16 is exported as float32"), "{}", ran.err);
    let part = Model::open(place.path("part.onnx")).unwrap();
    assert_eq!(part.graph().output[0].tensor_type().unwrap().0, data_type::FLOAT);
}

fn columns_of(csv: &str) -> Vec<Vec<f32>> {
    csv.lines().skip(1).map(|line| line.split(',').skip(1).map(|v| v.parse().unwrap()).collect()).collect()
}

#[test]
fn chains_are_done_in_bounded_time() {
    // Enough that time beyond all patience goes where it grows with the square, and a hundredth of what a slow machine is given.
    const LINKS: usize = 5_000;
    let place = place();
    let mut model = Model::open(place.path("tiny.onnx")).unwrap();
    let graph: &mut GraphProto = model.proto.graph.as_mut().unwrap();
    let link = |i: usize| NodeProto {
        op_type: Some("Add".into()),
        name: Some(format!("link{i}")),
        input: vec![if i == 0 { "relu".into() } else { format!("sum{i}") }, "relu".into()],
        output: vec![format!("sum{}", i + 1)],
        ..Default::default()
    };
    graph.node.splice(2..2, (0..LINKS).map(link));
    graph.node[LINKS + 2].input[0] = format!("sum{LINKS}");
    place.write("chain.onnx", model.to_bytes().unwrap());
    assert_eq!(inspected(&place, "chain.onnx")["training"]["inside"], "all");
    let ort = place.adapt(&format!("predict chain.onnx parts --csv {AS_THEY_ARE}")).succeeds();
    let tract = place.adapt(&format!("predict chain.onnx parts --csv --engine tract {AS_THEY_ARE}")).succeeds();
    let label = |ran: &Ran| ran.out.lines().map(|l| l.rsplit_once(',').unwrap().0.to_string()).collect::<Vec<_>>();
    assert_eq!(label(&ort), label(&tract));
}

/// The embedded model on a part of the fixture.
#[cfg(feature = "builtin-model")]
#[test]
fn candle_gives_the_features_and_the_model_of_onnx_runtime() {
    let place = Place::empty();
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fashion");
    for (split, count) in [("train", 6), ("test", 4)] {
        for class in fs::read_dir(fixture.join(split)).unwrap().map(|entry| entry.unwrap()) {
            let to = place.path("data").join(split).join(class.file_name());
            fs::create_dir_all(&to).unwrap();
            let mut images: Vec<_> =
                fs::read_dir(class.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            images.sort();
            for name in images.iter().take(count) {
                fs::copy(class.path().join(name), to.join(name)).unwrap();
            }
        }
    }
    let [ort, candle] = ["ort", "candle"].map(|engine| {
        place.adapt(&format!("--data data --val 0 --out out --force --engine {engine}")).succeeds();
        assert!(place.json("out/run.json")["parity"]["engine"] == "onnxruntime", "{engine}");
        fs::copy(place.path("out/model.onnx"), place.path("model.onnx")).unwrap();
        let ran = place.adapt(&format!("embed model.onnx data/test --engine {engine}")).succeeds();
        let row = |line: &str| line.split(',').skip(1).map(|v| v.parse().unwrap()).collect::<Vec<f64>>();
        let features: Vec<f64> = ran.out.lines().skip(1).flat_map(row).collect();
        (place.json("out/metrics.json")["test"]["accuracy"].clone(), features)
    });
    let largest = ort.1.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    let far = ort.1.iter().zip(&candle.1).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
    assert!(ort.1.len() == candle.1.len() && far < 1e-4 * largest, "{far} of {largest}");
    assert!(ort.0 == candle.0 && ort.0.as_f64().unwrap() > 0.5, "{} and {}", ort.0, candle.0);
}
