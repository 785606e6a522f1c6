"""Writes autocast.json: how far PyTorch's autocast to bfloat16 takes EfficientNet-Lite0's logits and gradients from float32's.

Each a norm of the differences by the norm of all: `logits`, `images` (the gradient by them) and `parameters` (those by all
parameters together), for the images and the weights of the logits' sum of the test that reads it (tests/graph/halves.rs).

    pip install torch onnx numpy && python make_autocast.py
"""

import json
import pathlib

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

HERE = pathlib.Path(__file__).parent
GRAPH = onnx.load(HERE / "../../models/efficientnet_lite0/model.onnx").graph


def numbers(seed, *shape):
    """As `Rng` of tests/graph/build.rs."""
    whole = (1 << 64) - 1
    state, values = (seed * 0x9E3779B97F4A7C15 & whole) | 1, np.empty(int(np.prod(shape)), np.float32)
    for i in range(values.size):
        state ^= state << 13 & whole
        state ^= state >> 7
        state ^= state << 17 & whole
        values[i] = np.float32(state >> 40) / np.float32(1 << 23) - np.float32(1)
    return torch.from_numpy(values.reshape(shape))


def constant(name):
    node = next(node for node in GRAPH.node if name in node.output)
    return numpy_helper.to_array(node.attribute[0].t).tolist()


def logits(images, stored):
    values = {**stored, GRAPH.input[0].name: images}
    for node in GRAPH.node:
        own = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        x = [values.get(name) for name in node.input]
        match node.op_type:
            case "Conv":
                y = F.conv2d(x[0], x[1], x[2], own["strides"], own["pads"][:2], own["dilations"], own["group"])
            case "Pad":
                # The exporter left PyTorch's own argument in the graph.
                y = F.pad(x[0], constant(f"{node.name.rsplit('/', 1)[0]}/Constant_1_output_0"))
            case "Clip":
                y = F.hardtanh(x[0], 0.0, 6.0)
            case "Add":
                y = x[0] + x[1]
            case "GlobalAveragePool":
                y = F.adaptive_avg_pool2d(x[0], 1)
            case "Reshape" if x[0] is not None:
                y = x[0].flatten(1)
            case "Gemm":
                y = F.linear(x[0], x[1], x[2])
            case _:
                continue
        values[node.output[0]] = y
    return y.float()


def gradients(half):
    images = numbers(1, 2, 3, 224, 224).requires_grad_()
    read = {name for node in GRAPH.node if node.op_type in ("Conv", "Gemm") for name in node.input[1:]}
    stored = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in GRAPH.initializer if t.name in read}
    for tensor in stored.values():
        tensor.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        made = logits(images, stored)
    (made * numbers(3, 2, 1000)).sum().backward()
    parameters = torch.cat([tensor.grad.flatten() for tensor in stored.values()])
    return {"logits": made.detach(), "images": images.grad, "parameters": parameters}


exact, rounded = gradients(False), gradients(True)
far = {name: round(((rounded[name] - own).norm() / own.norm()).item(), 4) for name, own in exact.items()}
(HERE / "autocast.json").write_text(json.dumps(far) + "\n")
print(far)
