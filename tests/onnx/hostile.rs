//! Files from strangers: damaged, contradictory, enormous.

use crate::build::{Graph, int, ints, text};
use crate::common::golden;
use crate::open;
use adapt::graph::Program;
use adapt::onnx::graph::Names;
use adapt::onnx::schema::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto,
};
use adapt::onnx::surgery::{self, Pooling};
use adapt::onnx::{Model, batch, cut, tensor, weights};
use adapt::plan::{input::Declared, labels, preprocessing};
use prost::Message;
use std::fs;
use std::time::{Duration, Instant};

pub fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        input: inputs.iter().map(|i| i.to_string()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

/// All that is done with a model before an engine sees it.
fn everything(bytes: Vec<u8>) -> Result<(), adapt::Error> {
    let model = Model::from_bytes("<test>", bytes)?;
    let graph = model.graph();
    let _ = (Declared::of(&model), labels::find(&model), preprocessing::resolve(&model, None, None));
    let _ = weights::to_safetensors(&model);
    for name in graph.output.iter().map(|o| o.name()) {
        cut::candidates(graph, name);
    }
    if let Ok(found) = cut::find(graph, None, None) {
        let adapted = surgery::attach(&model, &found, &Pooling::Mean(vec![2, 3]), &[0.0; 6], &[0.0; 2]);
        adapted.to_bytes()?;
        batch::free(&adapted, "x", 1, &Default::default(), 0).to_bytes()?;
    }
    Ok(())
}

#[test]
fn damaged_bytes_never_panic() {
    for name in ["gemm_transb1", "if_captures", "conv_rank4_softmax", "batch1_ints"] {
        let bytes = fs::read(golden(&format!("onnx/{name}.onnx"))).unwrap();
        let (mut refused, mut changed) = (0, 0);
        for place in 0..bytes.len() {
            for value in [0x00, 0x01, 0x7f, 0xff, bytes[place] ^ 0x08] {
                let mut damaged = bytes.clone();
                damaged[place] = value;
                changed += usize::from(damaged != bytes);
                refused += usize::from(everything(damaged).is_err());
            }
            // Cut short, it is either refused or, where whole fields fall away, still a model.
            let _ = everything(bytes[..place].to_vec());
        }
        assert!(refused > 0 && refused < changed, "{name}: {refused} of {changed}");
    }
}

/// A model of one kind of node over and over, each reading the one before; a `Gemm` every so often.
fn chain(count: usize, op: &str, extra: &[&str], linear: usize) -> Vec<u8> {
    let value = |i: usize| if i == 0 { "x".to_string() } else { format!("value{i}") };
    let mut made = Vec::new();
    for i in 0..count {
        let linear = i % linear == linear - 1;
        let mut made_by = node(if linear { "Gemm" } else { op }, &[&value(i)], &value(i + 1));
        made_by.input.extend(if linear { &["h"][..] } else { extra }.iter().map(|name| name.to_string()));
        made.push(made_by);
    }
    let info = |name: String| ValueInfoProto { name: Some(name), ..open("gemm_transb1").graph().input[0].clone() };
    let mut wide = tensor::initializer("wide", &[1; 10_000], [1.0], 1);
    wide.dims.push(1);
    let graph = GraphProto {
        node: made,
        name: Some("chain".into()),
        input: vec![info("x".into())],
        output: vec![info(value(count))],
        initializer: vec![tensor::initializer("h", &[2, 2], [0.0; 4], 1), wide],
        ..Default::default()
    };
    let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(17) }];
    let model = ModelProto { ir_version: Some(8), graph: Some(graph), opset_import, ..Default::default() };
    model.encode_to_vec()
}

/// Many times what it takes on an idle machine; what grows with the square of the nodes would take minutes.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_hundred_thousand_nodes_are_no_trouble() {
    const NODES: usize = 100_000;
    for (op, extra, linear) in [
        ("Relu", &[][..], NODES),
        ("Identity", &[], NODES),
        ("Cast", &[], 3),
        ("Softmax", &[], 1000),
        ("Add", &["wide"], NODES),
        ("Dropout", &["x"], NODES),
        ("Gemm", &["h"], 1),
    ] {
        let bytes = chain(NODES, op, extra, linear);
        let start = Instant::now();
        everything(bytes).unwrap_or_else(|e| panic!("{op}: {e}"));
        let time = start.elapsed();
        assert!(time < LIMIT, "{op}: {time:?}");
    }
}

