//! Weights that a file stores sparse.

use crate::build::Graph;
use crate::ends::{FEATURES, plan, row};
use crate::support::{after, graph};
use adapt::graph::Program;
use adapt::onnx::cut::Classifier;
use adapt::onnx::normalize::sparse;
use adapt::onnx::schema::{SparseTensorProto, TensorProto};
use adapt::onnx::tensor::{floats, initializer, integers};
use adapt::onnx::{Model, data_type};

/// `weight` of a model as a sparse tensor: every second value is left out. `by_axis` tells places by coordinates.
fn thinned(model: &mut Model, weight: &str, by_axis: bool) {
    let graph = graph(model);
    let place = graph.initializer.iter().position(|t| t.name() == weight).unwrap();
    let full = graph.initializer.remove(place);
    let kept: Vec<(usize, f32)> = floats(&full).unwrap().into_iter().enumerate().step_by(2).collect();
    let columns = full.dims[1];
    let at = |place: i64| if by_axis { vec![place / columns, place % columns] } else { vec![place] };
    let places: Vec<i64> = kept.iter().flat_map(|(place, _)| at(*place as i64)).collect();
    let mut indices = integers("", &places);
    if by_axis {
        indices.dims = vec![kept.len() as i64, 2];
    }
    let dims = vec![kept.len() as i64];
    let values = initializer(weight, &[], kept.iter().map(|(_, v)| *v), data_type::FLOAT);
    let values = TensorProto { dims, ..values };
    let sparse = SparseTensorProto { values: Some(values), indices: Some(indices), dims: full.dims };
    graph.sparse_initializer.push(sparse);
}

#[test]
fn a_sparse_weight_is_a_weight() {
    for by_axis in [false, true] {
        let mut g = Graph::new(4);
        let features = row(&mut g);
        let (inner, weight) = (g.weight(&[FEATURES, FEATURES]), g.weight(&[FEATURES, 10]));
        let hidden = g.node("MatMul", &[&features, &inner], &[]);
        let active = g.node("Relu", &[&hidden], &[]);
        let output = g.node("MatMul", &[&active, &weight], &[]);
        let mut model = g.model(&output);
        thinned(&mut model, &weight, by_axis);
        let (plan, adapted) = plan(&model, None);
        assert_eq!((&plan.cut, plan.classifier, plan.surgery.classes), (&active, Classifier::Linear, Some(10)));
        assert!(adapted.model.graph().sparse_initializer.is_empty());
        thinned(&mut model, &inner, by_axis);
        let full = after(sparse::fill, &model, &[2, 3, 8, 8]);
        assert!(full.graph().sparse_initializer.is_empty());
        Program::import(&model, &[]).map(drop).unwrap_or_else(|error| panic!("{error}"));
        for (dims, message) in [(vec![2, 2], "outside its shape"), (vec![1 << 20, 1 << 20], "too large to store")] {
            let mut odd = model.clone();
            graph(&mut odd).sparse_initializer[0].dims = dims;
            let error = sparse::fill(&mut odd.proto).unwrap_err();
            assert!(error.contains("the sparse tensor") && error.contains(message), "{error}");
        }
    }
}
