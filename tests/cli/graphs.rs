//! Odd models that work, and cuts that do not exist.

use super::obstacles::{edit, int, node};
use super::support::{Place, hostile};
use crate::common::golden;
use adapt::onnx::schema::ValueInfoProto;
use adapt::onnx::surgery::{size, tensor_type};
use adapt::onnx::tensor::{encode_floats, floats, set_raw};
use adapt::onnx::{Model, data_type};
use serde_json::Value;
use std::fs;

#[test]
fn odd_models_work() {
    for name in ["any_size", "long_chain", "two_outputs_one_name"] {
        let place = Place::usual();
        fs::copy(hostile(name), place.path("tiny.onnx")).unwrap();
        place.main("").succeeds();
        place.adapt("predict out/model.onnx data/a/0.png").succeeds();
    }
}

/// Heads that are joined or decide, further inputs, batches in constants, open sizes, opacity: the whole way.
#[test]
fn unusual_ends_work() {
    let place = Place::usual();
    for name in ["averaged_tokens", "argmax", "extra_paddle", "batch2_resize", "size_open", "channels_4", "keras"] {
        fs::copy(golden(&format!("onnx/{name}.onnx")), place.path("tiny.onnx")).unwrap();
        place.main("--force").succeeds();
        place.adapt("predict out/model.onnx data/a/0.png").succeeds();
        let run = place.json("out/run.json");
        assert!(run["parity"]["max_rel_logit_diff"].as_f64().unwrap() < 1e-4, "{name}");
        assert!(run["plan"]["input"]["batch"].is_null(), "{name}");
    }
}

/// Inputs besides the image whose value is obvious need not be fed, whatever is done with the model.
#[test]
fn further_inputs_are_stored_for_every_command() {
    let place = Place::usual();
    place.write("labels.txt", "a\nb\nc\nd\n");
    for (name, features) in [("extra_training", 6), ("extra_paddle", 6)] {
        fs::copy(golden(&format!("onnx/{name}.onnx")), place.path("model.onnx")).unwrap();
        let cut = place.adapt("cut model.onnx -o part.onnx --force").succeeds();
        assert!(cut.out.contains("the same as in the original"), "{}", cut.out);
        assert!(cut.err.contains("is stored as"), "{}", cut.err);
        let part = Model::open(place.path("part.onnx")).unwrap();
        assert_eq!(part.inputs().map(|input| input.name()).collect::<Vec<_>>(), ["x"], "{name}");
        let whole = place.adapt("embed model.onnx data --preprocess raw01").succeeds().out;
        assert_eq!(whole, place.adapt("embed part.onnx data --preprocess raw01").succeeds().out, "{name}");
        assert_eq!(whole.lines().next().unwrap().split(',').count(), 1 + features, "{name}");
        let labels = place.adapt("predict model.onnx data --csv").succeeds().out;
        assert!(labels.lines().count() == 19 && labels.lines().skip(1).all(|line| line.contains(".png,")), "{labels}");
        place.adapt("eval model.onnx --data data").succeeds();
    }
}

/// `inspect` says what the plan says, and sees no problem in what the plan settles.
#[test]
fn inspect_has_the_notes_of_the_plan() {
    let place = Place::usual();
    for name in ["extra_training", "extra_paddle", "averaged_tokens", "label_and_prob", "argmax", "qoperator_gemm"] {
        fs::copy(golden(&format!("onnx/{name}.onnx")), place.path("tiny.onnx")).unwrap();
        place.main("--force").succeeds();
        let found: Value = serde_json::from_str(&place.adapt("inspect tiny.onnx --json").succeeds().out).unwrap();
        assert_eq!(found["notes"], place.json("out/run.json")["plan"]["notes"], "{name}");
        assert_eq!(found["problems"], serde_json::json!([]), "{name}");
        let shown = place.adapt("inspect tiny.onnx").succeeds().out;
        assert!(
            found["notes"].as_array().unwrap().iter().all(|note| shown.contains(note.as_str().unwrap())),
            "{shown}"
        );
    }
    // The file's bfloat16 becomes float32 with a word of it.
    let mut model = Model::open(golden("onnx/gemm_transb1.onnx")).unwrap();
    let graph = model.proto.graph.as_mut().unwrap();
    for tensor in graph.initializer.iter_mut().filter(|t| t.data_type() == data_type::FLOAT) {
        let raw = encode_floats(floats(tensor).unwrap(), data_type::BFLOAT16);
        set_raw(tensor, raw);
        tensor.data_type = Some(data_type::BFLOAT16);
    }
    for info in graph.input.iter_mut().chain(&mut graph.output) {
        info.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().elem_type = Some(data_type::BFLOAT16);
    }
    place.write("halves.onnx", model.to_bytes().unwrap());
    let shown = place.adapt("inspect halves.onnx").succeeds().out;
    assert!(shown.contains("the file's bfloat16 is exported as float32") && shown.contains("bfloat16 x"), "{shown}");
}

