//! Sizes that a file only describes, bounded before an importer computes constants with them.
//!
//! Shapes, and the whole numbers of small tensors, are followed through the graph for one image, as far as that is simple:
//! where they make a tensor that no image model has, the node is named. What is not followed (`sizes.rs` says what is) is
//! not judged here.

use super::sizes::{Value, count, extent, output, stored};
use crate::onnx::Model;
use crate::onnx::graph::inner_graphs;
use crate::onnx::schema::{GraphProto, NodeProto};
use std::collections::{HashMap, HashSet};

/// More values than this, 1 GiB, in one tensor for one image are taken for an attack on an importer.
const LARGEST: i64 = 1 << 28;

/// More than this are for an engine, too: 2 GiB. (Attention over images of 1022 pixels in patches of 14 takes 1.7.)
const LARGEST_RUN: i64 = 1 << 29;

/// More than this, 8 GiB, are too many for however many images a file insists on.
const LARGEST_BATCH: i64 = 1 << 31;

/// Rounds of a loop in which what it carries is followed; what it grows by in each is not bounded by more.
const ROUNDS: i64 = 64;
/// Of all loops together.
const MOST_ROUNDS: i64 = 10_000;

/// So many in all that an importer computes from less that the file stores: 32 Mi, many times what masks and places that
/// models put together so have.
const SWOLLEN: i64 = 1 << 25;

/// No window, step or padding of an image model is as wide.
const WIDEST: i64 = 1 << 14;

/// No tensor has as many axes.
const AXES: i64 = 64;

/// A shape that is computed has no more: importers multiply formulas of sizes out, in a time that doubles with each axis.
const COMPUTED_AXES: i64 = 12;

/// The taps of all windows of a node.
const TAPS: i64 = 1 << 22;

type Checked<T> = Result<T, String>;

/// Checks every node of the main graph. `axes` are the image input's, as engines take them.
///
/// # Errors
/// A text naming the node that describes a tensor, a window or a step that is too large.
pub(super) fn check(model: &Model, axes: &[Option<usize>]) -> Checked<()> {
    in_order(model.graph())?;
    walk(model, axes, LARGEST, &mut |node, inputs| {
        attributes(node)?;
        operands(node, inputs)
    })
    .map(drop)
}

/// As for an import, for engines that need no more than room: how many values the largest tensor has for one image, or for
/// as many as the file insists on.
///
/// # Errors
/// A text naming the node that makes a tensor which no image model has.
pub(crate) fn room(model: &Model, axes: &[Option<usize>]) -> Checked<usize> {
    walk(model, axes, LARGEST_RUN, &mut |_, _| Ok(())).map(|made| made.largest as usize)
}

/// Values that nodes make.
struct Made {
    /// All together that are made of fewer, or of those, without the image.
    swollen: i64,
    /// The most in one tensor.
    largest: i64,
    /// The most that one may have for one image.
    limit: i64,
    /// How many images the file insists on.
    images: i64,
    /// Rounds of loops that were followed.
    rounds: i64,
}

impl Made {
    /// Whether there are more values in a tensor than there may be. One that does not hang on the image has no images.
    fn is_too_much(&self, shape: &[i64], fixed: bool) -> bool {
        let images = if !fixed && shape.first() == Some(&self.images) { self.images } else { 1 };
        extent(shape) / images > self.limit || extent(shape) > LARGEST_BATCH
    }
}

type Look<'a> = &'a mut dyn FnMut(&NodeProto, &[Value]) -> Checked<()>;

fn walk(model: &Model, axes: &[Option<usize>], limit: i64, look: Look) -> Checked<Made> {
    let graph = model.graph();
    let mut values: HashMap<&str, Value> = HashMap::new();
    let mut empty = graph.initializer.iter().filter(|tensor| tensor.dims.contains(&0));
    if let Some(tensor) = empty.find(|tensor| extent(&tensor.dims) > SWOLLEN) {
        return Err(format!("the tensor '{}' of shape {:?} is too large", tensor.name(), tensor.dims));
    }
    values.extend(graph.initializer.iter().map(|tensor| (tensor.name(), stored(tensor))));
    let mut made = Made { swollen: 0, largest: 0, limit, images: 1, rounds: 0 };
    for (place, input) in model.inputs().enumerate() {
        let open = || (!axes.is_empty()).then(|| vec![None; axes.len()]);
        let dims = input.tensor_type().and_then(|(_, dims)| dims).or_else(open);
        let dims = dims.map(|dims| declared(&dims, axes));
        // For an import weights come behind it.
        if let Some([images, _, _, _]) = dims.as_deref().filter(|_| place == 0) {
            made.images = (*images).max(1);
        }
        if let Some(dims) = dims.as_ref().filter(|dims| made.is_too_much(dims, false)) {
            return Err(format!("its input '{}' of shape {dims:?} is too large", input.name()));
        }
        values.insert(input.name(), Value::of_shape(dims));
    }
    follow(graph, &mut values, &mut made, look)?;
    Ok(made)
}

