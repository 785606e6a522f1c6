//! Products of two tensors summed over shared axes: matrix products of every kind.

use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, sum_over, whole};
use candle_core::{Result, Tensor};
use std::collections::HashMap;
use tract_onnx::tract_core::ops::einsum::EinSum as TractEinSum;

pub(super) const FAMILY: Family = Family { operators: &["EinSum"], lower };

fn lower(node: &Node) -> Option<Lowered> {
    let op = node.op::<TractEinSum>()?;
    if op.q_params.is_some() {
        return Some(Err("it computes with quantized numbers".into()));
    }
    let (inputs, outputs) = op.axes.to_strs();
    let labels = |axes: &String| axes.chars().collect::<Vec<char>>();
    let (inputs, outputs): (Vec<_>, Vec<_>) =
        (inputs.iter().map(labels).collect(), outputs.iter().map(labels).collect());
    let repeats = |axes: &Vec<char>| axes.iter().enumerate().any(|(i, c)| axes[..i].contains(c));
    if inputs.iter().chain(&outputs).any(repeats) {
        return Some(Err("it takes a diagonal".into()));
    }
    Some(match (<[_; 2]>::try_from(inputs), <[_; 1]>::try_from(outputs)) {
        (Ok(inputs), Ok([output])) => whole(node, EinSum { inputs, output }),
        _ => Err("products of other than two tensors are not known".into()),
    })
}

/// Axes bear letters; those that the output lacks are summed over.
struct EinSum {
    inputs: [Vec<char>; 2],
    output: Vec<char>,
}

impl Op for EinSum {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let shapes = [inputs[0].dims(), inputs[1].dims()];
        let sizes = sizes(&self.inputs, &shapes)?;
        contract((inputs[0], &self.inputs[0]), (inputs[1], &self.inputs[1]), &self.output, &sizes)
    }

    fn keeps(&self, wanted: &[bool]) -> Keeps {
        Keeps::inputs(&[wanted[1], wanted[0]])
    }

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let sizes = sizes(&self.inputs, &[kept.shapes[0], kept.shapes[1]])?;
        let by = |index: usize| {
            let other = (kept.input(1 - index)?, self.inputs[1 - index].as_slice());
            // Where an axis of length 1 met a longer one, the gradient is summed over it.
            let (axes, shape) = (&self.inputs[index], kept.shapes[index]);
            let own: HashMap<char, usize> = axes.iter().copied().zip(shape.iter().copied()).collect();
            let short: Vec<char> = axes.iter().copied().filter(|axis| own[axis] != sizes[axis]).collect();
            let target: Vec<char> = axes.iter().copied().filter(|axis| !short.contains(axis)).collect();
            contract((grad, &self.output), other, &target, &sizes)?.reshape(shape)
        };
        (0..2).map(|index| kept.wanted[index].then(|| by(index)).transpose()).collect()
    }
}

/// The length of each axis: the longest that any input has.
fn sizes(axes: &[Vec<char>; 2], shapes: &[&[usize]; 2]) -> Result<HashMap<char, usize>> {
    let mut sizes: HashMap<char, usize> = HashMap::new();
    for (&axis, &size) in axes.iter().zip(shapes).flat_map(|(axes, shape)| axes.iter().zip(*shape)) {
        let known = sizes.entry(axis).or_insert(size);
        if *known != size && *known != 1 && size != 1 {
            candle_core::bail!("lengths {known} and {size} of one axis");
        }
        *known = if *known == 1 { size } else { *known };
    }
    Ok(sizes)
}

