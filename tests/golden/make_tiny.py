"""Writes tiny.onnx (Conv, Relu, GlobalAveragePool, Gemm; batch dynamic), variants of it, and what ONNX Runtime and
numpy say they compute: tiny.json holds the input and the output, row by row. Needs onnx, onnxruntime and numpy."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper, numpy_helper

HERE = Path(__file__).parent
RNG = np.random.default_rng(7)
W = RNG.normal(0, 0.4, (6, 3, 3, 3)).astype(np.float32)
B = RNG.normal(0, 0.1, 6).astype(np.float32)
H = RNG.normal(0, 0.5, (4, 6)).astype(np.float32)
C = RNG.normal(0, 0.1, 4).astype(np.float32)
X = RNG.normal(0, 1, (5, 3, 8, 8)).astype(np.float32)


def model(batch="N", kind=T.FLOAT, before=()):
    """The network; `before` are nodes that make `x` out of the graph's input."""
    half = np.float16 if kind == T.FLOAT16 else np.float32
    weights = [numpy_helper.from_array(a.astype(half), n) for n, a in (("w", W), ("b", B), ("h", H), ("c", C))]
    nodes = [
        *before,
        helper.make_node("Conv", ["x", "w", "b"], ["conv"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"], "relu"),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"], "pool"),
        helper.make_node("Flatten", ["pool"], ["features"], "flatten"),
        helper.make_node("Gemm", ["features", "h", "c"], ["logits"], "head", transB=1),
        helper.make_node("ArgMax", ["logits"], ["best"], "best", axis=1, keepdims=0),
    ]
    name, given = ("pixels", T.UINT8) if before else ("x", kind)
    out = T.FLOAT16 if kind == T.FLOAT16 else T.FLOAT
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, given, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", out, [batch, 4]), helper.make_tensor_value_info("best", T.INT64, [batch])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def numpy_logits(x):
    """The same by hand, in float64."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    conv = np.zeros((len(x), 6, 8, 8))
    for i in range(3):
        for j in range(3):
            conv += np.einsum("nchw,oc->nohw", padded[:, :, i : i + 8, j : j + 8], W[:, :, i, j].astype(np.float64))
    relu = np.maximum(conv + B[None, :, None, None], 0)
    return relu.mean((2, 3)) @ H.T.astype(np.float64) + C


def external(path, location):
    """A model whose head's weights are said to lie in `location`."""
    made = model()
    for weight in made.graph.initializer:
        if weight.name == "h":
            data = weight.raw_data
            weight.ClearField("raw_data")
            weight.data_location = T.EXTERNAL
            for key, value in (("location", location), ("offset", "0"), ("length", str(len(data)))):
                weight.external_data.add(key=key, value=value)
    path.write_bytes(made.SerializeToString())
    return data


def main():
    onnx.save(model(), HERE / "tiny.onnx")
    onnx.save(model(batch=1), HERE / "tiny_batch1.onnx")
    onnx.save(model(batch=2), HERE / "tiny_batch2.onnx")
    onnx.save(model(kind=T.FLOAT16), HERE / "tiny_f16.onnx")
    cast = [helper.make_node("Cast", ["pixels"], ["x"], "cast", to=T.FLOAT)]
    onnx.save(model(before=cast), HERE / "tiny_u8.onnx")
    (HERE / "tiny_weights.bin").write_bytes(external(HERE / "tiny_external.onnx", "tiny_weights.bin"))
    external(HERE / "tiny_escape.onnx", "../golden/tiny_weights.bin")
    got = ort.InferenceSession(HERE / "tiny.onnx", providers=["CPUExecutionProvider"]).run(["logits"], {"x": X})[0]
    want = numpy_logits(X)
    assert np.abs(got - want).max() < 1e-5, np.abs(got - want).max()
    golden = {"shape": X.shape, "input": X.ravel().tolist(), "classes": 4, "logits": want.ravel().tolist()}
    (HERE / "tiny.json").write_text(json.dumps(golden) + "\n")


main()