/// The shape of an input; the number of images and sizes that stay open count as one.
fn declared(dims: &[Option<u64>], axes: &[Option<usize>]) -> Vec<i64> {
    let told = |place: usize| axes.get(place).copied().flatten().filter(|_| axes.len() == dims.len());
    let size = |(place, dim): (usize, &Option<u64>)| dim.or(told(place).map(|n| n as u64)).unwrap_or(1);
    dims.iter().enumerate().map(size).map(|size| size.min(1 << 62) as i64).collect()
}

/// ONNX wants each value made before it is read; what is not could not be followed.
fn in_order(graph: &GraphProto) -> Checked<()> {
    let outputs = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    let mut later: HashSet<&str> = outputs.filter(|name| !name.is_empty()).collect();
    for node in &graph.node {
        if let Some(input) = node.input.iter().find(|input| later.contains(input.as_str())) {
            return Err(format!("node {}: it reads '{input}', which a later node makes; sort the nodes", node.label()));
        }
        node.output.iter().for_each(|output| {
            later.remove(output.as_str());
        });
    }
    Ok(())
}

/// Follows the nodes in order.
fn follow<'a>(graph: &'a GraphProto, values: &mut HashMap<&'a str, Value>, made: &mut Made, look: Look) -> Checked<()> {
    for node in &graph.node {
        let refused = |what: String| format!("node {}: {what}", node.label());
        let known = |name: &String| match name.as_str() {
            "" => Value::missing(),
            name => values.get(name).cloned().unwrap_or_default(),
        };
        let inputs: Vec<Value> = node.input.iter().map(known).collect();
        look(node, &inputs).map_err(refused)?;
        let fixed = inputs.iter().all(|input| input.fixed) || matches!(node.op_type(), "Shape" | "Size");
        let mut output = output(node, &inputs);
        output.fixed = fixed;
        if let Some(shape) = &output.shape {
            let most = inputs.iter().filter_map(|input| input.shape.as_deref()).map(extent).max().unwrap_or(0);
            output.swollen = fixed && (extent(shape) > most || inputs.iter().any(|input| input.swollen));
            made.swollen = made.swollen.saturating_add(if output.swollen { extent(shape) } else { 0 });
            made.largest = made.largest.max(extent(shape));
            if made.is_too_much(shape, fixed) || made.swollen > SWOLLEN {
                return Err(refused(format!("it makes a tensor of shape {shape:?}, which is too large")));
            }
        }
        if let Some(name) = node.output.first() {
            values.insert(name, output);
        }
        match inner_graphs(node).next().filter(|_| node.is("Loop")) {
            Some(body) => rounds(node, body, values, made, look)?,
            None => inner_graphs(node).try_for_each(|inner| follow(inner, values, made, look))?,
        }
    }
    Ok(())
}

/// Follows a loop's rounds until what it carries stays as it is.
fn rounds<'a>(
    node: &'a NodeProto,
    body: &'a GraphProto,
    values: &mut HashMap<&'a str, Value>,
    made: &mut Made,
    look: Look,
) -> Checked<()> {
    let count = node.input.first().and_then(|count| values.get(count.as_str())?.numbers.as_ref()?.first().copied());
    let mut carried: Vec<Value> =
        node.input.iter().skip(2).map(|name| values.get(name.as_str()).cloned().unwrap_or_default()).collect();
    // What it carries changes from round to round, whatever it begins with.
    carried.iter_mut().for_each(|value| *value = Value::of_shape(value.shape.take()));
    for _ in 0..count.unwrap_or(ROUNDS).clamp(1, if made.rounds < MOST_ROUNDS { ROUNDS } else { 1 }) {
        made.rounds += 1;
        let names = body.input.iter().skip(2).map(|input| input.name());
        values.extend(names.zip(carried.iter().cloned()));
        follow(body, values, made, look)?;
        let given = body.output.iter().skip(1).take(carried.len());
        let next = given.map(|output| values.get(output.name()).and_then(|value| value.shape.clone()));
        let next: Vec<Value> = next.map(Value::of_shape).collect();
        if next.iter().zip(&carried).all(|(next, before)| next.shape == before.shape) {
            break;
        }
        carried = next;
    }
    values.extend(node.output.iter().map(String::as_str).zip(carried));
    Ok(())
}

