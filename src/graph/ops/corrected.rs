//! Functions of ONNX's that tract reads otherwise, by their definitions.

use super::Family;
use super::onnx::{Parsed, Shape, made};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{DimLike, Tensor as Host, bail, ensure};
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, sigmoid};

pub(super) const FAMILY: Family = Family {
    operators: &[],
    lower: |_| None,
    parsers: &[("Celu", celu), ("Swish", swish), ("GlobalLpPool", global_lp_pool), ("EyeLike", eye_like)],
};

/// `max(0, x) + min(0, α·(exp(x/α) − 1))`
fn celu(_: &ParsingContext, node: &NodeProto) -> Parsed {
    let alpha: f32 = node.get_attr_opt("alpha")?.unwrap_or(1.);
    made(node, Shape::Same, move |wires, inputs| {
        let x = inputs[0];
        let [alpha, zero, one] = [wires.number(alpha, x)?, wires.number(0., x)?, wires.number(1., x)?];
        // Where x is positive the curve has no part, and no slope that might overflow.
        let low = wires.wire(math::min(), &[x, zero])?;
        let small = wires.wire(math::div(), &[low, alpha])?;
        let exp = wires.wire(math::exp(), &[small])?;
        let below = wires.wire(math::sub(), &[exp, one])?;
        let curve = wires.wire(math::mul(), &[below, alpha])?;
        let high = wires.wire(math::max(), &[x, zero])?;
        wires.wire(math::add(), &[high, curve])
    })
}

/// `x · sigmoid(α·x)`
fn swish(_: &ParsingContext, node: &NodeProto) -> Parsed {
    let alpha: f32 = node.get_attr_opt("alpha")?.unwrap_or(1.);
    made(node, Shape::Same, move |wires, inputs| {
        // Without a factor it is an activation that joins the layer before it.
        let scaled = match alpha {
            1. => inputs[0],
            _ => {
                let alpha = wires.number(alpha, inputs[0])?;
                wires.wire(math::mul(), &[inputs[0], alpha])?
            }
        };
        let gate = wires.wire(sigmoid(), &[scaled])?;
        wires.wire(math::mul(), &[inputs[0], gate])
    })
}

/// `(Σ |x|^p)^(1/p)` over each map.
fn global_lp_pool(_: &ParsingContext, node: &NodeProto) -> Parsed {
    let p: i64 = node.get_attr_opt("p")?.unwrap_or(2);
    ensure!(p > 0, "p = {p}");
    made(node, Shape::Rank, move |wires, inputs| {
        let axes: TVec<usize> = (2..wires.shape(inputs[0])?.len()).collect();
        let [p, root] = [wires.number(p as f32, inputs[0])?, wires.number(1. / p as f32, inputs[0])?];
        let size = wires.wire(math::abs(), inputs)?;
        let powers = wires.wire(math::pow(), &[size, p])?;
        let sum = wires.wire(Reduce::new(axes, Reducer::Sum), &[powers])?;
        wires.wire(math::pow(), &[sum, root])
    })
}

/// Ones on a diagonal, where the size does not depend on the number of images.
fn eye_like(_: &ParsingContext, node: &NodeProto) -> Parsed {
    let (offset, dtype) = (node.get_attr_opt::<i64>("k")?.unwrap_or(0), node.get_attr_opt::<i64>("dtype")?);
    ensure!(dtype.is_none_or(|dtype| dtype == 1), "EyeLike of another type than float32 is not known");
    made(node, Shape::Same, move |wires, inputs| {
        let shape = wires.shape(inputs[0])?;
        let [rows, columns] = &shape[..] else { bail!("it has other than two axes") };
        let (rows, columns) = (rows.to_usize()?, columns.to_usize()?);
        ensure!(rows.saturating_mul(columns) <= 1 << 26, "it is too large");
        let one = |i: usize| f32::from(u8::from((i % columns) as i64 - (i / columns) as i64 == offset));
        wires.constant(Host::from_shape(&[rows, columns], &(0..rows * columns).map(one).collect::<Vec<_>>())?)
    })
}
