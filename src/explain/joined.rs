//! Heads that are a linear layer on features of several depths: gradients at a map need none of the features that do not hang
//! on it, although they lead around it.

use super::open;
use crate::engine::Backend;
use crate::error::Result;
use crate::onnx::Model;
use crate::onnx::graph::Index;
use crate::onnx::pooling::joins_depths;
use crate::onnx::schema::data_type;
use crate::onnx::tensor::{floats, initializer};
use crate::plan::{Trained, probe};
use ndarray::{Array2, ArrayView2, Axis, concatenate, s};

/// The node that joins the features, and the layer on them.
pub(super) struct Joined {
    place: usize,
    /// Of each of its inputs.
    features: Vec<usize>,
    /// The layer's weights by their name: `[classes, features]`
    weight: (String, Array2<f32>),
}

impl Joined {
    /// Looks for it in a model that ends in its scores. `None` where there is no such head: behind a hidden layer gradients
    /// depend on all features.
    ///
    /// # Errors
    /// The engine's.
    pub fn of(scores: &Model, trained: &Trained, backend: &Backend) -> Result<Option<Joined>> {
        let (graph, index) = (scores.graph(), Index::new(scores.graph()));
        let layer = index.producer(graph.output[0].name()).filter(|node| node.is("Gemm") && node.int("transB", 0) == 1);
        let Some([joined, name, ..]) = layer.map(|layer| &layer.input[..]) else { return Ok(None) };
        let place = index.producer_index(joined).filter(|&place| joins_depths(&graph.node[place]));
        let weight = graph.initializer.iter().find(|tensor| tensor.name() == name);
        let (Some(place), Some(weight)) = (place, weight) else { return Ok(None) };
        let inputs: Vec<&str> = graph.node[place].input.iter().map(String::as_str).collect();
        let parts = open(trained, &inputs, backend)?.run(probe(&trained.input, 1).view())?;
        let features: Vec<usize> = parts.iter().take(inputs.len()).map(|part| part.shape()[part.ndim() - 1]).collect();
        let shape = (weight.dims.first().map_or(0, |&n| n as usize), features.iter().sum());
        let values = floats(weight).and_then(|values| Array2::from_shape_vec(shape, values).ok());
        Ok(values.map(|values| Joined { place, features, weight: (name.clone(), values) }))
    }

    /// The model with the features alone that hang on a tensor; with the cut's alone where it is `None`. Scores lose what the
    /// others add, gradients by the tensor stay.
    pub fn behind(&self, scores: &Model, tensor: Option<&str>) -> Model {
        let (mut model, index) = (scores.clone(), Index::new(scores.graph()));
        let inputs = &scores.graph().node[self.place].input;
        let hangs = |input: &String| tensor.is_none_or(|tensor| index.ancestors(&[input]).1.contains(tensor));
        let kept: Vec<bool> = match tensor {
            None => (0..inputs.len()).map(|place| place == 0).collect(),
            Some(_) => inputs.iter().map(hangs).collect(),
        };
        // Nothing before the features is asked for.
        if !kept.contains(&true) {
            return model;
        }
        let ends = self.features.iter().scan(0, |end, features| {
            *end += features;
            Some(*end)
        });
        let columns: Vec<ArrayView2<f32>> = ends
            .zip(&self.features)
            .zip(&kept)
            .filter(|(_, kept)| **kept)
            .map(|((end, features), _)| self.weight.1.slice(s![.., end - features..end]))
            .collect();
        let Ok(weight) = concatenate(Axis(1), &columns) else { return model };
        if let Some(graph) = model.proto.graph.as_mut() {
            let mut kept = kept.into_iter();
            graph.node[self.place].input.retain(|_| kept.next() == Some(true));
            let shape = [weight.nrows(), weight.ncols()];
            let tensor = initializer(&self.weight.0, &shape, weight.iter().copied(), data_type::FLOAT);
            graph
                .initializer
                .iter_mut()
                .filter(|own| own.name() == self.weight.0)
                .for_each(|own| *own = tensor.clone());
        }
        model
    }
}
