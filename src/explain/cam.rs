//! Exact class activation maps, of heads that are a linear layer on means over all places.

use super::grid::{Grid, resized, weighted};
use super::open;
use crate::engine::{Backend, Engine};
use crate::error::{Error, Result};
use crate::onnx::cut::{Cut, product};
use crate::onnx::graph::Index;
use crate::onnx::schema::NodeProto;
use crate::onnx::tensor;
use crate::plan::{Trained, probe};
use ndarray::{Array2, Array3, ArrayD, Axis};
use std::collections::HashSet;

/// What the score is the mean of, and the layer's weights.
pub(super) struct Cam {
    /// The maps that are averaged, each once.
    pub tensors: Vec<String>,
    parts: Vec<Part>,
}

/// Some of the features: one map's.
struct Part {
    /// The map's place among the tensors.
    tensor: usize,
    grid: Grid,
    deviation: bool,
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
        let other = || {
            let what = "its head is not a linear layer on global averages: exact maps are not to be had";
            Error::model(&trained.model.path, format!("{what}; choose --method gradcam or occlusion"))
        };
        let index = Index::new(trained.model.graph());
        let sources = sources(&index, &cut.tensor).filter(|_| cut.heads == 1).ok_or_else(other)?;
        let weights = weights(&index, trained, cut, backend)?.ok_or_else(other)?;
        let mut tensors: Vec<&str> = sources.iter().map(|(average, _)| average.tensor).collect();
        let mut seen = HashSet::new();
        tensors.retain(|tensor| seen.insert(*tensor));
        let mut engine = open(trained, &tensors, backend)?;
        let made = engine.run(probe(&trained.input, 1).view())?;
        let (mut parts, mut first) = (Vec::new(), 0);
        for (average, deviation) in &sources {
            let tensor = tensors.iter().position(|tensor| *tensor == average.tensor).unwrap_or_default();
            let grid = average.grid(made[tensor].shape(), trained).ok_or_else(other)?;
            let end = first + grid.channels(made[tensor].shape());
            if end > weights.ncols() {
                return Err(other());
            }
            let weights = weights.slice(ndarray::s![.., first..end]).to_owned();
            parts.push(Part { tensor, grid, deviation: *deviation, weights });
            first = end;
        }
        if first != weights.ncols() {
            return Err(other());
        }
        let tensors = tensors.into_iter().map(str::to_owned).collect();
        Ok((engine, Cam { tensors, parts }))
    }

    /// What the class's score, less its bias, is the mean of: Σ over the channels of the weight times the channel; and where
    /// the feature is a channel's standard deviation σ, times (channel − mean)² / σ, whose mean is σ. Smaller maps are
    /// brought to the size of the largest.
    pub fn map(&self, tensors: &[ArrayD<f32>], class: usize) -> Result<Array2<f32>> {
        let sizes = self.parts.iter().map(|part| (part.grid.height, part.grid.width));
        let (height, width) = sizes.max().unwrap_or_default();
        let mut map = Array2::zeros((height, width));
        for part in &self.parts {
            let planes = part.grid.planes(tensors[part.tensor].view());
            let planes = planes.ok_or_else(|| Error::Engine("the map changed its size".into()))?;
            let planes = if part.deviation { deviations(planes) } else { planes };
            let row = part.weights.outer_iter().nth(class);
            let row = row.ok_or_else(|| Error::Engine(format!("the last layer has no class {class}")))?;
            map += &resized(&weighted(&planes, row.iter().copied()), height, width);
        }
        Ok(map)
    }
}

/// What each channel's standard deviation is the mean of.
fn deviations(mut planes: Array3<f32>) -> Array3<f32> {
    for mut plane in planes.axis_iter_mut(Axis(0)) {
        let mean = plane.mean().unwrap_or(0.);
        plane.mapv_inplace(|value| (value - mean).powi(2));
        let deviation = plane.mean().unwrap_or(0.).sqrt();
        plane.mapv_inplace(|square| if deviation > 0. { square / deviation } else { 0. });
    }
    planes
}

