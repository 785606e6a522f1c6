"""Writes torch.safetensors: small PyTorch modules as ONNX, with PyTorch's outputs and gradients.

For each case NAME: `NAME.onnx` (the exported file's bytes), `NAME.x` (images), `NAME.y` (output), `NAME.w` (the weights of
the sum whose gradients follow), `NAME.grad` (by the images) and `NAME.grad.PARAMETER` (by each parameter).

    pip install torch onnx numpy safetensors && python make_torch.py
"""

import io
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Function(nn.Module):
    """A function without parameters."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Attention(nn.Module):
    """A block of a vision transformer, its products as convolutions, so that weights keep their names."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Conv1d(width, 3 * width, 1)
        self.out = nn.Conv1d(width, width, 1)

    def forward(self, x):
        n, c, length = x.shape
        y = self.norm(x.transpose(1, 2)).transpose(1, 2)
        q, k, v = self.qkv(y).reshape(-1, 3, self.heads, c // self.heads, length).unbind(1)
        weights = (q.transpose(-1, -2) @ k * (c // self.heads) ** -0.5).softmax(-1)
        y = (v @ weights.transpose(-1, -2)).reshape(-1, c, length)
        return x + self.out(y)


class Residual(nn.Module):
    """Convolutions, batch norms, a squeeze-and-excitation gate, a shortcut, a head."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn1 = nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6)
        self.depth, self.bn2 = nn.Conv2d(6, 6, 3, 1, 1, groups=6, bias=False), nn.BatchNorm2d(6)
        self.gate = nn.Conv2d(6, 6, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = F.silu(self.bn1(self.stem(x)))
        y = F.relu6(self.bn2(self.depth(x)))
        x = x + y * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1)).log_softmax(1)


def resized(**options):
    return Function(lambda x: F.interpolate(x, **options))


def cases():
    image, row = (2, 3, 7, 6), (2, 5)
    yield "conv", nn.Conv2d(3, 4, 3, padding=1), image
    yield "conv_strided", nn.Conv2d(3, 4, (3, 2), (2, 3), (1, 0), bias=False), image
    yield "conv_dilated", nn.Conv2d(3, 2, 3, dilation=2, padding=2), image
    yield "conv_grouped", nn.Conv2d(4, 6, 3, groups=2), (2, 4, 6, 5)
    yield "conv_depthwise", nn.Conv2d(4, 8, 3, groups=4, padding=1, stride=2), (2, 4, 6, 5)
    yield "conv_1d", nn.Conv1d(3, 4, 3, 2, 1), (2, 3, 9)
    yield "conv_same", nn.Conv2d(3, 4, (2, 3), padding="same"), image
    yield "conv_sliced", nn.Conv3d(2, 3, (3, 1, 3), padding=(1, 0, 1)), (2, 2, 4, 3, 5)
    yield "transposed", nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1), (2, 3, 4, 3)
    yield "transposed_grouped", nn.ConvTranspose2d(4, 6, (2, 3), (2, 1), groups=2, dilation=(1, 2)), (2, 4, 3, 4)
    yield "max_pool", nn.MaxPool2d(3, 2, 1), image
    yield "max_pool_ceil", nn.MaxPool2d(2, 2, ceil_mode=True), image
    yield "average_pool", nn.AvgPool2d(3, 2, 1), image
    yield "average_pool_inside", nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), image
    yield "nearest", resized(scale_factor=2.0, mode="nearest"), image
    yield "bilinear", resized(size=(5, 9), mode="bilinear", align_corners=False), image
    yield "bilinear_corners", resized(size=(9, 4), mode="bilinear", align_corners=True), image
    yield "bicubic", resized(size=(10, 8), mode="bicubic", align_corners=False), image
    yield "batch_norm", nn.BatchNorm2d(3), image
    yield "layer_norm", nn.LayerNorm(6), (2, 4, 6)
    yield "group_norm", nn.GroupNorm(2, 4), (2, 4, 3, 3)
    yield "instance_norm", nn.InstanceNorm2d(3, affine=True), image
    yield "prelu", nn.PReLU(3), image
    yield "linear", nn.Linear(5, 4), row
    yield "gelu", nn.GELU(), row
    yield "gelu_tanh", nn.GELU(approximate="tanh"), row
    yield "softplus", nn.Softplus(), row
    yield "hardswish", nn.Hardswish(), row
    yield "elu", nn.Sequential(nn.ELU(0.7), nn.CELU(0.6), nn.SELU()), row
    yield "mish", nn.Mish(), row
    yield "softmax", Function(lambda x: x.softmax(1) + (x * 2).log_softmax(1)), row
    yield "pixel_shuffle", nn.PixelShuffle(2), (2, 8, 2, 3)
    yield "reflected", Function(lambda x: F.pad(x, (2, 1, 1, 3), mode="reflect")), image
    yield "norms", Function(lambda x: torch.cat([F.normalize(x, dim=1), x.amax(1, keepdim=True), x.std(1, keepdim=True)], 1)), row
    yield "largest", Function(lambda x: x.topk(3, 1).values.flip(1) * x.cumsum(1)[:, 1:4]), row
    yield "attention", Attention(), (2, 8, 5)
    yield "residual", Residual(), (2, 3, 8, 8)


def main():
    torch.manual_seed(0)
    tensors = {}
    for name, module, shape in cases():
        module.eval()
        for key, value in module.state_dict().items():
            if "running" in key or value.ndim == 1:
                value.uniform_(0.5, 1.5)
        x = torch.randn(shape, requires_grad=True)
        y = module(x)
        w = torch.randn(y.shape)
        (y * w).sum().backward()
        file = io.BytesIO()
        torch.onnx.export(
            module, (x.detach(),), file, dynamo=False, opset_version=18, do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE, input_names=["x"], output_names=["y"],
            dynamic_axes={"x": {0: "N"}, "y": {0: "N"}},
        )
        parts = {"onnx": np.frombuffer(file.getvalue(), np.uint8), "x": x, "y": y, "w": w, "grad": x.grad}
        parts |= {f"grad.{key}": parameter.grad for key, parameter in module.named_parameters()}
        for key, value in parts.items():
            value = value if isinstance(value, np.ndarray) else value.detach().numpy()
            tensors[f"{name}.{key}"] = np.ascontiguousarray(value)
    from safetensors.numpy import save_file

    save_file(tensors, pathlib.Path(__file__).with_name("torch.safetensors"))


if __name__ == "__main__":
    main()
