//! Values picked by their places: gathering and scattering at places that may be computed, triangles, the largest values.
//!
//! Each output is one value of the inputs, or 0. Forwards the values are read at these places, backwards the gradients
//! are added up there; what differs between the operators is which places.

use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, first, give_back, take, whole};
use crate::tensor::{DType, Result, Tensor};
use tract_onnx::tract_core::ops::array::{
    GatherElements, GatherNd, ScatterElements, ScatterNd, ScatterReduction, Topk, Trilu,
};

pub(super) const FAMILY: Family = Family {
    operators: &["GatherElements", "GatherNd", "ScatterElements", "ScatterNd", "Topk", "Trilu"],
    lower,
    parsers: &[],
};

fn lower(node: &Node) -> Option<Lowered> {
    if let Some(op) = node.op::<GatherElements>() {
        return Some(whole(node, Pick::ByElement { axis: op.axis }));
    }
    if let Some(op) = node.op::<GatherNd>() {
        return Some(whole(node, Pick::ByCoordinates { batch: op.batch_dims }));
    }
    if let Some(op) = node.op::<ScatterNd>() {
        return Some(plain(op.reduction).and_then(|()| whole(node, Pick::Written)));
    }
    if let Some(op) = node.op::<ScatterElements>() {
        return Some(plain(op.reduction).and_then(|()| whole(node, Pick::WrittenByElement { axis: op.axis })));
    }
    if let Some(op) = node.op::<Trilu>() {
        return Some(lower_triangle(node, op.upper));
    }
    node.op::<Topk>().map(|op| lower_largest(node, op))
}

fn plain(reduction: ScatterReduction) -> std::result::Result<(), String> {
    if reduction == ScatterReduction::None {
        Ok(())
    } else {
        Err("it combines with the values that are there (its reduction), which training cannot do".into())
    }
}

fn lower_triangle(node: &Node, upper: bool) -> Lowered {
    let offset = node.integers(1, "diagonal")?.first().copied().unwrap_or(0);
    first(Pick::Triangle { upper, offset })
}

fn lower_largest(node: &Node, op: &Topk) -> Lowered {
    let count = node.integers(1, "number of values")?.first().copied().unwrap_or(0);
    let count = usize::try_from(count).map_err(|_| format!("it takes {count} values"))?;
    let best = Best { axis: op.axis, count, largest: op.largest };
    if node.slot == 0 { first(Pick::Best(best)) } else { first(best) }
}

/// Gathering whole rows at computed places; `axis` becomes the axes of the places.
pub(super) fn gather(node: &Node, axis: usize) -> Lowered {
    whole(node, Pick::Rows { axis })
}

/// Which places are picked. Inputs: the values; the places as numbers; and where values are written, those.
enum Pick {
    Rows { axis: usize },
    ByElement { axis: usize },
    ByCoordinates { batch: usize },
    Written,
    WrittenByElement { axis: usize },
    Triangle { upper: bool, offset: i64 },
    Best(Best),
}

/// The first `count` places of an axis when its values are put in order.
struct Best {
    axis: usize,
    count: usize,
    largest: bool,
}

/// An output's shape, and for each of its values the place in what is picked from.
type Places = (Vec<usize>, Vec<u32>);

/// An output's shape, and for each of its values the place along the axis and in the whole.
type Ranked = (Vec<usize>, Vec<(usize, u32)>);

