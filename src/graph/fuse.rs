//! Chains of a program's steps that become one step: [`RULES`] is the table.

mod neighbours;

use super::host::HostValue;
use super::ops::Op;
use super::ops::fused::{Active, Clip, LayerNorm, ScaleShift};
use super::{Program, Step};
use crate::kernels::function::Function;
use crate::kernels::pointwise::Grid;
use std::collections::HashMap;
use std::sync::Arc;
use tract_onnx::prelude::{DatumType, SymbolValues};

/// What a value has to be made by.
#[derive(Clone, Copy)]
enum Pattern {
    /// Any value; the same wherever the number is the same.
    X(usize),
    /// Any single known number; the same wherever the number is the same.
    N(usize),
    /// This number.
    Is(f64),
    /// An operator of tract's on these.
    By(&'static str, &'static [Pattern]),
    /// A clip between these.
    Within([f64; 2], &'static [Pattern]),
}
use Pattern::{By, Is, N, Within, X};

/// What stood for the numbered values of a pattern, and the steps of the chain, the last one first.
#[derive(Clone, Default)]
struct Found {
    x: [Option<usize>; 3],
    n: [Option<f64>; 3],
    chain: Vec<usize>,
}

type Made = Option<(Arc<dyn Op>, Vec<usize>)>;

/// A chain, and the step that it becomes with the values that this reads; `None` where the chain is another after all.
struct Rule(Pattern, fn(&Values, &Found) -> Made);

const SIXTH: f64 = 1. / 6.;
const HALF_ROOT: f64 = std::f64::consts::FRAC_1_SQRT_2;

macro_rules! by {
    ($operator:literal, $($input:expr),*) => {
        By($operator, const { &[$($input),*] })
    };
}

const GATE: Pattern = Within([0., 1.], &[by!("Add", by!("Mul", X(0), Is(SIXTH)), Is(0.5))]);
const GATE_OF_SIX: Pattern = Within([0., 6.], &[by!("Add", X(0), Is(3.))]);
/// `1 + erf(x/√2)`, both ways.
const TWICE: Pattern = by!("Add", by!("Erf", by!("Mul", X(0), Is(HALF_ROOT))), Is(1.));
const TWICE_DIVIDED: Pattern = by!("Add", by!("Erf", by!("Div", X(0), Is(std::f64::consts::SQRT_2))), Is(1.));
const CENTRED: Pattern = by!("Sub", X(0), by!("Div", by!("Reduce<Sum>", X(0)), N(0)));

/// A variance and what keeps it from zero, given the squares of [`CENTRED`].
macro_rules! variance {
    ($squares:expr) => {
        by!("Add", by!("Div", by!("Reduce<Sum>", $squares), N(0)), N(1))
    };
}

/// Chains before those that contain them as they are, and longer ones before those that are a part of them.
const RULES: [Rule; 18] = [
    Rule(by!("Min", by!("Max", X(0), N(0)), N(1)), |_, found| clip(found, found.n[0], found.n[1])),
    Rule(by!("Max", by!("Min", X(0), N(1)), N(0)), |_, found| clip(found, found.n[0], found.n[1])),
    Rule(by!("Max", X(0), N(0)), |_, found| clip(found, found.n[0], Some(f64::INFINITY))),
    Rule(by!("Min", X(0), N(0)), |_, found| clip(found, Some(f64::NEG_INFINITY), found.n[0])),
    Rule(by!("Mul", X(0), GATE), |_, found| active(found, Function::HardSwish)),
    Rule(by!("Mul", X(0), by!("Div", GATE_OF_SIX, Is(6.))), |_, found| active(found, Function::HardSwish)),
    Rule(by!("Div", by!("Mul", X(0), GATE_OF_SIX), Is(6.)), |_, found| active(found, Function::HardSwish)),
    Rule(Within([0., 1.], &[by!("Add", by!("Mul", X(0), N(0)), N(1))]), |_, found| {
        active(found, Function::HardSigmoid(found.n[0]?, found.n[1]?))
    }),
    Rule(by!("Mul", X(0), by!("Sigmoid", X(0))), |_, found| active(found, Function::Silu)),
    Rule(by!("Mul", by!("Mul", X(0), TWICE), Is(0.5)), |_, found| active(found, Function::Gelu)),
    Rule(by!("Mul", by!("Mul", X(0), Is(0.5)), TWICE), |_, found| active(found, Function::Gelu)),
    Rule(by!("Mul", X(0), by!("Mul", TWICE, Is(0.5))), |_, found| active(found, Function::Gelu)),
    Rule(by!("Mul", by!("Mul", X(0), TWICE_DIVIDED), Is(0.5)), |_, found| active(found, Function::Gelu)),
    Rule(by!("Mul", by!("Mul", X(0), Is(0.5)), TWICE_DIVIDED), |_, found| active(found, Function::Gelu)),
    Rule(by!("Mul", X(0), by!("Mul", TWICE_DIVIDED, Is(0.5))), |_, found| active(found, Function::Gelu)),
    Rule(
        by!("Add", by!("Mul", by!("Mul", CENTRED, by!("Rsqrt", variance!(by!("Square", CENTRED)))), X(1)), X(2)),
        layer_norm,
    ),
    Rule(
        by!("Add", by!("Mul", by!("Div", CENTRED, by!("Sqrt", variance!(by!("Pow", CENTRED, Is(2.))))), X(1)), X(2)),
        layer_norm,
    ),
    Rule(by!("Add", by!("Mul", X(0), X(1)), X(2)), scale_shift),
];

fn active(found: &Found, function: Function) -> Made {
    Some((Arc::new(Active(function)), vec![found.x[0]?]))
}

fn clip(found: &Found, low: Option<f64>, high: Option<f64>) -> Made {
    let clip = [low?, high?];
    (clip[0] < clip[1]).then_some((Arc::new(Clip(clip)), vec![found.x[0]?]))
}

/// Over the last axes, those that scale and bias have.
fn layer_norm(values: &Values, found: &Found) -> Made {
    let [x, scale, bias] = [found.x[0]?, found.x[1]?, found.x[2]?];
    let [shape, own] = [values.shape(x)?, values.shape(scale)?];
    let first = own.iter().position(|&size| size != 1)?;
    let ones = vec![1; first];
    let fits = own == [&ones[..], shape.get(first..)?].concat() && values.shape(bias)? == own;
    let width: usize = own.iter().product();
    let reduced = [&shape[..first], &vec![1; shape.len() - first]].concat();
    let steps = found.chain.iter().map(|&index| &values.program.steps[index]);
    let mut sums = steps.filter(|step| step.operator == "Reduce<Sum>");
    let fits = fits && sums.all(|step| values.shape(step.output).as_ref() == Some(&reduced));
    let op = LayerNorm { epsilon: found.n[1]? };
    (fits && found.n[0]? == width as f64).then(|| (Arc::new(op) as _, vec![x, scale, bias]))
}

/// One of the factors is as large as the sum; the other, and what is added, have one value a channel.
fn scale_shift(values: &Values, found: &Found) -> Made {
    let [a, b, t] = [found.x[0]?, found.x[1]?, found.x[2]?];
    let of = |x: usize, s: usize| {
        let [x_shape, s_shape, t_shape] = [values.shape(x)?, values.shape(s)?, values.shape(t)?];
        let grid = Grid::of(&x_shape, &s_shape)?;
        let small = s_shape == t_shape && s_shape != x_shape && grid.channels > 1;
        small.then(|| (Arc::new(ScaleShift(None)) as Arc<dyn Op>, vec![x, s, t]))
    };
    of(a, b).or_else(|| of(b, a))
}

/// What is known of a program's values.
struct Values<'a> {
    program: &'a Program,
    /// The step that makes each.
    makers: HashMap<usize, usize>,
    /// Single known numbers.
    numbers: HashMap<usize, f64>,
    /// How often each is read.
    readers: HashMap<usize, usize>,
}

