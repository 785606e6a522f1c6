//! Products of tensors summed over shared axes: matrix products of every kind.

#[cfg(feature = "cuda")]
use super::gpu;
use super::onnx::{Parsed, Shape, made};
use super::shape::permuted;
use super::slices::{Real, by_type, on_slices};
use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, elsewhere, sum_over, whole};
use crate::kernels::linear;
use crate::tensor::{Result, Tensor};
use std::collections::HashMap;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{TractError, TractResult};
use tract_onnx::tract_core::ops::einsum::EinSum as TractEinSum;

pub(super) const FAMILY: Family = Family { operators: &["EinSum"], lower, parsers: &[("Einsum", parse)] };

/// Values of a product between the inputs of one equation.
const LARGEST: usize = 1 << 28;

/// ONNX's `Einsum`, its ellipsis written out: tract matches those of several operands otherwise than numpy does.
fn parse(_: &ParsingContext, node: &NodeProto) -> Parsed {
    let equation: String = node.get_attr("equation")?;
    made(node, Shape::Unknown, move |wires, inputs| {
        let ranks = inputs.iter().map(|&input| Ok(wires.shape(input)?.len())).collect::<TractResult<Vec<_>>>()?;
        let equation = written_out(&equation, &ranks)
            .ok_or_else(|| TractError::msg(format!("its equation '{equation}' does not fit its inputs")))?;
        wires.wire(TractEinSum::new(equation.parse()?, wires.dtype(inputs[0])?), inputs)
    })
}

/// The equation with letters for the axes of the ellipsis (the last ones meet) and with its output.
fn written_out(equation: &str, ranks: &[usize]) -> Option<String> {
    let equation: String = equation.split_whitespace().collect();
    let (left, right) = equation.split_once("->").map_or((&*equation, None), |(left, right)| (left, Some(right)));
    let terms: Vec<&str> = left.split(',').collect();
    let named = |term: &str| term.chars().filter(|c| c.is_ascii_alphabetic()).count();
    let hidden = |(term, rank): (&&str, &usize)| {
        let rest = rank.checked_sub(named(term))?;
        (term.contains("...") || rest == 0).then_some(rest)
    };
    let hidden: Vec<usize> = terms.iter().zip(ranks).map(hidden).collect::<Option<_>>()?;
    let most = hidden.iter().copied().max()?;
    let free = ('a'..='z').chain('A'..='Z').filter(|c| !equation.contains(*c));
    let letters: Vec<char> = free.take(most).collect();
    if terms.len() != ranks.len() || letters.len() < most {
        return None;
    }
    let dots = |count: usize| letters[most - count..].iter().collect::<String>();
    let left: Vec<String> = terms.iter().zip(&hidden).map(|(term, &count)| term.replace("...", &dots(count))).collect();
    let right = right.map(|right| right.replace("...", &dots(most))).unwrap_or_else(|| {
        // Without an output it is the ellipsis and every letter that stands once, in order.
        let mut once: Vec<char> = terms.concat().chars().filter(|c| c.is_ascii_alphabetic()).collect();
        once.sort_unstable();
        let all = once.clone();
        once.retain(|c| all.iter().filter(|other| *other == c).count() == 1);
        dots(most) + &once.into_iter().collect::<String>()
    });
    Some(format!("{}->{right}", left.join(",")))
}

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
    Some(match <[_; 1]>::try_from(outputs) {
        Ok([output]) if !inputs.is_empty() => whole(node, EinSum { inputs, output }),
        _ => Err("it has no input".into()),
    })
}

/// Axes bear letters; those that the output lacks are summed over.
struct EinSum {
    inputs: Vec<Vec<char>>,
    output: Vec<char>,
}

impl Op for EinSum {
    fn forward(&self, run: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|input| input.dims()).collect();
        let parts: Vec<_> = inputs.iter().copied().zip(self.inputs.iter().map(Vec::as_slice)).collect();
        product(run, &parts, &self.output, &sizes(&self.inputs, &shapes)?)
    }

    fn keeps(&self, wanted: &[bool]) -> Keeps {
        // Each is read by the gradients of the others.
        let others = |own: usize| wanted.iter().enumerate().any(|(other, &wanted)| other != own && wanted);
        Keeps { inputs: (0..wanted.len()).map(others).collect(), output: false }
    }

    fn backward(&self, run: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let sizes = sizes(&self.inputs, &kept.shapes)?;
        let by = |index: usize| {
            let mut parts = vec![(grad, self.output.as_slice())];
            for other in (0..self.inputs.len()).filter(|&other| other != index) {
                parts.push((kept.input(other)?, &self.inputs[other]));
            }
            // Where an axis of length 1 met a longer one, the gradient is summed over it.
            let (axes, shape) = (&self.inputs[index], kept.shapes[index]);
            let own: HashMap<char, usize> = axes.iter().copied().zip(shape.iter().copied()).collect();
            let short: Vec<char> = axes.iter().copied().filter(|axis| own[axis] != sizes[axis]).collect();
            let target: Vec<char> = axes.iter().copied().filter(|axis| !short.contains(axis)).collect();
            product(run, &parts, &target, &sizes)?.reshape(shape)
        };
        (0..self.inputs.len()).map(|index| kept.wanted[index].then(|| by(index)).transpose()).collect()
    }
}