fn numbers(x: &Tensor) -> Result<Vec<f64>> {
    x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// The distance between neighbours along each axis.
fn steps(shape: &[usize]) -> Vec<usize> {
    let mut steps = vec![1; shape.len()];
    (1..shape.len()).rev().for_each(|axis| steps[axis - 1] = steps[axis] * shape[axis]);
    steps
}

fn at(place: f64, length: usize) -> Result<usize> {
    let from_start = if place < 0. { place + length as f64 } else { place };
    if from_start >= 0. && from_start < length as f64 {
        return Ok(from_start as usize);
    }
    candle_core::bail!("place {place} of an axis of length {length}")
}

/// The places in `x` at which `index`, of as many axes, points along `axis`.
fn elements(x: &[usize], index: &Tensor, axis: usize) -> Result<Places> {
    let shape = index.dims().to_vec();
    let fits = shape.len() == x.len() && shape.iter().zip(x).enumerate().all(|(i, (a, b))| i == axis || a <= b);
    if !fits {
        candle_core::bail!("places of shape {shape:?} meet values of shape {x:?}");
    }
    let (own, theirs) = (steps(&shape), steps(x));
    let place = |(i, value): (usize, f64)| {
        let along = |a: usize| if a == axis { at(value, x[a]) } else { Ok(i / own[a] % shape[a]) };
        (0..shape.len()).map(|a| Ok(along(a)? * theirs[a])).sum::<Result<usize>>().map(|place| place as u32)
    };
    let places = numbers(index)?.into_iter().enumerate().map(place).collect::<Result<_>>()?;
    Ok((shape, places))
}

/// The places of the blocks that the rows of `index` point at, behind `batch` axes that both share.
fn coordinates(x: &[usize], index: &Tensor, batch: usize) -> Result<Places> {
    let Some((&depth, outer)) = index.dims().split_last() else { candle_core::bail!("places without an axis") };
    if batch + depth > x.len() || outer.len() < batch || outer[..batch] != x[..batch] {
        candle_core::bail!("places of shape {:?} meet values of shape {x:?}", index.dims());
    }
    let (steps, block) = (steps(x), x[batch + depth..].iter().product::<usize>());
    let rows: usize = outer.iter().product();
    let per_batch = outer[batch..].iter().product::<usize>().max(1);
    let whole = x[batch..].iter().product::<usize>();
    let (values, mut places) = (numbers(index)?, Vec::with_capacity(rows * block));
    for row in 0..rows {
        let along = |a: usize| Ok(at(values[row * depth + a], x[batch + a])? * steps[batch + a]);
        let start = (0..depth).map(along).sum::<Result<usize>>()? + row / per_batch * whole;
        places.extend((start..start + block).map(|place| place as u32));
    }
    Ok(([outer, &x[batch + depth..]].concat(), places))
}

/// The values of `x`, but at `targets` those that stand behind them in order.
fn written(x: &[usize], targets: &[u32], updates: usize) -> Result<Places> {
    let count: usize = x.iter().product();
    if targets.len() != updates {
        candle_core::bail!("{updates} values are written to {} places", targets.len());
    }
    let mut places: Vec<u32> = (0..count as u32).collect();
    targets.iter().enumerate().for_each(|(i, &target)| places[target as usize] = (count + i) as u32);
    Ok((x.to_vec(), places))
}

impl Best {
    /// For each output the place along the axis, and in the whole.
    fn places(&self, x: &Tensor) -> Result<Ranked> {
        let mut shape = x.dims().to_vec();
        let (length, step) = (shape[self.axis], steps(&shape)[self.axis]);
        if self.count > length {
            candle_core::bail!("{} values are taken of {length}", self.count);
        }
        let values = numbers(x)?;
        shape[self.axis] = self.count;
        let mut places = vec![(0, 0); shape.iter().product()];
        for (line, start) in (0..values.len()).filter(|i| i / step % length == 0).enumerate() {
            let mut order: Vec<usize> = (0..length).collect();
            let value = |at: usize| values[start + at * step];
            // Equal values stay in order.
            order.sort_by(|&a, &b| {
                let (a, b) = if self.largest { (b, a) } else { (a, b) };
                value(a).total_cmp(&value(b))
            });
            for (rank, &at) in order[..self.count].iter().enumerate() {
                let place = line / step * step * self.count + line % step + rank * step;
                places[place] = (at, (start + at * step) as u32);
            }
        }
        Ok((shape, places))
    }
}

impl Op for Best {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let (shape, places) = self.places(inputs[0])?;
        let along: Vec<f64> = places.iter().map(|&(at, _)| at as f64).collect();
        Tensor::from_vec(along, shape, inputs[0].device())?.to_dtype(inputs[0].dtype())
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::nothing(1)
    }

    fn backward(&self, _: &Run, _: &Kept, _: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}

impl Pick {
    /// Which inputs hold values.
    fn sources(&self) -> &'static [usize] {
        match self {
            Pick::Written | Pick::WrittenByElement { .. } => &[0, 2],
            _ => &[0],
        }
    }

    /// Which input says the places.
    fn index(&self) -> Option<usize> {
        match self {
            Pick::Triangle { .. } => None,
            Pick::Best(_) => Some(0),
            _ => Some(1),
        }
    }

    /// The places among the sources' values, one source behind the other; behind them all stands a 0.
    fn places(&self, shapes: &[&[usize]], index: Option<&Tensor>) -> Result<Places> {
        let x = shapes[0];
        let index = || index.ok_or_else(|| candle_core::Error::msg("the places were not kept"));
        match self {
            Pick::Rows { axis } => {
                let (index, block) = (index()?, x[axis + 1..].iter().product::<usize>());
                let rows = numbers(index)?.into_iter().map(|place| at(place, x[*axis])).collect::<Result<Vec<_>>>()?;
                let before: usize = x[..*axis].iter().product();
                let starts = (0..before).flat_map(|line| rows.iter().map(move |row| (line * x[*axis] + row) * block));
                let places = starts.flat_map(|start| (start..start + block).map(|place| place as u32)).collect();
                Ok(([&x[..*axis], index.dims(), &x[axis + 1..]].concat(), places))
            }
            Pick::ByElement { axis } => elements(x, index()?, *axis),
            Pick::ByCoordinates { batch } => coordinates(x, index()?, *batch),
            Pick::Written => written(x, &coordinates(x, index()?, 0)?.1, shapes[2].iter().product()),
            Pick::WrittenByElement { axis } => written(x, &elements(x, index()?, *axis)?.1, shapes[2].iter().product()),
            Pick::Triangle { upper, offset } => {
                let [.., rows, columns] = *x else { candle_core::bail!("a triangle of shape {x:?}") };
                let count = x.iter().product::<usize>();
                let kept = |i: usize| {
                    let (row, column) = ((i / columns % rows) as i64, (i % columns) as i64);
                    let diagonal = row.saturating_add(*offset);
                    if *upper { column >= diagonal } else { column <= diagonal }
                };
                Ok((x.to_vec(), (0..count).map(|i| if kept(i) { i } else { count } as u32).collect()))
            }
            Pick::Best(best) => {
                let (shape, places) = best.places(index()?)?;
                Ok((shape, places.into_iter().map(|(_, place)| place).collect()))
            }
        }
    }
}