/// The weights of the linear layer that a cut is before, `[classes, features]`, where nothing mixes the scores behind it. What
/// the file computes from what it stores, the engine computes.
fn weights(index: &Index, trained: &Trained, cut: &Cut, backend: &Backend) -> Result<Option<Array2<f32>>> {
    let node = scoring(index, &cut.output);
    let layer = node.and_then(|node| Some((node, product(index, node).filter(|layer| layer.input == cut.tensor)?)));
    let Some((node, layer)) = layer else { return Ok(None) };
    let matrix = match index.constant(layer.matrix) {
        Some(stored) => {
            let sizes: Vec<usize> = stored.dims.iter().map(|&size| size as usize).collect();
            tensor::floats(stored).and_then(|values| ArrayD::from_shape_vec(sizes, values).ok())
        }
        None => {
            let mut engine = open(trained, &[layer.matrix], backend)?;
            // As many images as fit are no reason to cut it.
            let images = trained.input.batch.unwrap_or(1);
            engine.run_outputs(probe(&trained.input, images).view(), &[0])?.pop()
        }
    };
    let Some(matrix) = matrix else { return Ok(None) };
    let (rows, columns) = match *matrix.shape() {
        [rows, columns] | [1, rows, columns] | [rows, columns, 1, 1] => (rows, columns),
        _ => return Ok(None),
    };
    let scale = node.attr("alpha").filter(|_| node.is("Gemm")).map_or(1., |alpha| alpha.f());
    let matrix = Array2::from_shape_vec((rows, columns), matrix.iter().map(|weight| weight * scale).collect());
    Ok(matrix.ok().map(|matrix| if layer.by_feature { matrix.reversed_axes() } else { matrix }))
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

impl Average<'_> {
    /// How the tensor, of this shape for one image, covers the image, where the average is over all places.
    fn grid(&self, shape: &[usize], trained: &Trained) -> Option<Grid> {
        let positive = |axis: &i64| if *axis < 0 { axis + shape.len() as i64 } else { *axis };
        let mut axes: Vec<i64> = self.axes.iter().map(positive).collect();
        axes.sort_unstable();
        let last = match (shape.len(), &axes[..]) {
            (4, [2, 3]) => false,
            (4, [1, 2]) | (3, [1]) => true,
            _ => return None,
        };
        if self.window.is_some_and(|window| window.iter().map(|&side| side as usize).ne(shape[2..].iter().copied())) {
            return None;
        }
        Grid::of(shape, last, (trained.input.height, trained.input.width))
    }
}

/// The averages that features are, one behind the other, and whether each is the root of one of squares: a deviation. `None`
/// where any is something else.
fn sources<'a>(index: &Index<'a>, features: &'a str) -> Option<Vec<(Average<'a>, bool)>> {
    let joined = index.producer(features).filter(|node| node.is("Concat") && [1, -1].contains(&node.int("axis", 0)));
    let values = joined.map_or(vec![features], |node| node.input.iter().map(String::as_str).collect());
    let source = |value| {
        let average = averaged(index, value).map(|average| (average, false));
        average.or_else(|| Some((deviation(index, value)?, true)))
    };
    values.into_iter().map(source).collect()
}

/// What `value` is the average of.
fn averaged<'a>(index: &Index<'a>, value: &'a str) -> Option<Average<'a>> {
    let node = computed(index, value)?;
    let tensor = node.input.first()?.as_str();
    match node.op_type() {
        "GlobalAveragePool" => Some(Average { tensor, axes: vec![2, 3], window: None }),
        "AveragePool" => {
            let padded = node.attr("pads").is_some_and(|pads| pads.ints.iter().any(|&pad| pad != 0));
            let window = &node.attr("kernel_shape").filter(|_| !padded && node.attr("auto_pad").is_none())?.ints;
            Some(Average { tensor, axes: vec![2, 3], window: Some(window) })
        }
        "ReduceMean" => {
            let stored = node.input.get(1).and_then(|axes| index.integers(axes));
            let axes = stored.or_else(|| node.attr("axes").map(|axes| axes.ints.clone()))?;
            Some(Average { tensor, axes, window: None })
        }
        _ => None,
    }
}

/// What `value` is the standard deviation of, as surgery writes it: the root of the average of (x − average of x)².
fn deviation<'a>(index: &Index<'a>, value: &'a str) -> Option<Average<'a>> {
    let root = computed(index, value).filter(|node| node.is("Sqrt"))?;
    let squares = averaged(index, root.input.first()?)?;
    let [a, b] = &index.producer(squares.tensor).filter(|node| node.is("Mul"))?.input[..] else { return None };
    let difference = index.producer(a).filter(|node| a == b && node.is("Sub"))?;
    let [tensor, average] = &difference.input[..] else { return None };
    averaged(index, average).filter(|average| average.tensor == tensor && average.axes == squares.axes)
}

/// The node that computes `value`, those looked through that change its shape alone.
fn computed<'a>(index: &Index<'a>, value: &'a str) -> Option<&'a NodeProto> {
    let mut node = index.producer(value)?;
    while SHAPES_ALONE.contains(&node.op_type()) {
        node = index.producer(node.input.first()?)?;
    }
    Some(node)
}
