//! `float16` and `bfloat16` as `float32`.

use super::super::schema::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, data_type};
use super::super::tensor::{encode_floats, floats, set_raw};
use super::inner;

/// Attributes that name a data type.
const TYPES: [&str; 4] = ["to", "dtype", "stash_type", "output_dtype"];

/// Both types: importers cannot type all such graphs, and are slow at the rest. Images are still rounded as the input's
/// own type asks: see [`super::super::port::Port`].
pub fn widen(proto: &mut ModelProto) -> Result<(), String> {
    Widen { from: &[data_type::FLOAT16, data_type::BFLOAT16], changed: false }.model(proto);
    Ok(())
}

/// `bfloat16` alone, in the file too: ONNX Runtime has no such operators for a CPU. Every value of it is a `float32`, so
/// the weights stay what they are. Whether there was any.
pub fn widen_bfloat16(proto: &mut ModelProto) -> bool {
    let mut widen = Widen { from: &[data_type::BFLOAT16], changed: false };
    widen.model(proto);
    widen.changed
}

struct Widen {
    from: &'static [i32],
    changed: bool,
}

impl Widen {
    fn model(&mut self, proto: &mut ModelProto) {
        proto.graph.iter_mut().for_each(|graph| self.graph(graph));
        for function in &mut proto.functions {
            function.node.iter_mut().for_each(|node| self.node(node));
            function.attribute_proto.iter_mut().for_each(|attribute| self.attribute(attribute));
            function.value_info.iter_mut().filter_map(|v| v.r#type.as_mut()).for_each(|t| self.value_type(t));
        }
    }

    fn graph(&mut self, graph: &mut GraphProto) {
        graph.initializer.iter_mut().for_each(|t| self.tensor(t));
        graph.sparse_initializer.iter_mut().filter_map(|s| s.values.as_mut()).for_each(|t| self.tensor(t));
        let infos = graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info);
        infos.filter_map(|v| v.r#type.as_mut()).for_each(|t| self.value_type(t));
        graph.node.iter_mut().for_each(|node| self.node(node));
    }

    fn node(&mut self, node: &mut NodeProto) {
        inner(node).for_each(|graph| self.graph(graph));
        node.attribute.iter_mut().for_each(|attribute| self.attribute(attribute));
    }

    fn attribute(&mut self, attribute: &mut AttributeProto) {
        let sparse = attribute.sparse_tensor.iter_mut().chain(&mut attribute.sparse_tensors);
        let sparse = sparse.filter_map(|s| s.values.as_mut());
        attribute.t.iter_mut().chain(&mut attribute.tensors).chain(sparse).for_each(|t| self.tensor(t));
        attribute.tp.iter_mut().chain(&mut attribute.type_protos).for_each(|t| self.value_type(t));
        if TYPES.contains(&attribute.name())
            && let Some(i) = attribute.i.as_mut()
            && let Ok(mut number) = i32::try_from(*i)
        {
            self.number(&mut number);
            *i = number.into();
        }
    }

    /// A value's type, inside sequences, maps and optionals too.
    fn value_type(&mut self, value: &mut TypeProto) {
        let tensors = value.tensor_type.iter_mut().chain(&mut value.sparse_tensor_type);
        tensors.filter_map(|t| t.elem_type.as_mut()).for_each(|number| self.number(number));
        let wrapped = value.sequence_type.iter_mut().chain(&mut value.optional_type);
        wrapped.filter_map(|w| w.elem_type.as_mut()).for_each(|inner| self.value_type(inner));
        value.map_type.iter_mut().filter_map(|m| m.value_type.as_mut()).for_each(|inner| self.value_type(inner));
    }

    fn number(&mut self, number: &mut i32) {
        if self.from.contains(number) {
            (*number, self.changed) = (data_type::FLOAT, true);
        }
    }

    fn tensor(&mut self, tensor: &mut TensorProto) {
        if self.from.contains(&tensor.data_type())
            && let Some(values) = floats(tensor)
        {
            set_raw(tensor, encode_floats(values, data_type::FLOAT));
            (tensor.data_type, self.changed) = (Some(data_type::FLOAT), true);
        }
    }
}
