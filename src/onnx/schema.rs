//! ONNX's protobuf messages (IR version 14), by field name and number as `onnx.proto` defines them.
//!
//! An own definition because protobuf decoders drop fields that they do not know: this one knows functions, metadata
//! on nodes, device configurations and all else that exporters write today, so that what was read can be written back.
//! `raw_data` is [`Bytes`]: a view into the file that was read, not a copy of it.

pub use super::data_type;
use bytes::Bytes;
use prost::{Message, Oneof};

/// `AttributeProto.AttributeType` values that are used here.
pub mod attribute_type {
    #![allow(missing_docs)]
    pub const FLOAT: i32 = 1;
    pub const INT: i32 = 2;
    pub const STRING: i32 = 3;
    pub const TENSOR: i32 = 4;
    pub const INTS: i32 = 7;
}

macro_rules! messages {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $ty:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Message)]
        #[allow(missing_docs)]
        pub struct $name { $($(#[$field_meta])* pub $field: $ty,)* }
    )*};
}

messages! {
    /// An operator's attribute.
    AttributeProto {
        #[prost(string, optional, tag = "1")] name: Option<String>,
        #[prost(float, optional, tag = "2")] f: Option<f32>,
        #[prost(int64, optional, tag = "3")] i: Option<i64>,
        #[prost(bytes = "bytes", optional, tag = "4")] s: Option<Bytes>,
        #[prost(message, optional, tag = "5")] t: Option<TensorProto>,
        #[prost(message, optional, tag = "6")] g: Option<GraphProto>,
        #[prost(float, repeated, packed = "false", tag = "7")] floats: Vec<f32>,
        #[prost(int64, repeated, packed = "false", tag = "8")] ints: Vec<i64>,
        #[prost(bytes = "bytes", repeated, tag = "9")] strings: Vec<Bytes>,
        #[prost(message, repeated, tag = "10")] tensors: Vec<TensorProto>,
        #[prost(message, repeated, tag = "11")] graphs: Vec<GraphProto>,
        #[prost(string, optional, tag = "13")] doc_string: Option<String>,
        #[prost(message, optional, tag = "14")] tp: Option<TypeProto>,
        #[prost(message, repeated, tag = "15")] type_protos: Vec<TypeProto>,
        #[prost(int32, optional, tag = "20")] r#type: Option<i32>,
        #[prost(string, optional, tag = "21")] ref_attr_name: Option<String>,
        #[prost(message, optional, tag = "22")] sparse_tensor: Option<SparseTensorProto>,
        #[prost(message, repeated, tag = "23")] sparse_tensors: Vec<SparseTensorProto>,
    }
    /// A value's name and type.
    ValueInfoProto {
        #[prost(string, optional, tag = "1")] name: Option<String>,
        #[prost(message, optional, tag = "2")] r#type: Option<TypeProto>,
        #[prost(string, optional, tag = "3")] doc_string: Option<String>,
        #[prost(message, repeated, tag = "4")] metadata_props: Vec<StringStringEntryProto>,
    }
    /// An operator applied to named values.
    NodeProto {
        #[prost(string, repeated, tag = "1")] input: Vec<String>,
        #[prost(string, repeated, tag = "2")] output: Vec<String>,
        #[prost(string, optional, tag = "3")] name: Option<String>,
        #[prost(string, optional, tag = "4")] op_type: Option<String>,
        #[prost(message, repeated, tag = "5")] attribute: Vec<AttributeProto>,
        #[prost(string, optional, tag = "6")] doc_string: Option<String>,
        #[prost(string, optional, tag = "7")] domain: Option<String>,
        #[prost(string, optional, tag = "8")] overload: Option<String>,
        #[prost(message, repeated, tag = "9")] metadata_props: Vec<StringStringEntryProto>,
        #[prost(message, repeated, tag = "10")] device_configurations: Vec<NodeDeviceConfigurationProto>,
    }
    /// A list of integers under an integer key.
    IntIntListEntryProto {
        #[prost(int64, optional, tag = "1")] key: Option<i64>,
        #[prost(int64, repeated, packed = "false", tag = "2")] value: Vec<i64>,
    }
    /// How a node is spread over devices.
    NodeDeviceConfigurationProto {
        #[prost(string, optional, tag = "1")] configuration_id: Option<String>,
        #[prost(message, repeated, tag = "2")] sharding_spec: Vec<ShardingSpecProto>,
        #[prost(int32, optional, tag = "3")] pipeline_stage: Option<i32>,
    }
    /// How a tensor is spread over devices.
    ShardingSpecProto {
        #[prost(string, optional, tag = "1")] tensor_name: Option<String>,
        #[prost(int64, repeated, packed = "false", tag = "2")] device: Vec<i64>,
        #[prost(message, repeated, tag = "3")] index_to_device_group_map: Vec<IntIntListEntryProto>,
        #[prost(message, repeated, tag = "4")] sharded_dim: Vec<ShardedDimProto>,
    }
    /// How an axis is spread over devices.
    ShardedDimProto {
        #[prost(int64, optional, tag = "1")] axis: Option<i64>,
        #[prost(message, repeated, tag = "2")] simple_sharding: Vec<SimpleShardedDimProto>,
    }
    /// Into how many shards a dimension is divided.
    SimpleShardedDimProto {
        #[prost(oneof = "simple_dim::Dim", tags = "1, 2")] dim: Option<simple_dim::Dim>,
        #[prost(int64, optional, tag = "3")] num_shards: Option<i64>,
    }
    /// A training graph.
    TrainingInfoProto {
        #[prost(message, optional, tag = "1")] initialization: Option<GraphProto>,
        #[prost(message, optional, tag = "2")] algorithm: Option<GraphProto>,
        #[prost(message, repeated, tag = "3")] initialization_binding: Vec<StringStringEntryProto>,
        #[prost(message, repeated, tag = "4")] update_binding: Vec<StringStringEntryProto>,
    }
    /// A whole file.
    ModelProto {
        #[prost(int64, optional, tag = "1")] ir_version: Option<i64>,
        #[prost(string, optional, tag = "2")] producer_name: Option<String>,
        #[prost(string, optional, tag = "3")] producer_version: Option<String>,
        #[prost(string, optional, tag = "4")] domain: Option<String>,
        #[prost(int64, optional, tag = "5")] model_version: Option<i64>,
        #[prost(string, optional, tag = "6")] doc_string: Option<String>,
        #[prost(message, optional, tag = "7")] graph: Option<GraphProto>,
        #[prost(message, repeated, tag = "8")] opset_import: Vec<OperatorSetIdProto>,
        #[prost(message, repeated, tag = "14")] metadata_props: Vec<StringStringEntryProto>,
        #[prost(message, repeated, tag = "20")] training_info: Vec<TrainingInfoProto>,
        #[prost(message, repeated, tag = "25")] functions: Vec<FunctionProto>,
        #[prost(message, repeated, tag = "26")] configuration: Vec<DeviceConfigurationProto>,
    }
    /// A set of devices.
    DeviceConfigurationProto {
        #[prost(string, optional, tag = "1")] name: Option<String>,
        #[prost(int32, optional, tag = "2")] num_devices: Option<i32>,
        #[prost(string, repeated, tag = "3")] device: Vec<String>,
    }
    /// A key and its value.
    StringStringEntryProto {
        #[prost(string, optional, tag = "1")] key: Option<String>,
        #[prost(string, optional, tag = "2")] value: Option<String>,
    }
    /// Quantisation parameters of a tensor.
    TensorAnnotation {
        #[prost(string, optional, tag = "1")] tensor_name: Option<String>,
        #[prost(message, repeated, tag = "2")] quant_parameter_tensor_names: Vec<StringStringEntryProto>,
    }
    /// Nodes, initializers, inputs and outputs.
    GraphProto {
        #[prost(message, repeated, tag = "1")] node: Vec<NodeProto>,
        #[prost(string, optional, tag = "2")] name: Option<String>,
        #[prost(message, repeated, tag = "5")] initializer: Vec<TensorProto>,
        #[prost(string, optional, tag = "10")] doc_string: Option<String>,
        #[prost(message, repeated, tag = "11")] input: Vec<ValueInfoProto>,
        #[prost(message, repeated, tag = "12")] output: Vec<ValueInfoProto>,
        #[prost(message, repeated, tag = "13")] value_info: Vec<ValueInfoProto>,
        #[prost(message, repeated, tag = "14")] quantization_annotation: Vec<TensorAnnotation>,
        #[prost(message, repeated, tag = "15")] sparse_initializer: Vec<SparseTensorProto>,
        #[prost(message, repeated, tag = "16")] metadata_props: Vec<StringStringEntryProto>,
    }
    /// A part of a tensor that is stored in several.
    Segment {
        #[prost(int64, optional, tag = "1")] begin: Option<i64>,
        #[prost(int64, optional, tag = "2")] end: Option<i64>,
    }
    /// A tensor's type, shape and values.
    TensorProto {
        #[prost(int64, repeated, packed = "false", tag = "1")] dims: Vec<i64>,
        #[prost(int32, optional, tag = "2")] data_type: Option<i32>,
        #[prost(message, optional, tag = "3")] segment: Option<Segment>,
        #[prost(float, repeated, tag = "4")] float_data: Vec<f32>,
        #[prost(int32, repeated, tag = "5")] int32_data: Vec<i32>,
        #[prost(bytes = "bytes", repeated, tag = "6")] string_data: Vec<Bytes>,
        #[prost(int64, repeated, tag = "7")] int64_data: Vec<i64>,
        #[prost(string, optional, tag = "8")] name: Option<String>,
        #[prost(bytes = "bytes", optional, tag = "9")] raw_data: Option<Bytes>,
        #[prost(double, repeated, tag = "10")] double_data: Vec<f64>,
        #[prost(uint64, repeated, tag = "11")] uint64_data: Vec<u64>,
        #[prost(string, optional, tag = "12")] doc_string: Option<String>,
        #[prost(message, repeated, tag = "13")] external_data: Vec<StringStringEntryProto>,
        #[prost(int32, optional, tag = "14")] data_location: Option<i32>,
        #[prost(message, repeated, tag = "16")] metadata_props: Vec<StringStringEntryProto>,
    }
    /// A tensor given by its values other than zero.
    SparseTensorProto {
        #[prost(message, optional, tag = "1")] values: Option<TensorProto>,
        #[prost(message, optional, tag = "2")] indices: Option<TensorProto>,
        #[prost(int64, repeated, packed = "false", tag = "3")] dims: Vec<i64>,
    }
    /// A shape.
    TensorShapeProto {
        #[prost(message, repeated, tag = "1")] dim: Vec<Dimension>,
    }
    /// One dimension of a shape: a number, a name, or unknown.
    Dimension {
        #[prost(oneof = "dimension::Value", tags = "1, 2")] value: Option<dimension::Value>,
        #[prost(string, optional, tag = "3")] denotation: Option<String>,
    }
    /// A value's type: one of the messages. Not a `oneof`, which prost would write in one place, whichever it is: so
    /// the fields are written in the order of their numbers, as everybody else does.
    TypeProto {
        #[prost(message, optional, tag = "1")] tensor_type: Option<TensorType>,
        #[prost(message, optional, boxed, tag = "4")] sequence_type: Option<Box<Wrapped>>,
        #[prost(message, optional, boxed, tag = "5")] map_type: Option<Box<MapType>>,
        #[prost(string, optional, tag = "6")] denotation: Option<String>,
        #[prost(message, optional, tag = "7")] opaque_type: Option<Opaque>,
        #[prost(message, optional, tag = "8")] sparse_tensor_type: Option<TensorType>,
        #[prost(message, optional, boxed, tag = "9")] optional_type: Option<Box<Wrapped>>,
    }
    /// A (sparse) tensor's element type and shape.
    TensorType {
        #[prost(int32, optional, tag = "1")] elem_type: Option<i32>,
        #[prost(message, optional, tag = "2")] shape: Option<TensorShapeProto>,
    }
    /// The type of a sequence or an optional.
    Wrapped {
        #[prost(message, optional, boxed, tag = "1")] elem_type: Option<Box<TypeProto>>,
    }
    /// The type of a map.
    MapType {
        #[prost(int32, optional, tag = "1")] key_type: Option<i32>,
        #[prost(message, optional, boxed, tag = "2")] value_type: Option<Box<TypeProto>>,
    }
    /// A type that only its domain knows.
    Opaque {
        #[prost(string, optional, tag = "1")] domain: Option<String>,
        #[prost(string, optional, tag = "2")] name: Option<String>,
    }
    /// An operator set and its version.
    OperatorSetIdProto {
        #[prost(string, optional, tag = "1")] domain: Option<String>,
        #[prost(int64, optional, tag = "2")] version: Option<i64>,
    }
    /// A model-local function.
    FunctionProto {
        #[prost(string, optional, tag = "1")] name: Option<String>,
        #[prost(string, repeated, tag = "4")] input: Vec<String>,
        #[prost(string, repeated, tag = "5")] output: Vec<String>,
        #[prost(string, repeated, tag = "6")] attribute: Vec<String>,
        #[prost(message, repeated, tag = "7")] node: Vec<NodeProto>,
        #[prost(string, optional, tag = "8")] doc_string: Option<String>,
        #[prost(message, repeated, tag = "9")] opset_import: Vec<OperatorSetIdProto>,
        #[prost(string, optional, tag = "10")] domain: Option<String>,
        #[prost(message, repeated, tag = "11")] attribute_proto: Vec<AttributeProto>,
        #[prost(message, repeated, tag = "12")] value_info: Vec<ValueInfoProto>,
        #[prost(string, optional, tag = "13")] overload: Option<String>,
        #[prost(message, repeated, tag = "14")] metadata_props: Vec<StringStringEntryProto>,
    }
}

/// The choice inside [`Dimension`].
pub mod dimension {
    use super::*;
    /// A known size or a symbol.
    #[derive(Clone, PartialEq, Oneof)]
    #[allow(missing_docs)]
    pub enum Value {
        #[prost(int64, tag = "1")]
        DimValue(i64),
        #[prost(string, tag = "2")]
        DimParam(String),
    }
}

/// The choice inside [`SimpleShardedDimProto`].
pub mod simple_dim {
    use super::*;
    /// A known size or a symbol.
    #[derive(Clone, PartialEq, Oneof)]
    #[allow(missing_docs)]
    pub enum Dim {
        #[prost(int64, tag = "1")]
        DimValue(i64),
        #[prost(string, tag = "2")]
        DimParam(String),
    }
}
