//! Functions of one value at a time.

use super::fused::Active;
use super::{Family, Keeps, Kept, Lowered, Node, Op, Run, elsewhere, first};
use crate::kernels::function::Function as Kernel;
use crate::tensor::{DType, Result, Tensor};
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::nn::LeakyRelu;
use tract_onnx::tract_core::ops::nn::gelu_approximate::GeluApproximate;

type Function = fn(&Tensor) -> Result<Tensor>;

#[derive(Clone, Copy)]
enum Derivative {
    /// From the input.
    X(Function),
    /// From the output.
    Y(Function),
    /// Zero wherever it exists.
    Zero,
}
use Derivative::{X, Y, Zero};

const TABLE: [(&str, Function, Derivative); 28] = [
    ("Abs", Tensor::abs, X(Tensor::sign)),
    ("Acos", |x| map(x, "acos", f64::acos), X(|x| one_minus_square(x)?.sqrt()?.recip()?.neg())),
    ("Acosh", |x| map(x, "acosh", f64::acosh), X(|x| one_minus_square(x)?.neg()?.sqrt()?.recip())),
    ("Asin", |x| map(x, "asin", f64::asin), X(|x| one_minus_square(x)?.sqrt()?.recip())),
    ("Asinh", |x| map(x, "asinh", f64::asinh), X(|x| (x.sqr()? + 1.)?.sqrt()?.recip())),
    ("Atan", |x| map(x, "atan", f64::atan), X(|x| (x.sqr()? + 1.)?.recip())),
    ("Atanh", |x| map(x, "atanh", f64::atanh), X(|x| one_minus_square(x)?.recip())),
    ("Ceil", Tensor::ceil, Zero),
    ("Cos", Tensor::cos, X(|x| x.sin()?.neg())),
    ("Cosh", cosh, X(sinh)),
    ("Erf", Tensor::erf, X(|x| x.sqr()?.neg()?.exp()? * std::f64::consts::FRAC_2_SQRT_PI)),
    ("Exp", Tensor::exp, Y(|y| Ok(y.clone()))),
    ("Floor", Tensor::floor, Zero),
    ("GeluApproximate", gelu, X(gelu_slope)),
    ("IsNan", |x| x.ne(x)?.to_dtype(x.dtype()), Zero),
    ("Ln", Tensor::log, X(Tensor::recip)),
    ("Neg", Tensor::neg, Y(|y| y.ones_like()?.neg())),
    ("Not", |x| x.affine(-1., 1.), Zero),
    ("Recip", Tensor::recip, Y(|y| y.sqr()?.neg())),
    ("RoundHalfToEven", round_half_to_even, Zero),
    ("Rsqrt", |x| x.sqrt()?.recip(), Y(|y| (y.sqr()? * y)? * -0.5)),
    ("Sign", Tensor::sign, Zero),
    ("Sin", Tensor::sin, X(Tensor::cos)),
    ("Sinh", sinh, X(cosh)),
    // Steep, but not infinite at 0: the deviation of values that are all alike would have no slope that is a number.
    ("Sqrt", Tensor::sqrt, Y(|y| y.affine(1., 1e-20)?.recip()? * 0.5)),
    ("Square", Tensor::sqr, X(|x| x * 2.)),
    ("Tan", |x| x.sin()? / x.cos()?, Y(|y| y.sqr()? + 1.)),
    ("Tanh", Tensor::tanh, Y(|y| y.sqr()?.affine(-1., 1.))),
];

pub(super) const FAMILY: Family = Family {
    operators: &[
        "Abs",
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "Ceil",
        "Cos",
        "Cosh",
        "Erf",
        "Exp",
        "Floor",
        "GeluApproximate",
        "HardSwish",
        "IsNan",
        "Ln",
        "Neg",
        "Not",
        "Recip",
        "RoundHalfToEven",
        "Rsqrt",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Sqrt",
        "Square",
        "Tan",
        "Tanh",
        "LeakyRelu",
    ],
    lower,
    parsers: &[],
};