#[test]
fn bytes_are_cut_as_bytes_and_embedded_as_what_they_stand_for() {
    let place = Place::usual();
    for name in ["qoperator_gemm", "qoperator_int8"] {
        fs::copy(golden(&format!("onnx/{name}.onnx")), place.path("tiny.onnx")).unwrap();
        place.adapt("cut tiny.onnx -o part.onnx --force").succeeds();
        let part = Model::open(place.path("part.onnx")).unwrap();
        let kind = if name.ends_with("int8") { data_type::INT8 } else { data_type::UINT8 };
        assert_eq!(part.graph().output[0].tensor_type().unwrap().0, kind, "{name}");
        let whole = place.adapt("embed tiny.onnx data --preprocess raw01").succeeds().out;
        assert_eq!(whole, place.adapt("embed part.onnx data --preprocess raw01").succeeds().out, "{name}");
        place.main("--force").succeeds();
        assert_eq!(place.json("out/run.json")["plan"]["cut"], "features_quantized", "{name}");
    }
}

#[test]
fn an_inner_tensor_is_an_output() {
    let place = Place::usual();
    fs::copy(golden("onnx/mlp.onnx"), place.path("tiny.onnx")).unwrap();
    place.main("--output hidden").succeeds();
    let run = place.json("out/run.json");
    assert_eq!((&run["plan"]["cut"], &run["model"]["output"]["name"]), (&"features".into(), &"hidden".into()));
}

#[test]
fn unknown_cuts_and_outputs() {
    let place = Place::usual();
    place.refuses("--cut featurs", 2, &["tiny.onnx", "'featurs'", "did you mean 'features'?"]);
    place.refuses("--cut zzzzzz", 2, &["tiny.onnx", "'zzzzzz'", "adapt inspect"]);
    place.refuses("--output logit", 2, &["tiny.onnx", "'logit'", "did you mean 'logits'?", "logits, best"]);
    place.refuses("--output best --cut nowhere", 2, &["'nowhere'"]);
    // A weight and the input are no cuts either.
    place.refuses("--cut w", 2, &["'w' is the model's input or stored in it"]);
    place.refuses("--cut x", 2, &["'x' is the model's input or stored in it"]);
    place.main("--cut pool --output logits").succeeds();
    assert_eq!(place.json("out/run.json")["plan"]["cut"], "pool");
}

#[test]
fn sizes_and_preprocessings_that_do_not_fit() {
    let place = Place::usual();
    place.refuses("--size 16x16", 2, &["--size 16x16", "'x'", "fixed to 8x8"]);
    place.refuses("--preprocess imagenet,crop=16", 2, &["16x16", "8x8"]);
    place.refuses("--preprocess imagenet,color=gray", 1, &["1 channel", "3", "color="]);
    fs::copy(hostile("any_size"), place.path("tiny.onnx")).unwrap();
    place.main("--size 9x17").succeeds();
    assert_eq!(place.json("out/run.json")["model"]["input"]["size"], serde_json::json!([9, 17]));
}

/// Inputs that the part which stays does not need are nobody's to feed.
#[test]
fn inputs_that_are_not_needed_go_for_every_command() {
    let place = Place::usual();
    edit(&place, |graph| {
        let ids = ValueInfoProto {
            name: Some("ids".into()),
            r#type: Some(tensor_type(data_type::INT64, vec![size(7)])),
            ..Default::default()
        };
        let mut cast = node("Cast", &["ids"], "words");
        cast.attribute.push(int("to", data_type::FLOAT.into()));
        graph.node.push(cast);
        graph.input.push(ids);
        graph.output.push(ValueInfoProto { name: Some("words".into()), ..Default::default() });
    });
    let dropped = "not needed are dropped, with what hangs on them: ids";
    let cut = place.adapt("cut tiny.onnx --at pool -o part.onnx").succeeds();
    assert!(cut.err.contains(dropped) && cut.out.contains("the same as in the original"), "{}{}", cut.err, cut.out);
    assert_eq!(Model::open(place.path("part.onnx")).unwrap().inputs().count(), 1);
    let shown = place.adapt("inspect tiny.onnx").succeeds().out;
    assert!(shown.contains(dropped) && shown.contains("input          int64 ids [7]"), "{shown}");
    place.main("").succeeds();
    place.adapt("predict out/model.onnx data/a/0.png").succeeds();
}
