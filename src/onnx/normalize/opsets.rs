//! Which nodes mean the same in two operator sets.

use super::super::schema::NodeProto;

/// Operators whose nodes have said the same in every set since 7: what came were types, and attributes with a default.
#[rustfmt::skip]
const LASTING: [&str; 78] = [
    "Abs", "Add", "And", "ArgMax", "ArgMin", "AveragePool", "Cast", "Ceil", "Celu", "Concat", "Constant", "ConstantOfShape",
    "Conv", "ConvTranspose", "Cos", "CumSum", "DepthToSpace", "Div", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten",
    "Floor", "Gather", "GatherElements", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual",
    "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual",
    "Log", "LpNormalization", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow",
    "Range", "Reciprocal", "Relu", "Reshape", "Round", "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Size", "Softplus", "Softsign",
    "SpaceToDepth", "Sqrt", "Sub", "Sum", "Tanh", "Tile", "Transpose", "Where",
];

/// Others, with the sets in which nodes began to say something else.
const CHANGED: [(&str, &[i64]); 20] = [
    ("BatchNormalization", &[9, 14]),
    ("Clip", &[11]),
    ("Dropout", &[12]),
    ("GridSample", &[20]),
    ("GroupNormalization", &[21]),
    ("Hardmax", &[13]),
    ("LogSoftmax", &[13]),
    ("Pad", &[11]),
    ("ReduceL1", &[18]),
    ("ReduceL2", &[18]),
    ("ReduceMax", &[18]),
    ("ReduceMean", &[18]),
    ("ReduceMin", &[18]),
    ("ReduceProd", &[18]),
    ("ReduceSum", &[13]),
    ("Slice", &[10]),
    ("Softmax", &[13]),
    ("Split", &[13, 18]),
    ("Squeeze", &[13]),
    ("Unsqueeze", &[13]),
];

/// Whether a node of the operator set `own` means the same in `other`, a newer one. Nodes of other domains have no part in
/// it; of an operator that is not known here it is not said.
pub fn means_the_same(node: &NodeProto, own: i64, other: i64) -> bool {
    let operator = node.op_type();
    let changed = CHANGED.iter().find(|(name, _)| *name == operator);
    let kept = changed.is_some_and(|(_, sets)| sets.iter().all(|set| *set <= own || *set > other));
    !matches!(node.domain(), "" | "ai.onnx") || own <= other && (kept || LASTING.contains(&operator))
}
