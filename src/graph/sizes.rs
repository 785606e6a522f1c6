//! Shapes and the whole numbers that they are made of, as far as [bounds](super::bounds) have to know them.

mod layers;

use crate::onnx::schema::{AttributeProto, NodeProto, TensorProto, data_type};
use crate::onnx::tensor::{floats, int64s};

/// Tensors of more values than this are no shapes.
const SMALL: i64 = 64;

/// More axes than this are not followed.
const AXES: usize = 16;

/// What is known of a value.
#[derive(Clone, Default)]
pub(super) struct Value {
    pub(super) shape: Option<Vec<i64>>,
    /// Whole numbers, of a small tensor.
    pub(super) numbers: Option<Vec<i64>>,
    /// Scales that are stored, in 2¹⁶ths.
    pub(super) scales: Option<Vec<i64>>,
    /// Whether the image has no part in it: then an importer may compute it.
    pub(super) fixed: bool,
    /// Whether there are more values than in what it was made of; or than in what that was made of, and so on.
    pub(super) swollen: bool,
}

impl Value {
    pub(super) fn of_shape(shape: Option<Vec<i64>>) -> Value {
        Value { shape: shape.filter(|shape| shape.len() <= AXES), ..Value::default() }
    }

    /// An input that is left out.
    pub(super) fn missing() -> Value {
        Value { fixed: true, ..Value::default() }
    }

    fn with(shape: Option<Vec<i64>>, numbers: Option<Vec<i64>>) -> Value {
        Value { numbers, ..Value::of_shape(shape) }
    }
}

pub(super) fn count(shape: &[i64]) -> i64 {
    shape.iter().fold(1i64, |n, &d| n.saturating_mul(d.max(0)))
}

/// How many values there would be if no axis were empty: importers walk along the others of an empty tensor all the same.
pub(super) fn extent(shape: &[i64]) -> i64 {
    shape.iter().fold(1i64, |n, &d| n.saturating_mul(d.max(1)))
}

/// What is known of a stored tensor.
pub(super) fn stored(tensor: &TensorProto) -> Value {
    let small = count(&tensor.dims) <= SMALL;
    let scales = || Some(floats(tensor)?.into_iter().map(|v| (v * 65536.) as i64).collect());
    let (numbers, scales) = (small.then(|| int64s(tensor)).flatten(), small.then(scales).flatten());
    Value { scales, fixed: true, ..Value::with(Some(tensor.dims.clone()), numbers) }
}

/// The shape that operands have together; `None` where one's is not known.
fn broadcast(inputs: &[Value]) -> Option<Vec<i64>> {
    let mut all: Vec<i64> = Vec::new();
    for input in inputs {
        let shape = input.shape.as_ref()?;
        while all.len() < shape.len() {
            all.insert(0, 1);
        }
        let behind = all.len() - shape.len();
        // A single row repeats as often as there are others, also not at all.
        let others = all[behind..].iter_mut().zip(shape).filter(|(_, d)| **d != 1);
        others.for_each(|(all, &d)| *all = if *all == 1 { d } else { (*all).max(d) });
    }
    Some(all)
}

/// They give of each value another one.
#[rustfmt::skip]
const SAME: [&str; 28] = [
    "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Neg", "Abs", "Clip", "Softmax", "Erf", "Floor", "Ceil", "Reciprocal",
    "Sin", "Cos", "Not", "BatchNormalization", "InstanceNormalization", "LeakyRelu", "PRelu", "HardSwish", "HardSigmoid",
    "Elu", "Gelu", "Mish", "Softplus", "Dropout",
];