fn lower(node: &Node) -> Option<Lowered> {
    let op = node.op::<ElementWiseOp>()?;
    if let Some(leaky) = op.0.downcast_ref::<LeakyRelu>() {
        return Some(first(Leaky(leaky.alpha.into())));
    }
    if op.0.downcast_ref::<GeluApproximate>().is_some_and(|gelu| gelu.fast_impl) {
        return None;
    }
    let name = op.0.name();
    match &*name {
        "HardSwish" => return Some(first(Active(Kernel::HardSwish))),
        "Sigmoid" => return Some(first(Active(Kernel::Sigmoid))),
        _ => {}
    }
    let &(_, function, derivative) = TABLE.iter().find(|(known, ..)| *known == name)?;
    Some(first(Unary { function, derivative }))
}

struct Unary {
    function: Function,
    derivative: Derivative,
}

impl Op for Unary {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        (self.function)(inputs[0])
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        match self.derivative {
            X(_) => Keeps::inputs(&[true]),
            Y(_) => Keeps::output(1),
            Zero => Keeps::nothing(1),
        }
    }

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let slope = match self.derivative {
            X(slope) => slope(kept.input(0)?)?,
            Y(slope) => slope(kept.output()?)?,
            Zero => return Ok(vec![None]),
        };
        Ok(vec![Some((grad * slope)?)])
    }
}

/// `x` where positive, else `alpha · x`.
struct Leaky(f64);

impl Op for Leaky {
    fn forward(&self, _: &Run, inputs: &[&Tensor]) -> Result<Tensor> {
        inputs[0].relu()? - (inputs[0].neg()?.relu()? * self.0)?
    }

    fn keeps(&self, _: &[bool]) -> Keeps {
        Keeps::inputs(&[true])
    }

    fn backward(&self, _: &Run, kept: &Kept, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let positive = kept.input(0)?.gt(0.)?.to_dtype(grad.dtype())?;
        Ok(vec![Some((grad * positive.affine(1. - self.0, self.0)?)?)])
    }
}

const GELU: f64 = 0.044715;

/// `tanh(√(2/π) · (x + 0.044715·x³))`
fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    let cube = x.sqr()?.affine(GELU, 1.)?;
    ((x * cube)? * (2. / std::f64::consts::PI).sqrt())?.tanh()
}

fn gelu(x: &Tensor) -> Result<Tensor> {
    x * gelu_tanh(x)?.affine(0.5, 0.5)?
}

fn gelu_slope(x: &Tensor) -> Result<Tensor> {
    let tanh = gelu_tanh(x)?;
    let inner = (x.sqr()?.affine(3. * GELU, 1.)? * (2. / std::f64::consts::PI).sqrt())?;
    let bent = (tanh.sqr()?.affine(-0.5, 0.5)? * x)?;
    tanh.affine(0.5, 0.5)? + (bent * inner)?
}

fn round_half_to_even(x: &Tensor) -> Result<Tensor> {
    let half = (x - x.floor()?)?.eq(0.5)?;
    half.where_cond(&(x.affine(0.5, 0.)?.round()? * 2.)?, &x.round()?)
}

fn cosh(x: &Tensor) -> Result<Tensor> {
    (x.exp()? + x.neg()?.exp()?)? * 0.5
}

fn sinh(x: &Tensor) -> Result<Tensor> {
    (x.exp()? - x.neg()?.exp()?)? * 0.5
}

/// What candle has no function for.
fn map(x: &Tensor, _name: &str, function: fn(f64) -> f64) -> Result<Tensor> {
    elsewhere!(x, super::gpu::named(x, _name));
    let values = x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let values = values.into_iter().map(function).collect();
    Tensor::from_vec(values, x.shape(), x.device())?.to_dtype(x.dtype())
}

fn one_minus_square(x: &Tensor) -> Result<Tensor> {
    x.sqr()?.affine(-1., 1.)
}
