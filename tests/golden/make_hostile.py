"""Writes hostile/: small ONNX files that are damaged, malicious or merely odd, for tests/cli.rs. Needs onnx and numpy.

Each is the network of make_tiny.py (Conv, Relu, GlobalAveragePool, Flatten, Gemm) with one thing wrong."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

HERE = Path(__file__).parent / "hostile"
RNG = np.random.default_rng(7)
W = RNG.normal(0, 0.4, (6, 3, 3, 3)).astype(np.float32)
B = RNG.normal(0, 0.1, 6).astype(np.float32)
H = RNG.normal(0, 0.5, (4, 6)).astype(np.float32)
C = RNG.normal(0, 0.1, 4).astype(np.float32)


def model(dims=("N", 3, 8, 8), before=(), middle=(), inputs=None, weights=(), relu="relu", extra_opsets=(), x="x"):
    """The network; `before` makes `x` of the input, `middle` makes `relu` of `plain`."""
    nodes = [
        *before,
        helper.make_node("Conv", ["x", "w", "b"], ["conv"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], [relu], "relu"),
        *middle,
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"], "pool"),
        helper.make_node("Flatten", ["pool"], ["features"], "flatten"),
        helper.make_node("Gemm", ["features", "h", "c"], ["logits"], "head", transB=1),
    ]
    stored = [numpy_helper.from_array(a, n) for n, a in (("w", W), ("b", B), ("h", H), ("c", C))]
    inputs = inputs or [helper.make_tensor_value_info(x, T.FLOAT, dims)]
    outputs = [helper.make_tensor_value_info("logits", T.FLOAT, [dims[0], 4])]
    graph = helper.make_graph(nodes, "hostile", inputs, outputs, [*stored, *weights])
    opsets = [helper.make_opsetid("", 17), *extra_opsets]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def weight(made, name):
    return next(t for t in made.graph.initializer if t.name == name)


def node(made, name):
    return next(n for n in made.graph.node if n.name == name)


def save(name, made):
    (HERE / f"{name}.onnx").write_bytes(made.SerializeToString())


def external(name, location):
    """The head's weights are said to lie in `location`."""
    made = model()
    tensor = weight(made, "h")
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = T.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(len(data)))):
        tensor.external_data.add(key=key, value=value)
    save(name, made)


def inputs():
    image = helper.make_tensor_value_info("x", T.FLOAT, ["N", 3, 8, 8])
    save("no_image_input", model(inputs=[helper.make_tensor_value_info("x", T.FLOAT, ["N", 16])]))
    save("two_image_inputs", model(inputs=[image, helper.make_tensor_value_info("y", T.FLOAT, ["N", 3, 8, 8])]))
    save("huge_input", model(("N", 3, 100000, 100000)))
    save("huge_batch", model((2**40, 3, 8, 8)))
    save("any_size", model(("N", 3, "H", "W")))


def weights():
    made = model()
    weight(made, "w").raw_data = weight(made, "w").raw_data[:-4]
    save("short_weight", made)
    made = model()
    weight(made, "w").dims[0] = -6
    save("negative_dims", made)
    made = model()
    weight(made, "w").dims[:] = [2**31, 2**31, 2**31, 2**31]
    save("overflowing_dims", made)
    made = model()
    weight(made, "w").data_type = 4711
    save("unknown_type", made)
    made = model()
    made.graph.initializer.append(weight(made, "b"))
    save("two_weights_one_name", made)
    made = model()
    weight(made, "c").name = "conv"
    save("weight_named_as_output", made)
    made = model()
    weight(made, "w").raw_data = np.full(W.shape, np.nan, np.float32).tobytes()
    save("nan_weight", made)
    made = model()
    weight(made, "b").name = node(made, "conv").input[2] = "__metadata__"
    save("reserved_weight_name", made)
    external("external_parent", "../weights.bin")
    external("external_absolute", "/etc/passwd")
    external("external_link", "link.bin")
    external("external_missing", "nowhere.bin")


def graphs():
    made = model()
    node(made, "conv").input[0] = "relu"
    save("cycle", made)
    made = model()
    node(made, "relu").output[0] = "conv"
    save("two_producers", made)
    made = model()
    made.graph.output.append(made.graph.output[0])
    save("two_outputs_one_name", made)
    made = model()
    node(made, "conv").input[0] = "nothing"
    save("missing_input", made)
    made = model()
    node(made, "relu").op_type = "Rleu"
    save("unknown_operator", made)
    custom = [helper.make_node("Frobnicate", ["plain"], ["relu"], "frob", domain="com.example")]
    save("custom_operator", model(middle=custom, relu="plain", extra_opsets=[helper.make_opsetid("com.example", 1)]))
    made = model()
    node(made, "conv").input[0] = "nothing\nhere"
    node(made, "conv").name = "conv\nerror: forged\x1b[31m"
    save("control_characters", made)


def memory():
    # A terabyte of zeros, added to the features' map.
    shape = numpy_helper.from_array(np.array([2**19, 2**19], np.int64), "huge")
    one = helper.make_tensor("value", T.FLOAT, [1], [0.0])
    fill = [
        helper.make_node("ConstantOfShape", ["huge"], ["zeros"], "fill", value=one),
        helper.make_node("ReduceMax", ["zeros"], ["peak"], "peak", keepdims=0),
        helper.make_node("Add", ["plain", "peak"], ["relu"], "add"),
    ]
    save("terabyte_constant", model(middle=fill, relu="plain", weights=[shape]))
    # The same, of a shape that only the images tell, so that no constant folding meets it first.
    shape = numpy_helper.from_array(np.array([1, 1, 2**16, 2**16], np.int64), "huge")
    expand = [
        helper.make_node("ReduceMean", ["plain"], ["mean"], "mean", axes=[1, 2, 3], keepdims=1),
        helper.make_node("Expand", ["mean", "huge"], ["wide"], "expand"),
        helper.make_node("Expand", ["wide", "six"], ["relu"], "six"),
    ]
    six = numpy_helper.from_array(np.array([1, 6, 1, 1], np.int64), "six")
    save("terabyte_expand", model(middle=expand, relu="plain", weights=[shape, six]))
    reshape = [helper.make_node("Reshape", ["plain", "huge"], ["relu"], "reshape")]
    shape = numpy_helper.from_array(np.array([0, 6, 2**18, 2**18], np.int64), "huge")
    save("terabyte_reshape", model(middle=reshape, relu="plain", weights=[shape]))


def depth():
    names = ["plain", *(f"n{i}" for i in range(9999)), "relu"]
    chain = [helper.make_node("Identity" if i % 2 else "Relu", [a], [b]) for i, (a, b) in enumerate(zip(names, names[1:]))]
    save("long_chain", model(middle=chain, relu="plain"))
    # Graph in node in graph, by hand: 200 messages deep, field 5 of an attribute (g), 5 of a node, 1 of a graph.
    made = model()
    inner = b""
    for _ in range(200):
        attribute = b"\x0a\x04body" + field(6, inner)  # AttributeProto: name, g
        inner = field(1, b"\x22\x02If" + field(5, attribute))  # GraphProto: node(op_type, attribute)
    made.graph.node[0].ClearField("attribute")
    raw = made.SerializeToString() + field(7, inner)  # ModelProto: graph, merged into the one before
    (HERE / "deep_nesting.onnx").write_bytes(raw)


def field(number, payload):
    """A length-delimited protobuf field."""
    size, length = len(payload), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + payload


def main():
    HERE.mkdir(exist_ok=True)
    inputs()
    weights()
    graphs()
    memory()
    depth()


main()
