//! Shapes and types of a graph's tensors, as far as they can be told where the whole cannot be imported.

use crate::graph::import;
use crate::guard::quietly;
use crate::onnx::port::Port;
use crate::onnx::schema::{ValueInfoProto, data_type};
use crate::onnx::surgery::{size, symbol, tensor_type};
use crate::onnx::{Model, parameters};
use std::collections::HashMap;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;

/// What is known of tensors by name.
#[derive(Default)]
pub(super) struct Facts(HashMap<String, (Option<DatumType>, Vec<String>)>);

impl Facts {
    /// Follows types and shapes through the graph, past what is not known or does not fit. `shape` is as for
    /// [`trainable`](super::trainable).
    pub(super) fn of(model: &Model, shape: &[Option<usize>]) -> Facts {
        quietly(|| follow(model, shape)).ok().flatten().unwrap_or_default()
    }

    /// The shapes, `N` images.
    pub(super) fn shapes(&self) -> HashMap<String, Vec<String>> {
        self.0.iter().map(|(name, (_, dims))| (name.clone(), dims.clone())).collect()
    }

    /// A float tensor as an input of a graph; its first axis stays open where it is not a number.
    pub(super) fn declaration(&self, tensor: &str) -> Option<ValueInfoProto> {
        let (kind, dims) = self.0.get(tensor)?;
        let elem_type = Some(data_type::FLOAT).filter(|_| *kind == Some(f32::datum_type()));
        let dim = |(axis, dim): (usize, &String)| match dim.parse() {
            Ok(known) => Some(size(known)),
            Err(_) => (axis == 0).then(|| symbol("N")),
        };
        let dim = dims.iter().enumerate().map(dim).collect::<Option<_>>()?;
        let r#type = Some(tensor_type(elem_type?, dim));
        Some(ValueInfoProto { name: Some(tensor.into()), r#type, ..Default::default() })
    }
}

fn follow(model: &Model, shape: &[Option<usize>]) -> Option<Facts> {
    let port = Port::of(model, shape).ok()?;
    let proto = import::decode(&parameters::as_empty_inputs(model).ok()?.0, &port).ok()?;
    let mut model = import::parsed(&import::reader(), &proto, &port, port.fixed_batch()).ok()?.0;
    // A node that fails leaves what is known of the others.
    let _ = model.analyse(true);
    let known = |(outlet, name): (&OutletId, &String)| {
        let fact = model.outlet_fact(*outlet).ok()?;
        // Symbols have their names only as long as the model lives.
        let dims = fact.shape.concretize()?.iter().map(|dim| dim.to_string()).collect();
        Some((name.clone(), (fact.datum_type.concretize(), dims)))
    };
    Some(Facts(model.outlet_labels.iter().filter_map(known).collect()))
}

/// Two numbers where an importer leaves open which of two sizes it is to be: `broadcast((197), (577))`.
pub(super) fn is_contradiction(size: &str) -> bool {
    let numbers = |rest: &str| {
        let (a, rest) = rest.split_once("), (")?;
        Some(a.parse::<u64>().is_ok() && rest.split(')').next()?.parse::<u64>().is_ok())
    };
    size.split("broadcast((").skip(1).filter_map(numbers).any(|both| both)
}