#[test]
fn many_constants_behind_one_another_are_no_trouble() {
    let bytes = chain(100_000, "Identity", &[], 100_000);
    let mut proto = ModelProto::decode(&bytes[..]).unwrap();
    let graph = proto.graph.as_mut().unwrap();
    // The chain begins with a stored tensor, so each node's value is a constant.
    graph.node[0].input[0] = "h".into();
    let start = Instant::now();
    everything(proto.encode_to_vec()).unwrap();
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
}

#[test]
fn inputs_no_memory_could_hold_are_refused() {
    let with = |dims: [i64; 4]| {
        let mut model = open("gemm_transb1");
        let input = &mut model.proto.graph.as_mut().unwrap().input[0];
        let t = input.r#type.as_mut().and_then(|t| t.tensor_type.as_mut()).unwrap();
        for (dim, size) in t.shape.as_mut().unwrap().dim.iter_mut().zip(dims) {
            dim.value = Some(adapt::onnx::schema::dimension::Value::DimValue(size));
        }
        preprocessing::resolve(&model, None, None).map(|(input, _)| input)
    };
    assert!(with([1, 3, 4096, 4096]).is_ok());
    for dims in [[1, 3, 8193, 8], [1, 3, 8, i64::MAX], [i64::MAX, 3, 8, 8], [100_000, 3, 8192, 8192]] {
        let error = with(dims).expect_err("too large").to_string();
        assert!(error.contains("input 'x'"), "{error}");
    }
}

/// Sizes that grow in operators which say nothing of sizes, and in what a loop carries.
#[test]
fn tensors_no_memory_could_hold_are_refused() {
    let refused = |name: &str, made: &dyn Fn(&mut Graph) -> String| {
        let mut g = Graph::new(3);
        g.input(&[1, 3, 32, 32]);
        let output = made(&mut g);
        let error = Program::import(&g.model(&output), &[]).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("which is too large") && error.contains(name), "{name}: {error}");
    };
    let row = |g: &mut Graph| {
        let pool = g.node("ReduceMean", &["x"], &[ints("axes", &[2]), int("keepdims", 0)]);
        g.node("Flatten", &[&pool], &[])
    };
    refused("MatMul", &|g| {
        let (times, line) = (g.integers(&[1, 1, 5, 5]), g.integers(&[1, -1]));
        let many = g.node("Tile", &["x", &times], &[]);
        let line = g.node("Reshape", &[&many, &line], &[]);
        let turned = g.node("Transpose", &[&line], &[]);
        g.node("MatMul", &[&turned, &line], &[])
    });
    refused("Einsum", &|g| {
        let row = row(g);
        g.node("Einsum", &[&row; 5].map(|row| row.as_str()), &[text("equation", "ab,ac,ad,ae,af->abcdef")])
    });
    refused("ConvTranspose", &|g| {
        let weight = g.weight(&[3, 64, 3, 3]);
        g.node("ConvTranspose", &["x", &weight], &[ints("strides", &[100, 100])])
    });
    refused("Pad", &|g| {
        let (row, pads) = (row(g), g.integers(&[0, 0, 0, 1 << 31]));
        g.node("Pad", &[&row, &pads], &[])
    });
    refused("Concat", &|g| {
        let row = row(g);
        let rounds = g.integer(40);
        let names = ["i", "on", "v"].map(|name| ValueInfoProto { name: Some(name.into()), ..Default::default() });
        let outputs = ["on.2", "w"].map(|name| ValueInfoProto { name: Some(name.into()), ..Default::default() });
        let twice = NodeProto { attribute: vec![int("axis", 1)], ..node("Concat", &["v", "v"], "w") };
        let body = GraphProto {
            name: Some("body".into()),
            node: vec![node("Identity", &["on"], "on.2"), twice],
            input: names.to_vec(),
            output: outputs.to_vec(),
            ..Default::default()
        };
        let body = AttributeProto { name: Some("body".into()), g: Some(body), r#type: Some(5), ..Default::default() };
        g.node("Loop", &[&rounds, "", &row], &[body])
    });
}

#[test]
fn suggestions_do_not_compare_names_without_end() {
    let start = Instant::now();
    let long = "x".repeat(20_000_000);
    assert_eq!(cut::nearest(&long, [long.as_str()].into_iter()), "");
    assert!(start.elapsed() < LIMIT);
}

