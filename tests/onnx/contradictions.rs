//! Files that contradict themselves: names, shapes, types, what is read and not made.

use crate::hostile::node;
use crate::open;
use adapt::onnx::schema::{AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};
use adapt::onnx::{Model, tensor};
use prost::Message;

#[test]
fn contradictions_are_named() {
    type Edit = fn(&mut GraphProto);
    let cases: [(Edit, &str); 12] = [
        (|g| g.node[1].output[0] = "conv".into(), "node relu (Relu): 'conv' exists already"),
        (|g| g.node[1].output[0] = "w".into(), "node relu (Relu): 'w' exists already"),
        (|g| g.node[1].input[0] = "nothing".into(), "node relu (Relu): its input 'nothing' does not exist"),
        (|g| g.node[0].input[2] = "logits".into(), "depends on its own output"),
        (|g| g.node[0].op_type = None, "has no operator"),
        (|g| g.output.clear(), "the graph has no output"),
        (|g| g.output[0].name = Some("nothing".into()), "the output 'nothing' is made by no node"),
        (|g| g.initializer[1].name = Some("w".into()), "the tensor 'w' is stored twice"),
        (|g| g.initializer[0].dims[0] = -6, "impossible"),
        (|g| g.initializer[0].dims = vec![1 << 40, 1 << 40], "impossible"),
        (|g| g.initializer[0].dims[0] = 7, "the tensor 'w': it stores 648 bytes"),
        (|g| g.initializer[0].data_type = Some(99), "its data type 99"),
    ];
    for (edit, expected) in cases {
        let mut model = open("gemm_transb1");
        edit(model.proto.graph.as_mut().unwrap());
        let error = Model::from_bytes("<test>", model.proto.encode_to_vec()).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// The same inside of nodes and in functions, where an engine looks later, or not at all.
#[test]
fn contradictions_inside_are_named() {
    let body = |nodes: Vec<NodeProto>, output: &str| GraphProto {
        node: nodes,
        output: vec![ValueInfoProto { name: Some(output.into()), ..Default::default() }],
        ..Default::default()
    };
    let relu = |input: &str, output: &str| node("Relu", &[input], output);
    let cases = [
        (body(vec![relu("b", "a"), relu("a", "b")], "b"), "depends on its own output"),
        (body(vec![relu("nothing", "a")], "a"), "its input 'nothing' does not exist"),
        (body(vec![relu("x", "a"), relu("x", "a")], "a"), "'a' exists already, in the same graph"),
        (body(vec![relu("x", "a")], "nothing"), "the output 'nothing' of an inner graph is made by no node"),
        (body(vec![relu("x", "a"), relu("a", "x.2")], "x.2"), ""),
    ];
    for (inner, expected) in cases {
        let function = FunctionProto {
            name: Some("F".into()),
            input: vec!["x".into()],
            output: vec![inner.output[0].name().into()],
            node: inner.node.clone(),
            ..Default::default()
        };
        let branch =
            |name: &str| AttributeProto { name: Some(name.into()), g: Some(inner.clone()), ..Default::default() };
        // A graph inside of a graph reads what is outside of both.
        let attribute = vec![branch("then_branch"), branch("else_branch")];
        let choice = |output: &str| NodeProto { attribute: attribute.clone(), ..node("If", &["x"], output) };
        let nested = AttributeProto { g: Some(body(vec![choice("c")], "c")), ..branch("then_branch") };
        let deep = NodeProto { attribute: vec![nested], ..choice("deep") };
        for (nodes, functions) in [(vec![choice("one")], vec![]), (vec![deep], vec![]), (vec![], vec![function])] {
            let mut model = open("gemm_transb1");
            model.proto.graph.as_mut().unwrap().node.extend(nodes);
            model.proto.functions = functions;
            let read = Model::from_bytes("<test>", model.proto.encode_to_vec()).map_err(|error| error.to_string());
            match read {
                Ok(_) => assert!(expected.is_empty(), "{expected}"),
                Err(error) => assert!(!expected.is_empty() && error.contains(expected), "{error}"),
            }
        }
    }
}

/// Types of every width, in the field that holds them.
#[test]
fn tensors_of_every_type_are_as_long_as_their_shape() {
    for (kind, stored) in
        [(4, 5), (5, 5), (12, 5), (13, 5), (14, 10), (15, 10), (17, 5), (20, 5), (21, 3), (22, 3), (23, 3), (25, 2)]
    {
        let of = |stored: usize| TensorProto {
            data_type: Some(kind),
            dims: vec![5],
            int32_data: if matches!(kind, 12..16) { vec![] } else { vec![1; stored] },
            uint64_data: if matches!(kind, 12 | 13) { vec![1; stored] } else { vec![] },
            float_data: if kind == 14 { vec![1.0; stored] } else { vec![] },
            double_data: if kind == 15 { vec![1.0; stored] } else { vec![] },
            ..Default::default()
        };
        tensor::check(&of(stored)).unwrap_or_else(|error| panic!("{kind}: {error}"));
        for wrong in [0, stored - 1, stored + 1] {
            let error = tensor::check(&of(wrong)).expect_err("too few, or too many");
            assert!(error.contains(&format!("it stores {wrong} values")), "{kind}: {error}");
        }
    }
}