/// Sums the product of all parts over the axes that `output` lacks, two at a time.
fn product(run: &Run, parts: &[(&Tensor, &[char])], output: &[char], sizes: &HashMap<char, usize>) -> Result<Tensor> {
    let (x, axes) = parts[0];
    let [between @ .., (last, last_axes)] = &parts[1..] else {
        let one = Tensor::ones((), x.dtype(), x.device())?;
        return contract(run, (x, axes), (&one, &[]), output, sizes);
    };
    let (mut x, mut axes) = (x.clone(), axes.to_vec());
    for (place, (next, next_axes)) in between.iter().enumerate() {
        let later =
            |axis: &char| output.contains(axis) || parts[place + 2..].iter().any(|(_, axes)| axes.contains(axis));
        let mut kept = axes.clone();
        kept.extend(next_axes.iter().filter(|axis| !axes.contains(axis)));
        kept.retain(later);
        if kept.iter().map(|axis| sizes[axis]).try_fold(1usize, usize::checked_mul).is_none_or(|size| size > LARGEST) {
            candle_core::bail!("the product of its first {} inputs is too large", place + 2);
        }
        x = contract(run, (&x, &axes), (next, next_axes), &kept, sizes)?;
        axes = kept;
    }
    contract(run, (&x, &axes), (last, last_axes), output, sizes)
}

/// The length of each axis: the longest that any input has.
fn sizes(axes: &[Vec<char>], shapes: &[&[usize]]) -> Result<HashMap<char, usize>> {
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
    run: &Run,
    (a, a_axes): (&Tensor, &[char]),
    (b, b_axes): (&Tensor, &[char]),
    output: &[char],
    sizes: &HashMap<char, usize>,
) -> Result<Tensor> {
    // The one that has the output's last axis comes last, so that the product need not be turned.
    if let Some(last) = output.last()
        && a_axes.contains(last)
        && !b_axes.contains(last)
    {
        return contract(run, (b, b_axes), (a, a_axes), output, sizes);
    }
    let (a, a_axes) = slim(a, a_axes, sizes, |axis| b_axes.contains(&axis) || output.contains(&axis))?;
    let (b, b_axes) = slim(b, b_axes, sizes, |axis| a_axes.contains(&axis) || output.contains(&axis))?;
    // What only `a` had against a shorter `b` is summed now that `b` no longer has it.
    let (a, a_axes) = slim(&a, &a_axes, sizes, |axis| b_axes.contains(&axis) || output.contains(&axis))?;
    let pick = |from: &[char], test: &dyn Fn(&char) -> bool| from.iter().copied().filter(test).collect::<Vec<char>>();
    let shared = pick(&a_axes, &|axis| b_axes.contains(axis) && output.contains(axis));
    let rows = pick(output, &|axis| a_axes.contains(axis) && !b_axes.contains(axis));
    let columns = pick(output, &|axis| b_axes.contains(axis) && !a_axes.contains(axis));
    let summed = pick(&a_axes, &|axis| b_axes.contains(axis) && !output.contains(axis));
    let size = |axes: &[char]| axes.iter().map(|axis| sizes[axis]).product::<usize>();
    let counts = [&shared, &rows, &summed, &columns].map(|axes| size(axes));
    let a = matrices(run, &a, &a_axes, [&shared, &rows, &summed])?;
    let b = matrices(run, &b, &b_axes, [&shared, &summed, &columns])?;
    let product = by_type!(a.0.dtype(), multiply(run, (&a.0, a.1), (&b.0, b.1), counts))?;
    let axes: Vec<char> = shared.into_iter().chain(rows).chain(columns).collect();
    let product = product.reshape(axes.iter().map(|axis| sizes[axis]).collect::<Vec<_>>())?;
    // Axes that neither has come as length 1 at the end, then all take their places.
    let missing = pick(output, &|axis| !axes.contains(axis));
    let mut shape = product.dims().to_vec();
    shape.extend(missing.iter().map(|_| 1));
    let axes: Vec<char> = axes.into_iter().chain(missing).collect();
    let order: Vec<usize> = output.iter().filter_map(|axis| axes.iter().position(|a| a == axis)).collect();
    let shape_wanted: Vec<usize> = output.iter().map(|axis| sizes.get(axis).copied().unwrap_or(1)).collect();
    permuted(run, &product.reshape(shape)?, &order)?.broadcast_as(shape_wanted)?.contiguous()
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

/// Products of matrices, each stored transposed where `.1` says so.
fn multiply<T: Real>(run: &Run, a: (&Tensor, bool), b: (&Tensor, bool), counts: [usize; 4]) -> Result<Tensor> {
    elsewhere!(a.0, gpu::products(counts, a, b));
    let shape = [counts[0], counts[1], counts[3]];
    on_slices::<T, 2>(run, [a.0, b.0], &shape, |x, c| linear::products(counts, (x[0], a.1), (x[1], b.1), c))
}

/// `[batches, rows, columns]`, whose three axes are made of these; or, where that needs no copy, `[batches, columns, rows]`.
fn matrices(run: &Run, x: &Tensor, axes: &[char], [shared, rows, columns]: [&[char]; 3]) -> Result<(Tensor, bool)> {
    for (groups, turned) in [([shared, rows, columns], false), ([shared, columns, rows], true)] {
        if groups.concat() == axes {
            return Ok((x.clone(), turned));
        }
    }
    let order = [shared, rows, columns].concat();
    let order: Vec<usize> = order.iter().filter_map(|axis| axes.iter().position(|a| a == axis)).collect();
    Ok((permuted(run, x, &order)?, false))
}