impl<'a> Values<'a> {
    fn new(program: &'a Program, steps: &[Option<Step>]) -> Values<'a> {
        let number = |(value, host): &(usize, HostValue)| {
            let HostValue::Known(host) = host else { return None };
            let host = host.cast_to_dt(DatumType::F64).ok().filter(|host| host.len() == 1)?;
            Some((*value, *host.try_as_plain_ram().ok()?.as_slice::<f64>().ok()?.first()?))
        };
        let live = || steps.iter().enumerate().filter_map(|(index, step)| Some((index, step.as_ref()?)));
        let mut readers: HashMap<usize, usize> = HashMap::new();
        let read = live().flat_map(|(_, step)| step.inputs.iter().copied());
        read.chain(program.outputs.iter().map(|(_, value)| *value)).for_each(|v| *readers.entry(v).or_default() += 1);
        Values {
            program,
            makers: live().map(|(index, step)| (step.output, index)).collect(),
            numbers: program.hosts.iter().filter_map(number).collect(),
            readers,
        }
    }

    /// The shape for a few images.
    fn shape(&self, value: usize) -> Option<Vec<usize>> {
        let images = self.program.batch.unwrap_or(2);
        if value == 0 {
            let dims = self.program.port.dims.iter().skip(1).copied();
            return std::iter::once(Some(images)).chain(dims).collect();
        }
        if let Some(parameter) = self.program.parameters.get(value - 1) {
            return Some(parameter.shape.clone());
        }
        if let Some(&step) = self.makers.get(&value) {
            let symbols = SymbolValues::default().with(&self.program.symbol, images as i64);
            let dims = self.program.steps[step].shape.iter();
            return dims.map(|dim| usize::try_from(dim.eval(&symbols).to_i64().ok()?).ok()).collect();
        }
        let host = self.program.hosts.iter().find(|(number, _)| *number == value)?;
        if let HostValue::Known(host) = &host.1 { Some(host.shape().to_vec()) } else { None }
    }

    /// Whether `value` is made as the pattern says. Notes what stood for its numbers, and the steps of the chain.
    fn matches(&self, steps: &[Option<Step>], pattern: &Pattern, value: usize, found: &mut Found) -> bool {
        let (operator, inputs) = match *pattern {
            X(place) => return *found.x[place].get_or_insert(value) == value,
            N(place) => return self.numbers.get(&value).is_some_and(|&n| *found.n[place].get_or_insert(n) == n),
            Is(number) => return self.numbers.get(&value).is_some_and(|n| (n - number).abs() <= 1e-6 * number.abs()),
            By(operator, inputs) => (Some(operator), inputs),
            Within(_, inputs) => (None, inputs),
        };
        let Some((index, step)) = self.makers.get(&value).and_then(|&index| Some((index, steps[index].as_ref()?)))
        else {
            return false;
        };
        let fits = match *pattern {
            Within(bounds, _) => step.op.bounds() == Some(bounds),
            _ => operator == Some(step.operator.as_str()),
        };
        if !fits || step.inputs.len() != inputs.len() {
            return false;
        }
        let mut tried = found.clone();
        tried.chain.push(index);
        let turns = 1 + usize::from(matches!(operator, Some("Add" | "Mul" | "Min" | "Max")));
        let patterns: [Vec<&Pattern>; 2] = [inputs.iter().collect(), inputs.iter().rev().collect()];
        patterns[..turns].iter().any(|patterns| {
            let mut tried = tried.clone();
            let pairs = patterns.iter().zip(&step.inputs);
            let fits =
                pairs.fold(true, |fits, (pattern, &input)| fits && self.matches(steps, pattern, input, &mut tried));
            if fits {
                *found = tried;
            }
            fits
        })
    }

    /// Whether nobody else reads what the chain's steps, but for the last, make.
    fn is_closed(&self, steps: &[Option<Step>], chain: &[usize]) -> bool {
        let of_chain = || chain.iter().filter_map(|&index| steps[index].as_ref());
        let own = |value: usize| of_chain().flat_map(|step| &step.inputs).filter(|&&input| input == value).count();
        of_chain().skip(1).all(|step| self.readers.get(&step.output) == Some(&own(step.output)))
    }
}

/// The program with its chains as single steps.
pub(super) fn fused(mut program: Program) -> Program {
    let mut steps: Vec<Option<Step>> = program.steps.iter().cloned().map(Some).collect();
    for Rule(pattern, make) in &RULES {
        let values = Values::new(&program, &steps);
        for root in 0..steps.len() {
            let Some(output) = steps[root].as_ref().map(|step| step.output) else { continue };
            let mut found = Found::default();
            if !values.matches(&steps, pattern, output, &mut found) {
                continue;
            }
            // A chain may come to a step on two ways; the last one stays first.
            found.chain[1..].sort_unstable();
            found.chain.dedup();
            // None of them repeats its first value along an axis.
            let same_shape = found.x[0].and_then(|x| values.shape(x)) == values.shape(output);
            let turned = matches!(pattern, By("Add", _));
            if values.is_closed(&steps, &found.chain)
                && (same_shape || turned)
                && let Some((op, inputs)) = make(&values, &found)
            {
                join(&mut steps, &found.chain, op, inputs);
            }
        }
    }
    neighbours::pads(&program, &mut steps);
    neighbours::activations(&program, &mut steps);
    program.steps = steps.into_iter().flatten().collect();
    program.set_ends();
    program
}

/// Makes a chain of steps, the last one first, one step.
fn join(steps: &mut [Option<Step>], chain: &[usize], op: Arc<dyn Op>, inputs: Vec<usize>) {
    let (last, others) = (chain[0], &chain[1..]);
    let names: Vec<String> = others.iter().filter_map(|&index| Some(steps[index].take()?.operator)).collect();
    if let Some(step) = &mut steps[last] {
        step.operator = names.into_iter().chain([step.operator.clone()]).collect::<Vec<_>>().join("+");
        (step.op, step.inputs) = (op, inputs);
    }
}
