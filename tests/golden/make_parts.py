"""Writes into parts/ two networks with a node in the middle that cannot be trained through (dft.onnx; custom.onnx, whose
operator nobody knows but whose shapes the file tells), images, and what ONNX Runtime and numpy say of them: features.npy.
Needs onnx, onnxruntime, numpy and Pillow, and tiny.onnx of make_tiny.py."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper, numpy_helper
from PIL import Image

HERE = Path(__file__).parent
OUT = HERE / "parts"
RNG = np.random.default_rng(11)


def weight(name, shape):
    return numpy_helper.from_array(RNG.normal(0, 0.4, shape).astype(np.float32), name)


def network(name, middle, stored=(), told=()):
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1"], ["conv1"], "conv1", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        *middle,
        node("Conv", ["middle", "w2"], ["conv2"], "conv2"),
        node("Relu", ["conv2"], ["relu"], "relu"),
        node("GlobalAveragePool", ["relu"], ["pool"], "pool"),
        node("Flatten", ["pool"], ["features"], "flatten"),
        node("Gemm", ["features", "h"], ["logits"], "head", transB=1),
    ]
    info = helper.make_tensor_value_info
    weights = [weight("w1", (6, 3, 3, 3)), weight("w2", (8, 6, 1, 1)), weight("h", (4, 8)), *stored]
    graph = helper.make_graph(
        nodes, name, [info("x", T.FLOAT, ["N", 3, 8, 8])], [info("logits", T.FLOAT, ["N", 4])], weights, value_info=told
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), OUT / f"{name}.onnx")


def halves():
    """The number of images, halved 70 times and set right again: more than 64 bits of divisors."""
    integer = lambda name, value: numpy_helper.from_array(np.array(value, np.int64), name)
    stored = [integer("zero", [0]), integer("one", [1]), integer("two", [2]), integer("rest", [-1]), weight("h", (192, 4))]
    nodes = [helper.make_node("Shape", ["x"], ["shape"], "shape")]
    nodes += [helper.make_node("Gather", ["shape", "zero"], ["size0"], "size", axis=0)]
    for i in range(70):
        nodes += [helper.make_node("Div", [f"size{i}", "two"], [f"half{i}"], f"half{i}")]
        nodes += [helper.make_node("Add", [f"half{i}", "one"], [f"size{i + 1}"], f"more{i}")]
    nodes += [
        helper.make_node("Mul", ["size70", "zero"], ["none"], "none"),
        helper.make_node("Concat", ["none", "rest"], ["target"], "target", axis=0),
        helper.make_node("Reshape", ["x", "target"], ["features"], "flatten"),
        helper.make_node("MatMul", ["features", "h"], ["logits"], "head"),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "halves", [info("x", T.FLOAT, ["N", 3, 8, 8])], [info("logits", T.FLOAT, ["N", 4])], stored
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main():
    OUT.mkdir(exist_ok=True)
    axis = numpy_helper.from_array(np.array([4], np.int64), "axis")
    dft = [
        helper.make_node("Unsqueeze", ["conv1", "axis"], ["complex"], "complex"),
        helper.make_node("DFT", ["complex"], ["spectrum"], "dft", axis=2),
        helper.make_node("ReduceSum", ["spectrum", "axis"], ["middle"], "sum", keepdims=0),
    ]
    network("dft", dft, [axis])
    custom = [helper.make_node("Frobnicate", ["conv1"], ["middle"], "frob", domain="com.example")]
    network("custom", custom, told=[helper.make_tensor_value_info("middle", T.FLOAT, ["N", 6, 8, 8])])

    (OUT / "halves.onnx").write_bytes(halves().SerializeToString())

    pixels = RNG.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(OUT / f"{number}.png")
    model = onnx.load(HERE / "tiny.onnx")
    model.graph.output.append(helper.make_tensor_value_info("features", T.FLOAT, ["N", 6]))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    np.save(OUT / "features.npy", session.run(["features"], {"x": images})[0])


main()
