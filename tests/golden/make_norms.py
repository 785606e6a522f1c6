"""Writes norms.onnx and norms.json: a network with a batch norm in PyTorch's training mode. Needs onnx and torch.

The gradients are PyTorch's in f64. ONNX lets the running variance follow the variance of the batch as it is, PyTorch n /
(n - 1) times it: that factor is taken out.
"""

import json
from pathlib import Path

import torch
from onnx import TensorProto, helper, numpy_helper, save

torch.manual_seed(0)
folder = Path(__file__).parent
images, momentum = 6, 0.1
conv, norm, head = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4, momentum=momentum), torch.nn.Linear(4, 3)
with torch.no_grad():
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        tensor.copy_(torch.rand(4) + 0.5)
names = {"w": conv.weight, "b": conv.bias, "scale": norm.weight, "shift": norm.bias, "h": head.weight, "c": head.bias}
statistics = {"mean": norm.running_mean, "var": norm.running_var}
nodes = [
    helper.make_node("Conv", ["x", "w", "b"], ["conv"], "conv", pads=[1, 1, 1, 1]),
    # ONNX's momentum is the share of the old value that stays.
    helper.make_node("BatchNormalization", ["conv", "scale", "shift", "mean", "var"], ["norm"], "norm", momentum=1 - momentum),
    helper.make_node("Relu", ["norm"], ["relu"], "relu"),
    helper.make_node("GlobalAveragePool", ["relu"], ["pool"], "pool"),
    helper.make_node("Flatten", ["pool"], ["features"], "flatten"),
    helper.make_node("Gemm", ["features", "h", "c"], ["logits"], "head", transB=1),
]
stored = [numpy_helper.from_array(t.detach().numpy(), n) for n, t in {**names, **statistics}.items()]
x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])
y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])
graph = helper.make_graph(nodes, "norms", [x], [y], stored)
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "norms.onnx")

for module in (conv, norm, head):
    module.double()
image, targets = torch.randn(images, 3, 8, 8).float().double(), torch.tensor([0, 1, 2, 0, 1, 2])
before = norm.running_var.clone()
logits = head(torch.relu(norm(conv(image))).mean((2, 3)))
torch.nn.functional.cross_entropy(logits, targets).backward()
count = images * 8 * 8
following = (1 - momentum) * before + (norm.running_var - (1 - momentum) * before) * (count - 1) / count
# A convolution's bias before a batch norm has no gradient but rounding.
gradients = {n: t.grad.flatten().tolist() for n, t in (("w", conv.weight), ("scale", norm.weight), ("shift", norm.bias), ("h", head.weight), ("c", head.bias))}
golden = dict(
    input=image.flatten().tolist(),
    targets=targets.tolist(),
    logits=logits.flatten().tolist(),
    gradients=gradients,
    statistics={"mean": norm.running_mean.tolist(), "var": following.tolist()},
)
(folder / "norms.json").write_text(json.dumps(golden))