/// What is known of a node's first output.
pub(super) fn output(node: &NodeProto, inputs: &[Value]) -> Value {
    let of_shape = Value::of_shape;
    let (shape, numbers) = (|i: usize| inputs.get(i)?.shape.clone(), |i: usize| inputs.get(i)?.numbers.clone());
    match node.op_type() {
        "Constant" => constant(node),
        "Shape" => {
            let dims = shape(0).filter(|_| node.attr("start").is_none() && node.attr("end").is_none());
            Value::with(dims.as_ref().map(|dims| vec![dims.len() as i64]), dims)
        }
        "Size" => Value::with(Some(vec![]), shape(0).map(|dims| vec![count(&dims)])),
        "ConstantOfShape" => {
            let value =
                node.attr("value").and_then(|a| a.t.as_ref()).map(stored).and_then(|v| v.numbers?.first().copied());
            let dims = numbers(0);
            let filled = dims.as_ref().filter(|dims| count(dims) <= SMALL);
            let filled = filled.map(|dims| vec![value.unwrap_or(0); count(dims) as usize]);
            Value::with(dims, filled)
        }
        // Of a shape that is not known the sizes alone are a bound from below.
        "Expand" => {
            let target = of_shape(numbers(1));
            of_shape(inputs.first().and_then(|x| broadcast(&[x.clone(), target])).or_else(|| numbers(1)))
        }
        "Tile" => of_shape(scaled(shape(0), numbers(1), i64::saturating_mul).or_else(|| numbers(1))),
        "HannWindow" | "HammingWindow" | "BlackmanWindow" => of_shape(numbers(0)),
        "Upsample" | "Resize" => resized(node, inputs),
        "Pad" => of_shape(padded(node, shape(0), numbers(1))),
        "Range" => {
            let range = || {
                let (from, to, step) = (*numbers(0)?.first()?, *numbers(1)?.first()?, *numbers(2)?.first()?);
                let steps = to.checked_sub(from)?.checked_div(step)?.max(0).saturating_add(1);
                Some(vec![steps])
            };
            of_shape(range())
        }
        "OneHot" => {
            let depth = numbers(1).and_then(|depth| depth.first().copied());
            of_shape(depth.map(|depth| shape(0).unwrap_or_default().into_iter().chain([depth]).collect()))
        }
        "Concat" => concat(node, inputs),
        "Gather" => gathered(node, inputs),
        "MatMul" => of_shape(shape(0).zip(shape(1)).and_then(|(a, b)| product(&a, &b))),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Max" | "Min" | "Where" | "Equal" | "Mod" | "And" | "Or" | "Less"
        | "Greater" | "Sum" | "Mean" => Value::with(broadcast(inputs), arithmetic(node, inputs)),
        "Conv" => of_shape(shape(0).zip(shape(1)).and_then(|(x, w)| windows(node, &x, w.get(2..)?, *w.first()?))),
        "MaxPool" | "AveragePool" | "LpPool" => of_shape(
            shape(0).zip(node.attr("kernel_shape")).and_then(|(x, kernel)| windows(node, &x, &kernel.ints, *x.get(1)?)),
        ),
        "Identity" => inputs.first().cloned().unwrap_or_default(),
        "Transpose" if shape(0).is_some_and(|dims| dims.len() < 2) => inputs.first().cloned().unwrap_or_default(),
        "Cast" => {
            let whole = [data_type::INT64, data_type::INT32].contains(&(node.int("to", 0) as i32));
            Value::with(shape(0), numbers(0).filter(|_| whole))
        }
        // Where a tensor stands for a shape its own axes do not matter, only how many values it has.
        "Reshape" => Value::with(layers::reshaped(node, shape(0), numbers(1)), numbers(0)),
        "Transpose" => of_shape(layers::transposed(node, shape(0))),
        "Flatten" => of_shape(layers::flattened(node, shape(0))),
        "Gemm" => of_shape(layers::gemm(node, shape(0), shape(1))),
        "Einsum" => of_shape(layers::einsum(node, inputs)),
        "ConvTranspose" => of_shape(layers::grown(node, shape(0), shape(1))),
        "GlobalAveragePool" | "GlobalMaxPool" => of_shape(
            shape(0).map(|x| x.into_iter().enumerate().map(|(axis, d)| if axis < 2 { d } else { 1 }).collect()),
        ),
        operator if operator.starts_with("Reduce") => of_shape(layers::reduced(node, shape(0), inputs.get(1))),
        "Unsqueeze" | "Squeeze" => Value::with(numbers(0).map(|numbers| vec![numbers.len() as i64]), numbers(0)),
        operator if SAME.contains(&operator) => of_shape(shape(0)),
        _ => Value::default(),
    }
}