/// Windows, steps and blocks have attributes for sizes, many operators for axes.
fn attributes(node: &NodeProto) -> Checked<()> {
    #[rustfmt::skip]
    const SIZES: [&str; 15] = [
        "kernel_shape", "strides", "dilations", "pads", "output_padding", "output_shape", "blocksize", "group",
        "num_outputs", "output_height", "output_width", "hidden_size", "size", "num_groups", "sample_size",
    ];
    for attribute in &node.attribute {
        let (name, all) = (attribute.name(), || attribute.ints.iter().chain(&attribute.i));
        let beyond = |limit: i64| all().find(|n| n.saturating_abs() > limit);
        if let Some(size) = beyond(WIDEST).filter(|_| SIZES.contains(&name)) {
            return Err(format!("its {name} of {size} is too large"));
        }
        if let Some(axis) =
            beyond(AXES).filter(|_| ["axis", "axes", "perm", "batch_dims", "batch_axis", "time_axis"].contains(&name))
        {
            return Err(format!("there is no axis {axis}"));
        }
        if name == "perm" && all().enumerate().any(|(i, axis)| all().take(i).any(|other| other == axis)) {
            return Err(format!("its order of axes {:?} names one twice", attribute.ints));
        }
        if (name == "kernel_shape" && count(&attribute.ints) > TAPS)
            || (name == "shape" && count(&attribute.ints) > SWOLLEN)
        {
            return Err(format!("its {name} of {:?} is too large", attribute.ints));
        }
        if name == "scales" && !attribute.floats.iter().all(|&scale| (0. ..=WIDEST as f32).contains(&scale)) {
            return Err("its scales are too large".into());
        }
    }
    Ok(())
}

/// The same where a stored tensor says them.
fn operands(node: &NodeProto, inputs: &[Value]) -> Checked<()> {
    let numbers = |i: usize| inputs.get(i).and_then(|input| input.numbers.as_deref()).unwrap_or_default();
    let axes = match node.op_type() {
        "Squeeze" | "Unsqueeze" | "CumSum" => 1,
        "Slice" | "Pad" => 3,
        op if op.starts_with("Reduce") => 1,
        _ => usize::MAX,
    };
    if let Some(axis) = numbers(axes).iter().find(|n| n.saturating_abs() > AXES) {
        return Err(format!("there is no axis {axis}"));
    }
    // tract reads it all the same, from nowhere.
    if node.is("If") && inputs.first().and_then(|condition| condition.shape.as_deref()).is_some_and(|s| count(s) == 0) {
        return Err("its condition holds no value".into());
    }
    let target = match node.op_type() {
        "ConstantOfShape" => 0,
        "Reshape" | "Expand" | "Tile" => 1,
        _ => usize::MAX,
    };
    let axes = inputs.get(target).and_then(|target| target.shape.as_deref()).map_or(0, count);
    if axes > COMPUTED_AXES {
        return Err(format!("it makes a tensor of {axes} axes, which are too many"));
    }
    let sizes = match node.op_type() {
        "ConstantOfShape" => Some(0),
        "Expand" | "Tile" | "OneHot" => Some(1),
        // Before operator set 10 it was an attribute.
        "TopK" if node.input.len() > 1 => Some(1),
        _ => None,
    };
    if let Some(place) = sizes {
        // Importers close the gap that an input which is left out leaves, and read what comes behind as sizes.
        if node.input.get(place).is_none_or(String::is_empty) || inputs.get(place).is_some_and(|i| i.scales.is_some()) {
            return Err("it does not say its sizes in whole numbers".into());
        }
        let least = if node.op_type() == "Expand" { -1 } else { 0 };
        if let Some(size) = numbers(place).iter().find(|size| **size < least) {
            return Err(format!("its size {size} is impossible"));
        }
    }
    if !matches!(node.op_type(), "Resize" | "Upsample") {
        return Ok(());
    }
    let scales = inputs.iter().skip(1).filter_map(|input| input.scales.as_ref()).flatten();
    let sizes = (1..inputs.len()).flat_map(numbers);
    let odd = |scale: &i64| *scale < 0 || *scale > WIDEST << 16;
    if scales.into_iter().any(odd) || sizes.into_iter().any(|&size| !(0..=4 * WIDEST).contains(&size)) {
        return Err("its scales or sizes are impossible, or too large".into());
    }
    Ok(())
}
