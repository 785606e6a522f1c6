"""Writes onnx/qoperator_*.onnx: small classifiers, quantised with onnxruntime.quantization in the QOperator format. Needs
what make_onnx.py needs."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
from make_onnx import OUT, T, gemm, helper, info, join, node, pooled, tensor, trunk
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

RNG = np.random.default_rng(11)


class Images(CalibrationDataReader):
    def __init__(self):
        self.images = iter([{"x": RNG.normal(0, 1, (1, 3, 8, 8)).astype(np.float32)} for _ in range(8)])

    def get_next(self):
        return next(self.images, None)


def write(name, parts, rank=2, kind=QuantType.QUInt8):
    nodes, weights = parts
    shape = ["N", 4] + [1] * (rank - 2)
    graph = helper.make_graph(nodes, name, [info("x", T.FLOAT, ["N", 3, 8, 8])], [info("logits", T.FLOAT, shape)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "float.onnx", Path(folder) / "made.onnx"
        onnx.save(model, source)
        quantize_static(source, made, Images(), quant_format=QuantFormat.QOperator, activation_type=kind, weight_type=QuantType.QInt8)
        model = onnx.load(made)
    onnx.checker.check_model(model)
    (OUT / f"qoperator_{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    print(name, [(n.op_type, n.domain, list(n.output)) for n in model.graph.node])


def main():
    write("gemm", join(pooled(), gemm()))
    write("int8", join(pooled(), gemm()), kind=QuantType.QInt8)
    biased = [node("MatMul", ["features", "h"], ["product"], "product"), node("Add", ["product", "c"], ["logits"], "bias")]
    write("matmul", join(pooled(), (biased, [tensor("h", 6, 4), tensor("c", 4)])))
    write("softmax", join(pooled(), gemm("scores"), ([node("Softmax", ["scores"], ["logits"], "softmax", axis=-1)], [])))
    last = [node("GlobalAveragePool", ["map"], ["pool"], "pool"), node("Conv", ["pool", "h", "c"], ["logits"], "head", kernel_shape=[1, 1])]
    write("conv", join(trunk(), (last, [tensor("h", 4, 6, 1, 1), tensor("c", 4)])), rank=4)
    first = [node("Conv", ["map", "h", "c"], ["scores"], "head", kernel_shape=[1, 1]), node("GlobalAveragePool", ["scores"], ["pool"], "pool"), node("Flatten", ["pool"], ["logits"], "flatten")]
    write("conv_first", join(trunk(), (first, [tensor("h", 4, 6, 1, 1), tensor("c", 4)])))
    both = join(gemm("one", prefix="1."), gemm("two", prefix="2."), ([node("Add", ["one", "two"], ["logits"], "sum")], []))
    write("joined", join(pooled(), both))
    write("embedding", pooled_only())


def pooled_only():
    """Features without a classifier, behind a final `Sigmoid`."""
    nodes, weights = pooled(channels=4)
    return nodes + [node("Sigmoid", ["features"], ["logits"], "sigmoid")], weights


if __name__ == "__main__":
    main()