fn constant(node: &NodeProto) -> Value {
    let numbers = |a: &AttributeProto| match a.name() {
        "value" => a.t.as_ref().map(stored),
        "value_int" => Some(Value::with(Some(vec![]), a.i.map(|i| vec![i]))),
        "value_ints" => Some(Value::with(Some(vec![a.ints.len() as i64]), Some(a.ints.clone()))),
        _ => None,
    };
    node.attribute.iter().find_map(numbers).unwrap_or_default()
}

fn scaled(shape: Option<Vec<i64>>, by: Option<Vec<i64>>, size: impl Fn(i64, i64) -> i64) -> Option<Vec<i64>> {
    let (shape, by) = (shape?, by?);
    (shape.len() == by.len()).then(|| shape.iter().zip(&by).map(|(&d, &n)| size(d, n)).collect())
}

fn resized(node: &NodeProto, inputs: &[Value]) -> Value {
    let numbers = |i: usize| inputs.get(i).and_then(|input| input.numbers.clone()).filter(|n| !n.is_empty());
    let scales = inputs.get(if inputs.len() > 2 { 2 } else { 1 }).and_then(|input| input.scales.clone());
    let scales = scales.filter(|scales| !scales.is_empty());
    let shape = inputs.first().and_then(|x| x.shape.clone());
    // With axes of its own it resizes as many as it names: the sizes alone are a bound from below.
    let sizes = numbers(3).or_else(|| {
        let axes = node.attr("axes").is_some();
        let shape = if axes { scales.as_ref().map(|s| vec![1; s.len()]) } else { shape };
        scaled(shape, scales, |size, scale| ((i128::from(size) * i128::from(scale)) >> 16).min(1 << 62) as i64)
    });
    Value::of_shape(sizes)
}

/// An attribute of so many whole numbers, or as many times the default.
fn list(node: &NodeProto, name: &str, default: i64, length: usize) -> Vec<i64> {
    let given = node.attr(name).map(|a| a.ints.clone()).filter(|ints| ints.len() == length);
    given.unwrap_or_else(|| vec![default; length])
}

/// An axis that may be counted from the end.
fn from_front(axis: i64, shape: &[i64]) -> i64 {
    if axis < 0 { axis + shape.len() as i64 } else { axis }
}

/// What windows over a map of known size give: sizes that are open count as 1, and tell nothing. `ceil_mode` is not followed:
/// it makes one row and column more at most.
fn windows(node: &NodeProto, x: &[i64], kernel: &[i64], channels: i64) -> Option<Vec<i64>> {
    let (sides, count) = (x.get(2..)?, kernel.len());
    if sides.len() != count || sides.iter().any(|&side| side < 2) {
        return None;
    }
    let list = |name: &str, default: i64, length: usize| list(node, name, default, length);
    let (strides, dilations, pads) =
        (list("strides", 1, count), list("dilations", 1, count), list("pads", 0, 2 * count));
    let same = node.attr("auto_pad").is_some_and(|kind| kind.s().starts_with(b"SAME"));
    let side = |i: usize| {
        let reach = dilations[i].saturating_mul(kernel[i].saturating_sub(1)).saturating_add(1);
        let width = sides[i].saturating_add(pads[i]).saturating_add(pads[count + i]);
        let steps = if same { sides[i].saturating_sub(1) } else { width.saturating_sub(reach) };
        Some(steps.checked_div(strides[i])?.max(0).saturating_add(1))
    };
    let sides = (0..count).map(side).collect::<Option<Vec<i64>>>()?;
    Some([x[0], channels].into_iter().chain(sides).collect())
}