#[test]
fn loops_that_may_never_end_are_refused() {
    let with_loop = |rounds: Option<i64>| {
        let mut model = open("gemm_transb1");
        let graph = model.proto.graph.as_mut().unwrap();
        let (trips, name) = rounds.map_or((None, ""), |n| (Some(tensor::integers("rounds", &[n])), "rounds"));
        graph.initializer.extend(trips);
        graph.node.insert(
            0,
            NodeProto {
                op_type: Some("Loop".into()),
                name: Some("spin".into()),
                input: vec![name.into(), String::new(), "x".into()],
                output: vec!["spun".into()],
                ..Default::default()
            },
        );
        Model::from_bytes("<test>", model.proto.encode_to_vec())
    };
    for rounds in [None, Some(i64::MAX), Some(100_001)] {
        let error = with_loop(rounds).expect_err("endless").to_string();
        assert!(error.contains("node spin (Loop)") && error.contains("may never end"), "{error}");
    }
    assert!(with_loop(Some(10)).is_ok());
}

/// A node that repeats what is in it, with `first` inputs.
fn repeat(op: &str, first: &[&str], inside: Vec<NodeProto>) -> NodeProto {
    let body = AttributeProto {
        name: Some("body".into()),
        g: Some(GraphProto { node: inside, ..Default::default() }),
        ..Default::default()
    };
    NodeProto { name: Some("outer".into()), attribute: vec![body], ..node(op, first, "spun") }
}

#[test]
fn loops_inside_loops_are_multiplied() {
    let with = |outer: NodeProto, functions: Vec<FunctionProto>| {
        let mut model = open("gemm_transb1");
        let graph = model.proto.graph.as_mut().unwrap();
        let counts = [("ten", 10), ("thousand", 1000), ("many", 100_000)];
        graph.initializer.extend(counts.map(|(name, n)| tensor::integers(name, &[n])));
        graph.initializer.push(tensor::initializer("rows", &[500, 1], [0.0; 500], 1));
        graph.node.insert(0, outer);
        model.proto.functions = functions;
        Model::from_bytes("<test>", model.proto.encode_to_vec()).map(drop).map_err(|e| e.to_string())
    };
    let looped = |rounds: &str, inside| repeat("Loop", &[rounds, "", "x"], inside);
    let scan = |input: &str, inside| repeat("Scan", &[input], inside);
    let call = NodeProto { domain: Some("local".into()), ..node("F", &["x"], "spun") };
    let function = |rounds: i64| {
        let count = AttributeProto {
            name: Some("value".into()),
            t: Some(tensor::integers("", &[rounds])),
            ..Default::default()
        };
        let count = NodeProto { attribute: vec![count], ..node("Constant", &[], "many") };
        let node = vec![count, looped("many", vec![])];
        let input = vec!["x".into()];
        FunctionProto { name: Some("F".into()), domain: Some("local".into()), input, node, ..Default::default() }
    };
    let second = NodeProto { output: vec!["again".into()], ..looped("ten", vec![]) };
    with(looped("thousand", vec![looped("ten", vec![]), second]), vec![]).unwrap();
    with(scan("x", vec![]), vec![]).unwrap();
    with(looped("ten", vec![scan("rows", vec![])]), vec![]).unwrap();
    with(looped("ten", vec![call.clone()]), vec![function(1000)]).unwrap();
    for (outer, functions) in [
        (looped("thousand", vec![looped("thousand", vec![])]), vec![]),
        (looped("many", vec![looped("many", vec![looped("many", vec![])])]), vec![]),
        (looped("ten", vec![scan("x", vec![])]), vec![]),
        (looped("thousand", vec![scan("rows", vec![])]), vec![]),
        (scan("x", vec![looped("ten", vec![])]), vec![]),
        (looped("thousand", vec![call.clone()]), vec![function(1000)]),
        // The count inside is another of the same name.
        (looped("ten", vec![node("Neg", &["x"], "thousand"), looped("thousand", vec![])]), vec![]),
    ] {
        let error = with(outer, functions).unwrap_err();
        assert!(error.contains("node outer (") && error.contains("may never end"), "{error}");
    }
}

#[test]
fn a_name_wanted_often_is_found_soon() {
    let mut names = Names::of(open("gemm_transb1").graph());
    let start = Instant::now();
    let last = (0..100_000).map(|_| names.fresh("same")).last();
    assert_eq!(last.as_deref(), Some("same.100000"));
    assert!(start.elapsed() < LIMIT);
}
