//! What stands alone: parts of a model, features, and what can be trained.

use super::support::{Place, Ran};
use crate::common::golden;
use adapt::onnx::Model;
use adapt::onnx::schema::{GraphProto, NodeProto};
use serde_json::{Value, json};
use std::fs;

/// As [`Place::usual`], with the images and models of `make_parts.py` in `parts`.
fn place() -> Place {
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

fn inspected(place: &Place, file: &str) -> Value {
    serde_json::from_str(&place.adapt(&format!("inspect {file} --json")).succeeds().out).unwrap()
}

#[test]
fn inspect_tells_shapes_and_what_can_be_trained() {
    let place = place();
    let found = inspected(&place, "tiny.onnx");
    let first = &found["candidates"][0];
    assert_eq!((&first["tensor"], &first["shape"]), (&json!("features"), &json!(["N", "6"])));
    // 4 x 6 weights and 4 biases behind it, 6 x 3 x 3 x 3 and 6 ahead.
    assert_eq!(first["parameters_behind"], 28);
    assert_eq!(found["training"], json!({ "inside": "all", "parameters": 168, "obstacles": [] }));

    let found = inspected(&place, "parts/dft.onnx");
    assert_eq!(found["training"]["inside"], json!({ "from": "spectrum" }));
    let obstacle = &found["training"]["obstacles"][0];
    assert_eq!((&obstacle["node"], &obstacle["operator"]), (&json!("dft"), &json!("DFT")));
    assert_eq!((&found["training"]["parameters"], &found["problems"]), (&json!(48), &json!([])));
    let text = place.adapt("inspect parts/dft.onnx").succeeds().out;
    assert!(text.contains("from 'spectrum' on") && text.contains("node 'dft' (DFT)"), "{text}");
    // A head needs none of it.
    fs::copy(place.path("parts/dft.onnx"), place.path("tiny.onnx")).unwrap();
    place.main("").succeeds();

    let found = inspected(&place, "parts/custom.onnx");
    assert_eq!(found["training"]["inside"], json!({ "from": "middle" }));
    assert_eq!(found["training"]["obstacles"][0]["operator"], "com.example.Frobnicate");
    assert_eq!(found["candidates"][0]["shape"], json!(["N", "8"]));
}

#[test]
fn chains_are_done_in_bounded_time() {
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
    graph.node.splice(2..2, (0..10_000).map(link));
    graph.node[10_002].input[0] = "sum10000".into();
    place.write("chain.onnx", model.to_bytes().unwrap());
    assert_eq!(inspected(&place, "chain.onnx")["training"]["inside"], "all");
    let ort = place.adapt(&format!("predict chain.onnx parts --csv {AS_THEY_ARE}")).succeeds();
    let tract = place.adapt(&format!("predict chain.onnx parts --csv --engine tract {AS_THEY_ARE}")).succeeds();
    let label = |ran: &Ran| ran.out.lines().map(|l| l.rsplit_once(',').unwrap().0.to_string()).collect::<Vec<_>>();
    assert_eq!(label(&ort), label(&tract));
}