impl Op for Pick {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|input| input.dims()).collect();
        let (shape, places) = self.places(&shapes, self.index().map(|index| inputs[index]))?;
        let x = inputs[0];
        let mut values =
            self.sources().iter().map(|&source| inputs[source].flatten_all()).collect::<Result<Vec<_>>>()?;
        values.push(Tensor::zeros(1, x.dtype(), x.device())?);
        take(&Tensor::cat(&values, 0)?, 0, &places)?.reshape(shape)
    }

    fn keeps(&self, wanted: &[bool]) -> Keeps {
        let mut keeps = Keeps::nothing(wanted.len());
        self.index().into_iter().for_each(|index| keeps.inputs[index] = true);
        keeps
    }

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let index = self.index().map(|index| kept.input(index)).transpose()?;
        let (_, places) = self.places(&kept.shapes, index)?;
        let counts = self.sources().iter().map(|&source| kept.shapes[source].iter().product::<usize>());
        let sum = give_back(&grad.flatten_all()?, 0, &places, counts.sum::<usize>() + 1)?;
        let (mut grads, mut start) = (vec![None; kept.shapes.len()], 0);
        for &source in self.sources() {
            let count: usize = kept.shapes[source].iter().product();
            grads[source] = Some(sum.narrow(0, start, count)?.reshape(kept.shapes[source])?);
            start += count;
        }
        Ok(grads)
    }
}
