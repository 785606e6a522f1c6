//! The shapes that operators make of shapes alone. Sizes that are open count as 1.

use super::{Value, count, from_front, list};
use crate::onnx::schema::NodeProto;
use std::collections::HashMap;

type Shape = Option<Vec<i64>>;

/// What `Reshape` makes of a shape: 0 is the size that was there, -1 what is left.
pub(super) fn reshaped(node: &NodeProto, shape: Shape, target: Shape) -> Shape {
    let (shape, mut target) = (shape?, target?);
    if node.int("allowzero", 0) == 0 {
        let there = |i: usize| shape.get(i).copied();
        for (i, size) in target.iter_mut().enumerate().filter(|(_, size)| **size == 0) {
            *size = there(i)?;
        }
    }
    if let Some(open) = target.iter().position(|&size| size == -1) {
        target[open] = 1;
        target[open] = count(&shape).checked_div(count(&target))?.max(1);
    }
    Some(target)
}

pub(super) fn transposed(node: &NodeProto, shape: Shape) -> Shape {
    let shape = shape?;
    match node.attr("perm") {
        None => Some(shape.into_iter().rev().collect()),
        Some(perm) if perm.ints.len() == shape.len() => {
            perm.ints.iter().map(|&axis| shape.get(usize::try_from(axis).ok()?).copied()).collect()
        }
        Some(_) => None,
    }
}

pub(super) fn flattened(node: &NodeProto, shape: Shape) -> Shape {
    let shape = shape?;
    let axis = usize::try_from(from_front(node.int("axis", 1), &shape)).ok()?;
    let (rows, columns) = shape.split_at_checked(axis)?;
    Some(vec![count(rows), count(columns)])
}

/// `axes` are those of an input, where there is one.
pub(super) fn reduced(node: &NodeProto, shape: Shape, axes: Option<&Value>) -> Shape {
    let shape = shape?;
    let axes = match axes {
        Some(axes) => axes.numbers.clone()?,
        None => node.attr("axes").map(|a| a.ints.clone()).unwrap_or_default(),
    };
    if axes.is_empty() && node.int("noop_with_empty_axes", 0) != 0 {
        return Some(shape);
    }
    let rank = shape.len() as i64;
    let goes = |axis: usize| axes.is_empty() || axes.iter().any(|&a| a == axis as i64 || a + rank == axis as i64);
    let keeps = node.int("keepdims", 1) != 0;
    let kept = |(axis, size): (usize, i64)| if goes(axis) { keeps.then_some(1) } else { Some(size) };
    Some(shape.into_iter().enumerate().filter_map(kept).collect())
}

/// Rows that are not known count as one.
pub(super) fn gemm(node: &NodeProto, a: Shape, b: Shape) -> Shape {
    let side = |shape: Shape, axis: i64| shape?.get(axis as usize).copied();
    let rows = side(a, i64::from(node.int("transA", 0) != 0)).unwrap_or(1);
    Some(vec![rows, side(b, i64::from(node.int("transB", 0) == 0))?])
}

/// Letters alone are followed, not `...`.
pub(super) fn einsum(node: &NodeProto, inputs: &[Value]) -> Shape {
    let equation = String::from_utf8_lossy(node.attr("equation")?.s()).replace(' ', "");
    let (terms, output) = equation.split_once("->").filter(|_| !equation.contains('.'))?;
    let mut sizes: HashMap<char, i64> = HashMap::new();
    for (term, input) in terms.split(',').zip(inputs) {
        let shape = input.shape.as_ref()?;
        if term.chars().count() != shape.len() {
            return None;
        }
        for (letter, &size) in term.chars().zip(shape) {
            let known = sizes.entry(letter).or_insert(size);
            *known = size.max(*known);
        }
    }
    output.chars().map(|letter| sizes.get(&letter).copied()).collect()
}

/// What a transposed convolution makes of a map; `auto_pad` is not followed.
pub(super) fn grown(node: &NodeProto, x: Shape, weight: Shape) -> Shape {
    let (x, weight) = (x?, weight?);
    let (sides, kernel) = (x.get(2..)?, weight.get(2..)?);
    let list = |name: &str, default: i64, length: usize| list(node, name, default, length);
    let axes = sides.len();
    let (strides, dilations, more) =
        (list("strides", 1, axes), list("dilations", 1, axes), list("output_padding", 0, axes));
    let (pads, told) = (list("pads", 0, 2 * axes), list("output_shape", 0, axes));
    if kernel.len() != axes {
        return None;
    }
    let side = |i: usize| {
        let reach = dilations[i].saturating_mul(kernel[i].saturating_sub(1)).saturating_add(1);
        let steps = strides[i].saturating_mul(sides[i].saturating_sub(1)).saturating_add(reach);
        let size = steps.saturating_add(more[i]).saturating_sub(pads[i]).saturating_sub(pads[axes + i]);
        if told[i] > 0 { told[i] } else { size }
    };
    let channels = weight.get(1)?.saturating_mul(node.int("group", 1));
    Some([x[0], channels].into_iter().chain((0..axes).map(side)).collect())
}
