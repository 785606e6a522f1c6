//! Reading and writing: nothing lost; external data; weights as safetensors; metadata.

use crate::common::golden;
use crate::open;
use adapt::onnx::schema::dimension::Value::DimValue;
use adapt::onnx::schema::{
    AttributeProto, FunctionProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto,
};
use adapt::onnx::surgery::{size, tensor_type};
use adapt::onnx::tensor::initializer;
use adapt::onnx::weights::Merged;
use adapt::onnx::{Model, data_type, metadata, weights};
use adapt::plan::labels;
use bytes::Bytes;
use prost::Message;
use safetensors::SafeTensors;
use std::fs;
use std::path::Path;

#[test]
fn every_field_of_onnx_is_read_and_written() {
    let bytes = fs::read(golden("onnx/full.pb")).unwrap();
    let read = ModelProto::decode(&bytes[..]).unwrap();
    let written = read.encode_to_vec();
    assert_eq!(ModelProto::decode(&written[..]).unwrap(), read);
    assert!(written == bytes, "{} bytes became {}", bytes.len(), written.len());
}

#[test]
fn an_untouched_model_keeps_its_bytes() {
    let mut count = 0;
    for entry in fs::read_dir(golden("onnx")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "onnx") {
            let model = Model::open(&path).unwrap();
            assert!(model.to_bytes().unwrap() == fs::read(&path).unwrap(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 45, "{count}");
}

#[test]
fn nodes_in_any_order_are_put_into_one_that_onnx_allows() {
    let sorted = ModelProto::decode(&fs::read(golden("tiny.onnx")).unwrap()[..]).unwrap();
    let mut proto = sorted.clone();
    proto.graph.as_mut().unwrap().node.reverse();
    assert!(Model::from_bytes("<test>", proto.encode_to_vec()).unwrap().proto == sorted);
}

#[test]
fn sizes_of_zero_are_any() {
    let mut proto = ModelProto::decode(&fs::read(golden("tiny_batch1.onnx")).unwrap()[..]).unwrap();
    let graph = proto.graph.as_mut().unwrap();
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        let shape = value.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape.as_mut().unwrap();
        shape.dim.iter_mut().step_by(2).for_each(|dim| dim.value = Some(DimValue(0)));
    }
    let model = Model::from_bytes("<test>", proto.encode_to_vec()).unwrap();
    for value in model.graph().input.iter().chain(&model.graph().output) {
        assert_eq!(value.dimensions().unwrap()[0], "N", "{}", value.name());
    }
    assert_eq!(model.graph().input[0].dimensions().unwrap(), ["N", "3", "?", "8"]);
}

/// As the regions of a `Resize` that has none, which old files list among the inputs.
#[test]
fn what_is_stored_empty_stays_empty() {
    let mut proto = open("old_ir").proto;
    let graph = proto.graph.as_mut().unwrap();
    let info = |name: &str| {
        let r#type = Some(tensor_type(data_type::FLOAT, vec![size(0)]));
        ValueInfoProto { name: Some(name.into()), r#type, ..Default::default() }
    };
    graph.initializer.push(initializer("regions", &[0], [], data_type::FLOAT));
    graph.input.push(info("regions"));
    graph.value_info.push(info("none"));
    assert!(Model::from_bytes("<test>", proto.encode_to_vec()).unwrap().proto == proto);
}

/// A copy of tiny_external.onnx, with one entry of where its weights lie replaced.
fn external(folder: &Path, key: &str, value: Option<&str>) -> Result<Model, adapt::Error> {
    let mut proto = ModelProto::decode(&fs::read(golden("tiny_external.onnx")).unwrap()[..]).unwrap();
    let graph = proto.graph.as_mut().unwrap();
    let tensor = graph.initializer.iter_mut().find(|t| t.data_location() == 1).unwrap();
    tensor.external_data.retain(|e| e.key() != key);
    tensor.external_data.extend(value.map(|v| StringStringEntryProto { key: Some(key.into()), value: Some(v.into()) }));
    let path = folder.join("model.onnx");
    fs::write(&path, proto.encode_to_vec()).unwrap();
    Model::open(&path)
}

#[test]
fn external_data_is_read_into_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let data = fs::read(golden("tiny_weights.bin")).unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("tiny_weights.bin"), &data).unwrap();
    fs::write(folder.path().join("sub/w.bin"), [&[0; 16], &data[..]].concat()).unwrap();
    let plain = Model::open(golden("tiny.onnx")).unwrap();
    let values = |m: &Model| -> Vec<TensorProto> { m.graph().initializer.clone() };
    for (key, value) in [("length", Some("96")), ("length", None), ("offset", None), ("checksum", Some("ab"))] {
        let model = external(folder.path(), key, value).unwrap();
        assert_eq!(values(&model), values(&plain), "{key} {value:?}");
    }
    let mut proto = external(folder.path(), "length", None).unwrap().proto;
    assert!(proto.graph.take().unwrap().initializer.iter().all(|t| t.external_data.is_empty()));
    let moved = external(folder.path(), "location", Some("./sub/w.bin")).unwrap();
    assert_ne!(values(&moved), values(&plain), "without the offset it is other bytes");
}