fn padded(node: &NodeProto, shape: Option<Vec<i64>>, pads: Option<Vec<i64>>) -> Option<Vec<i64>> {
    let pads = pads.or_else(|| node.attr("pads").map(|a| a.ints.clone()))?;
    let widest = pads.iter().fold(0i64, |sum, pad| sum.saturating_add((*pad).max(0)));
    let mut shape = shape.unwrap_or_default();
    if shape.len() * 2 == pads.len() {
        let both = pads[..shape.len()].iter().zip(&pads[shape.len()..]);
        shape.iter_mut().zip(both).for_each(|(d, (a, b))| *d = d.saturating_add(*a).saturating_add(*b));
        return Some(shape);
    }
    // With axes of its own: no less than this.
    Some(vec![widest])
}

fn concat(node: &NodeProto, inputs: &[Value]) -> Value {
    let numbers: Option<Vec<Vec<i64>>> = inputs.iter().map(|input| input.numbers.clone()).collect();
    let numbers = numbers.map(|parts| parts.concat()).filter(|all| all.len() as i64 <= SMALL);
    let joined = || {
        let mut shape = inputs.first()?.shape.clone()?;
        let axis = usize::try_from(from_front(node.int("axis", 0), &shape)).ok()?;
        let lengths = inputs.iter().map(|input| input.shape.as_ref()?.get(axis).copied());
        let length = lengths.collect::<Option<Vec<i64>>>()?.into_iter().fold(0i64, i64::saturating_add);
        *shape.get_mut(axis)? = length;
        Some(shape)
    };
    Value::with(joined(), numbers)
}

fn gathered(node: &NodeProto, inputs: &[Value]) -> Value {
    let [data, places] = inputs else { return Value::default() };
    let (Some(shape), Some(of_places)) = (&data.shape, &places.shape) else { return Value::default() };
    if shape.len() == 1 {
        let picked = || {
            let all = data.numbers.as_ref()?;
            let at = |&i: &i64| all.get(if i < 0 { i + all.len() as i64 } else { i } as usize).copied();
            places.numbers.as_ref()?.iter().map(at).collect::<Option<Vec<_>>>()
        };
        return Value::with(Some(of_places.clone()), picked());
    }
    // The axis that is picked from is at least 1 long.
    let axis = from_front(node.int("axis", 0), shape);
    let rest = shape.iter().enumerate().filter(|(i, _)| *i as i64 != axis).map(|(_, &d)| d);
    Value::of_shape(Some(rest.chain(of_places.iter().copied()).collect()))
}

fn product(a: &[i64], b: &[i64]) -> Option<Vec<i64>> {
    let ([a_batch @ .., rows, _], [b_batch @ .., _, columns]) = (a, b) else { return None };
    let batch = |dims: &[i64]| Value::of_shape(Some(dims.to_vec()));
    let mut shape = broadcast(&[batch(a_batch), batch(b_batch)])?;
    shape.extend([*rows, *columns]);
    Some(shape)
}

/// Sums and products of shapes; one number stands for as many as there are.
fn arithmetic(node: &NodeProto, inputs: &[Value]) -> Option<Vec<i64>> {
    let [a, b] = inputs else { return None };
    let (a, b) = (a.numbers.as_ref()?, b.numbers.as_ref()?);
    let length = a.len().max(b.len());
    let at = |of: &[i64], i: usize| of.get(if of.len() == 1 { 0 } else { i }).copied();
    let one = |i: usize| {
        let (a, b) = (at(a, i)?, at(b, i)?);
        match node.op_type() {
            "Add" => Some(a.saturating_add(b)),
            "Sub" => Some(a.saturating_sub(b)),
            "Mul" => Some(a.saturating_mul(b)),
            "Div" => a.checked_div(b),
            "Max" => Some(a.max(b)),
            "Min" => Some(a.min(b)),
            _ => None,
        }
    };
    (0..length).map(one).collect()
}
