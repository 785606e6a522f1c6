//! Exact class activation maps, of heads that are a global average and a linear layer.

use super::grid::{Grid, weighted};
use super::open;
use crate::engine::{Backend, Engine};
use crate::error::{Error, Result};
use crate::onnx::cut::Cut;
use crate::onnx::graph::Index;
use crate::onnx::schema::NodeProto;
use crate::onnx::tensor;
use crate::plan::{Trained, probe};
use ndarray::{Array2, ArrayD};

/// The map before the average, and the layer's weights.
pub(super) struct Cam {
    pub tensor: String,
    grid: Grid,
    /// `[classes, channels]`
    weights: Array2<f32>,
}

/// Nodes that leave averages what they are.
const SHAPES_ALONE: [&str; 7] = ["Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast"];

/// What may stand between the scores and the output.
pub(super) const ACTIVATIONS: [&str; 3] = ["Softmax", "LogSoftmax", "Sigmoid"];

impl Cam {
    /// # Errors
    /// [`Error::Model`] where the head is another.
    pub fn open(trained: &Trained, cut: &Cut, backend: &Backend) -> Result<(Box<dyn Engine>, Cam)> {
        let path = &trained.model.path;
        let other = || {
            let what = "its head is not a global average and a linear layer: exact maps are not to be had";
            Error::model(path, format!("{what}; choose --method gradcam or occlusion"))
        };
        let index = Index::new(trained.model.graph());
        let weights = weights(&index, cut).filter(|_| cut.heads == 1).ok_or_else(other)?;
        let Average { tensor, axes, window } = averaged(&index, &cut.tensor).ok_or_else(other)?;
        let mut engine = open(trained, &[tensor], backend)?;
        let made = engine.run(probe(&trained.input, 1).view())?.swap_remove(0);
        let shape = made.shape();
        let positive = |axis: &i64| if *axis < 0 { axis + shape.len() as i64 } else { *axis };
        let mut axes: Vec<i64> = axes.iter().map(positive).collect();
        axes.sort_unstable();
        let last = match (shape.len(), &axes[..]) {
            (4, [2, 3]) => false,
            (4, [1, 2]) | (3, [1]) => true,
            _ => return Err(other()),
        };
        if window.is_some_and(|window| window.iter().map(|&side| side as usize).ne(shape[2..].iter().copied())) {
            return Err(other());
        }
        let grid = Grid::of(shape, last, (trained.input.height, trained.input.width)).ok_or_else(other)?;
        let channels = shape[if last { shape.len() - 1 } else { 1 }];
        if channels != weights.ncols() {
            return Err(other());
        }
        Ok((engine, Cam { tensor: tensor.to_owned(), grid, weights }))
    }

    /// Σ over the channels of the class's weight times the channel; its mean over all places is the score, less the bias.
    pub fn map(&self, tensor: &ArrayD<f32>, class: usize) -> Result<Array2<f32>> {
        let planes = self.grid.planes(tensor.view()).ok_or_else(|| Error::Engine("the map changed its size".into()))?;
        let row = self.weights.outer_iter().nth(class);
        let row = row.ok_or_else(|| Error::Engine(format!("the last layer has no class {class}")))?;
        Ok(weighted(&planes, row.iter().copied()))
    }
}

/// The weights of the linear layer that a cut is before, where they are stored as floats and nothing mixes the scores behind.
fn weights(index: &Index, cut: &Cut) -> Option<Array2<f32>> {
    let node = scoring(index, &cut.output).filter(|node| node.input.first() == Some(&cut.tensor))?;
    let stored = index.constant(node.input.get(1)?)?;
    let sizes: Vec<usize> = stored.dims.iter().map(|&size| size as usize).collect();
    let values = tensor::floats(stored)?;
    let matrix = |rows, columns| Array2::from_shape_vec((rows, columns), values).ok();
    match (node.op_type(), &sizes[..]) {
        ("Gemm", &[rows, columns]) if node.int("transA", 0) == 0 => {
            let scale = node.attr("alpha").map_or(1., |alpha| alpha.f());
            let matrix = matrix(rows, columns)?.mapv(|weight| weight * scale);
            Some(if node.int("transB", 0) == 0 { matrix.reversed_axes() } else { matrix })
        }
        ("MatMul", &[rows, columns]) => matrix(rows, columns).map(Array2::reversed_axes),
        ("Conv", &[classes, channels, 1, 1]) if node.int("group", 1) == 1 => matrix(classes, channels),
        _ => None,
    }
}

/// The node that makes the scores of an output, before bias and activation.
fn scoring<'a>(index: &Index<'a>, output: &'a str) -> Option<&'a NodeProto> {
    let mut value = output;
    loop {
        let node = index.producer(value)?;
        let known = SHAPES_ALONE.contains(&node.op_type()) || ACTIVATIONS.contains(&node.op_type());
        value = match &node.input[..] {
            [scores, bias] if node.is("Add") && index.is_fixed(bias) => scores,
            [bias, scores] if node.is("Add") && index.is_fixed(bias) => scores,
            [scores, ..] if known => scores,
            _ => return Some(node),
        };
    }
}

/// A tensor that is averaged over these axes, and the window where the node states one.
struct Average<'a> {
    tensor: &'a str,
    axes: Vec<i64>,
    window: Option<&'a [i64]>,
}

/// What `value` is the average of.
fn averaged<'a>(index: &Index<'a>, value: &'a str) -> Option<Average<'a>> {
    let mut value = value;
    loop {
        let node = index.producer(value)?;
        let input = node.input.first()?.as_str();
        match node.op_type() {
            "GlobalAveragePool" => return Some(Average { tensor: input, axes: vec![2, 3], window: None }),
            "AveragePool" => {
                let padded = node.attr("pads").is_some_and(|pads| pads.ints.iter().any(|&pad| pad != 0));
                let kernel = &node.attr("kernel_shape").filter(|_| !padded && node.attr("auto_pad").is_none())?.ints;
                return Some(Average { tensor: input, axes: vec![2, 3], window: Some(kernel) });
            }
            "ReduceMean" => {
                let stored = node.input.get(1).and_then(|axes| index.integers(axes));
                let axes = stored.or_else(|| node.attr("axes").map(|axes| axes.ints.clone()))?;
                return Some(Average { tensor: input, axes, window: None });
            }
            known if SHAPES_ALONE.contains(&known) => value = input,
            _ => return None,
        }
    }
}