#[test]
fn external_data_of_functions_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    fs::copy(golden("tiny_weights.bin"), folder.path().join("tiny_weights.bin")).unwrap();
    let mut proto = ModelProto::decode(&fs::read(golden("tiny_external.onnx")).unwrap()[..]).unwrap();
    let tensor = proto.graph.as_ref().unwrap().initializer.iter().find(|t| t.data_location() == 1).unwrap().clone();
    let value = AttributeProto { name: Some("value".into()), r#type: Some(4), t: Some(tensor), ..Default::default() };
    let (op_type, output) = (Some("Constant".into()), vec!["y".to_string()]);
    let node = vec![NodeProto { op_type, output: output.clone(), attribute: vec![value], ..Default::default() }];
    proto.functions.push(FunctionProto { name: Some("F".into()), node, output, ..Default::default() });
    fs::write(&path, proto.encode_to_vec()).unwrap();
    let model = Model::open(&path).unwrap();
    let stored = model.graph().initializer.iter().find(|t| t.name() == "h").unwrap();
    assert_eq!(model.proto.functions[0].node[0].attribute[0].t.as_ref().unwrap(), stored);
}

#[test]
fn external_data_that_is_not_right_is_refused() {
    let outside = tempfile::tempdir().unwrap();
    let folder = outside.path().join("models");
    fs::create_dir(&folder).unwrap();
    fs::write(outside.path().join("secret"), [0; 96]).unwrap();
    fs::copy(golden("tiny_weights.bin"), folder.join("tiny_weights.bin")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(outside.path().join("secret"), folder.join("link")).unwrap();
    let absolute = outside.path().join("secret");
    let cases = [
        ("location", Some("../secret"), "leaves the model's folder"),
        ("location", Some(absolute.to_str().unwrap()), "leaves the model's folder"),
        ("location", Some("."), "is not a file"),
        ("location", Some(""), "leaves the model's folder"),
        ("location", Some("none.bin"), "none.bin"),
        ("location", None, "no location"),
        #[cfg(unix)]
        ("location", Some("link"), "is a link out of the model's folder"),
        ("length", Some("97"), "its length is 97 bytes, its shape needs 96"),
        ("length", Some("-1"), "length '-1' is not a number"),
        ("offset", Some("1"), "fewer than offset + length"),
        ("offset", Some("18446744073709551615"), "fewer than offset + length"),
    ];
    for (key, value, expected) in cases {
        let error = external(&folder, key, value).expect_err(expected).to_string();
        assert!(error.contains(expected) && error.contains("'h'"), "{error}");
    }
    // Only what a tensor needs is read of a large file, and what no machine holds is not tried.
    let huge = fs::File::create(folder.join("tiny_weights.bin")).unwrap();
    huge.set_len(1 << 40).unwrap();
    external(&folder, "length", None).unwrap();
    let mut proto = ModelProto::decode(&fs::read(golden("tiny_external.onnx")).unwrap()[..]).unwrap();
    let tensor = proto.graph.as_mut().unwrap().initializer.iter_mut().find(|t| t.data_location() == 1).unwrap();
    (tensor.dims, tensor.external_data) = (vec![1 << 38], tensor.external_data[..1].to_vec());
    fs::write(folder.join("model.onnx"), proto.encode_to_vec()).unwrap();
    let error = Model::open(folder.join("model.onnx")).unwrap_err().to_string();
    assert!(error.contains("more than 16 GiB of weights"), "{error}");
    // A small file that is read over and over.
    huge.set_len(1000).unwrap();
    let graph = proto.graph.as_mut().unwrap();
    let far = |i: usize| TensorProto {
        name: Some(format!("t{i}")),
        dims: vec![200],
        external_data: vec![
            StringStringEntryProto { key: Some("location".into()), value: Some("tiny_weights.bin".into()) },
            StringStringEntryProto { key: Some("offset".into()), value: Some(i.to_string()) },
        ],
        ..graph.initializer.iter().find(|t| t.data_location() == 1).unwrap().clone()
    };
    graph.initializer = (0..100).map(far).collect();
    fs::write(folder.join("model.onnx"), proto.encode_to_vec()).unwrap();
    let error = Model::open(folder.join("model.onnx")).unwrap_err().to_string();
    assert!(error.contains("overlap"), "{error}");
}

#[test]
fn safetensors_hold_every_float_parameter_and_come_back() {
    for (name, count) in [("mlp", 6), ("float16", 4), ("tokens_pool_after", 4)] {
        let model = open(name);
        let bytes = Bytes::from(weights::to_safetensors(&model).unwrap());
        assert_eq!(bytes, weights::to_safetensors(&model).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.safetensors");
        weights::save(&model, &file).unwrap();
        assert!(fs::read(file).unwrap() == bytes, "{name}: written is what is made in memory");
        assert_eq!(SafeTensors::deserialize(&bytes).unwrap().len(), count, "{name}");
        let mut blank = model.clone();
        for tensor in &mut blank.proto.graph.as_mut().unwrap().initializer {
            if tensor.data_type() != adapt::onnx::data_type::INT64 {
                tensor.raw_data = tensor.raw_data.as_ref().map(|raw| vec![0; raw.len()].into());
            }
        }
        assert_ne!(blank.proto, model.proto);
        assert_eq!(weights::merge(&mut blank, &bytes), Ok(Merged { tensors: count, changed: true }), "{name}");
        assert_eq!(blank.proto, model.proto, "{name}");
        assert_eq!(weights::merge(&mut blank, &bytes), Ok(Merged { tensors: count, changed: false }), "{name}");
    }
}

#[test]
fn values_that_are_not_stored_raw_are_weights_too() {
    let mut model = open("mlp");
    let raw = Bytes::from(weights::to_safetensors(&model).unwrap());
    for tensor in &mut model.proto.graph.as_mut().unwrap().initializer {
        tensor.float_data = adapt::onnx::tensor::floats(tensor).unwrap();
        tensor.raw_data = None;
    }
    assert_eq!(weights::to_safetensors(&model).unwrap(), raw);
    assert_eq!(weights::merge(&mut model, &raw), Ok(Merged { tensors: 6, changed: false }));
    assert_eq!(model.proto, open("mlp").proto);
}

#[test]
fn weights_that_do_not_fit_change_nothing() {
    let (mut model, other) = (open("gemm_transb1"), open("float16"));
    let before = model.proto.clone();
    let bytes = |m: &Model| weights::to_safetensors(m).unwrap();
    let renamed = |from: &str, to: &str, dims: Vec<i64>| {
        let mut model = open("gemm_transb1");
        let tensor = model.proto.graph.as_mut().unwrap().initializer.iter_mut().find(|t| t.name() == from).unwrap();
        (tensor.name, tensor.dims) = (Some(to.into()), dims);
        bytes(&model)
    };
    let cases = [
        (bytes(&other), "is F16 in the weights and float32 in the model"),
        (renamed("h", "h", vec![6, 4]), "'h' has shape [6, 4] in the weights and [4, 6] in the model"),
        (renamed("h", "hh", vec![4, 6]), "no initializer 'hh'; did you mean 'h'?"),
        (b"not a safetensors file".to_vec(), "not a safetensors file"),
        (Vec::new(), "not a safetensors file"),
    ];
    for (weights, expected) in cases {
        let error = weights::merge(&mut model, &weights.into()).expect_err(expected);
        assert!(error.contains(expected), "{error}");
        assert!(model.proto == before, "{expected}");
    }
}

#[test]
fn metadata_are_set_replaced_and_removed() {
    let mut proto = open("gemm_transb1").proto;
    let others = proto.metadata_props.clone();
    metadata::set(&mut proto, "names", "{}");
    metadata::set(&mut proto, "author", "me");
    metadata::set(&mut proto, "names", "{0: 'a'}");
    assert_eq!(metadata::get(&proto, "names"), Some("{0: 'a'}"));
    assert_eq!(metadata::get(&proto, "author"), Some("me"));
    assert_eq!(proto.metadata_props.len(), others.len() + 1);
    metadata::remove(&mut proto, "names");
    metadata::set(&mut proto, "author", "somebody");
    assert_eq!(proto.metadata_props, others);
    assert_eq!(metadata::get(&proto, "names"), None);
}

#[test]
fn class_names_are_what_python_reads_and_writes() {
    let json: serde_json::Value = serde_json::from_slice(&fs::read(golden("onnx/names.json")).unwrap()).unwrap();
    let texts = |key: &str| -> Vec<String> { serde_json::from_value(json[key].clone()).unwrap() };
    let names = texts("names");
    assert_eq!(Some(labels::python_dict(&names).as_str()), json["form"].as_str());
    for text in texts("read") {
        let mut model = open("gemm_transb1");
        metadata::set(&mut model.proto, "names", &text);
        let found = labels::find(&model).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(found, Some((names.clone(), "metadata names".into())), "{text}");
    }
}
