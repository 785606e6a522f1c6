//! Steps that become part of the one beside them.

use super::{Values, join};
use crate::graph::ops::Op;
use crate::graph::ops::fused::AddClip;
use crate::graph::{Program, Step};
use std::sync::Arc;

/// Zeros around a map become part of the window that reads it, where nobody else does: exporters of TensorFlow's models
/// write its asymmetric padding so.
pub(super) fn pads(program: &Program, steps: &mut [Option<Step>]) {
    let values = Values::new(program, steps);
    for index in 0..steps.len() {
        let Some(input) = steps[index].as_ref().and_then(|step| step.inputs.first().copied()) else { continue };
        let Some(&maker) = values.makers.get(&input).filter(|_| values.readers.get(&input) == Some(&1)) else {
            continue;
        };
        let (Some(window), Some(pad)) = (&steps[index], &steps[maker]) else { continue };
        if let Some(op) = pad.op.zeros().and_then(|pads| window.op.padded(pads)) {
            let inputs = [&pad.inputs[..1], &window.inputs[1..]].concat();
            join(steps, &[index, maker], op, inputs);
        }
    }
}

/// Clips, and functions of single values, become part of the step before them, where that can do it and nobody else reads what
/// it makes.
pub(super) fn activations(program: &Program, steps: &mut [Option<Step>]) {
    let values = Values::new(program, steps);
    for index in 0..steps.len() {
        let Some(step) = &steps[index] else { continue };
        let (bounds, function) = (step.op.bounds(), step.op.function());
        if bounds.is_none() && function.is_none() {
            continue;
        }
        let input = step.inputs[0];
        let Some(&maker) = values.makers.get(&input).filter(|_| values.readers.get(&input) == Some(&1)) else {
            continue;
        };
        let Some(before) = &steps[maker] else { continue };
        let added = |clip: [f64; 2]| {
            let shapes: Vec<_> = before.inputs.iter().map(|&input| values.shape(input)).collect();
            let alike = before.operator == "Add" && shapes.iter().all(|shape| *shape == values.shape(input));
            alike.then(|| Arc::new(AddClip(clip)) as Arc<dyn Op>)
        };
        let clipped = bounds.and_then(|[low, high]| before.op.clipped(low, high).or_else(|| added([low, high])));
        if let Some(op) = clipped.or_else(|| before.op.activated(function?)) {
            let inputs = before.inputs.clone();
            join(steps, &[index, maker], op, inputs);
        }
    }
}