/// Sums `a · b` over all axes that `output` lacks. An axis of `output` that neither has is repeated.
fn contract(
    (a, a_axes): (&Tensor, &[char]),
    (b, b_axes): (&Tensor, &[char]),
    output: &[char],
    sizes: &HashMap<char, usize>,
) -> Result<Tensor> {
    let (a, a_axes) = slim(a, a_axes, sizes, |axis| b_axes.contains(&axis) || output.contains(&axis))?;
    let (b, b_axes) = slim(b, b_axes, sizes, |axis| a_axes.contains(&axis) || output.contains(&axis))?;
    // What only `a` had against a shorter `b` is summed now that `b` no longer has it.
    let (a, a_axes) = slim(&a, &a_axes, sizes, |axis| b_axes.contains(&axis) || output.contains(&axis))?;
    let pick = |from: &[char], test: &dyn Fn(&char) -> bool| from.iter().copied().filter(test).collect::<Vec<char>>();
    let shared = pick(&a_axes, &|axis| b_axes.contains(axis) && output.contains(axis));
    let rows = pick(output, &|axis| a_axes.contains(axis) && !b_axes.contains(axis));
    let columns = pick(output, &|axis| b_axes.contains(axis) && !a_axes.contains(axis));
    let summed = pick(&a_axes, &|axis| b_axes.contains(axis) && !output.contains(axis));
    let a = matrices(&a, &a_axes, [&shared, &rows, &summed])?;
    let b = matrices(&b, &b_axes, [&shared, &summed, &columns])?;
    let product = a.matmul(&b)?;
    let axes: Vec<char> = shared.into_iter().chain(rows).chain(columns).collect();
    let product = product.reshape(axes.iter().map(|axis| sizes[axis]).collect::<Vec<_>>())?;
    // Axes that neither has come as length 1 at the end, then all take their places.
    let missing = pick(output, &|axis| !axes.contains(axis));
    let mut shape = product.dims().to_vec();
    shape.extend(missing.iter().map(|_| 1));
    let axes: Vec<char> = axes.into_iter().chain(missing).collect();
    let order: Vec<usize> = output.iter().filter_map(|axis| axes.iter().position(|a| a == axis)).collect();
    let shape_wanted: Vec<usize> = output.iter().map(|axis| sizes.get(axis).copied().unwrap_or(1)).collect();
    product.reshape(shape)?.permute(order)?.broadcast_as(shape_wanted)?.contiguous()
}

/// Without axes that nobody else has, which are summed, and without those of length 1 that are longer elsewhere.
fn slim(
    x: &Tensor,
    axes: &[char],
    sizes: &HashMap<char, usize>,
    used: impl Fn(char) -> bool,
) -> Result<(Tensor, Vec<char>)> {
    let size = |axis: &char| sizes.get(axis).copied().unwrap_or(1);
    let short = |index: usize| x.dims()[index] == 1 && size(&axes[index]) != 1;
    let gone: Vec<usize> = (0..axes.len()).filter(|&i| !used(axes[i]) || short(i)).collect();
    let summed = sum_over(x, &gone)?;
    let shape: Vec<usize> = (0..axes.len()).filter(|i| !gone.contains(i)).map(|i| x.dims()[i]).collect();
    let axes = (0..axes.len()).filter(|i| !gone.contains(i)).map(|i| axes[i]).collect();
    Ok((if gone.is_empty() { summed } else { summed.reshape(shape)? }, axes))
}

/// `[batches, rows, columns]` whose three axes are made of these.
fn matrices(x: &Tensor, axes: &[char], groups: [&[char]; 3]) -> Result<Tensor> {
    let order = groups.iter().flat_map(|group| group.iter());
    let order: Vec<usize> = order.filter_map(|axis| axes.iter().position(|a| a == axis)).collect();
    let x = x.permute(order)?;
    // A single axis a group needs no copy: matrix products read turned matrices as they are.
    if groups[0].is_empty() && groups[1].len() == 1 && groups[2].len() == 1 {
        return x.unsqueeze(0);
    }
    let mut sizes = x.dims().iter();
    let shape: Vec<usize> = groups.iter().map(|group| sizes.by_ref().take(group.len()).product()).collect();
    x.contiguous()?.reshape(shape)
}
