#!/usr/bin/env python3
"""Images a second and memory of adapt beside PyTorch's, for the same networks (batch norms folded, as exporters write them).

gpu_speed.py FOLDER [--batch 64] [--steps 5] [--together 10] [--models NAME,...] [--precisions f32,tf32,bf16] [--smoke],
with FOLDER as build-cuda.sh made it. Each step has its images on the host, copies them, and is by AdamW on all parameters.
What fails is told, and the rest goes on. Ends with 1 where something failed, a training step is slower than PyTorch eager's of
the same precision (in its usual order of axes), a forward pass in f32 below 0.9 of it, or one precision's loss in the first
steps farther than 2 % from another's: what is computed wrongly may be fast. `host` is the part of a training step's time that
it takes to ask the GPU for all of it; near 1 the GPU waits. With --smoke speed is not judged, and without a GPU PyTorch takes
the processor: to see that the script works.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F


def conv(inputs, outputs, kernel, stride=1, groups=1, act=None):
    layer = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups)
    return nn.Sequential(layer, act(inplace=True)) if act else layer


class Residual(nn.Module):
    """The sum of a path and a shortcut, and what comes behind it."""

    def __init__(self, path, shortcut=None, act=None):
        super().__init__()
        self.path, self.shortcut, self.act = path, shortcut or nn.Identity(), act or nn.Identity()

    def forward(self, x):
        return self.act(self.path(x) + self.shortcut(x))


def resnet(bottleneck, counts):
    layers = [conv(3, 64, 7, 2, act=nn.ReLU), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, count in enumerate(counts):
        width = 64 << stage
        outputs = width * 4 if bottleneck else width
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            if bottleneck:
                path = [conv(inputs, width, 1, act=nn.ReLU), conv(width, width, 3, stride, act=nn.ReLU), conv(width, outputs, 1)]
            else:
                path = [conv(inputs, width, 3, stride, act=nn.ReLU), conv(width, outputs, 3)]
            shortcut = conv(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else None
            layers.append(Residual(nn.Sequential(*path), shortcut, nn.ReLU(inplace=True)))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))


def inverted(settings):
    """Inverted residuals: (expansion, channels, blocks, stride, kernel) of each stage."""
    layers, inputs = [conv(3, 32, 3, 2, act=nn.ReLU6)], 32
    for expansion, outputs, count, stride, kernel in settings:
        for block in range(count):
            step, width = stride if block == 0 else 1, inputs * expansion
            path = [conv(inputs, width, 1, act=nn.ReLU6)] if expansion > 1 else []
            path += [conv(width, width, kernel, step, width, act=nn.ReLU6), conv(width, outputs, 1)]
            path = nn.Sequential(*path)
            layers.append(Residual(path) if step == 1 and inputs == outputs else path)
            inputs = outputs
    head = [conv(inputs, 1280, 1, act=nn.ReLU6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers, *head)


MODELS = {
    "tv_resnet18_script": lambda: resnet(False, [2, 2, 2, 2]),
    "tv_resnet50_static": lambda: resnet(True, [3, 4, 6, 3]),
    "tv_mobilenet_v2_script": lambda: inverted(
        [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3), (6, 160, 3, 2, 3), (6, 320, 1, 1, 3)]
    ),
    "timm_efficientnet_lite0_script": lambda: inverted(
        [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)]
    ),
}


def theirs(name, precision, last, options):
    """PyTorch's images a second in training and forwards, and MiB."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    wait = torch.cuda.synchronize if cuda else lambda: None
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = False
    order = torch.channels_last if last else torch.contiguous_format
    torch.manual_seed(0)
    net = MODELS[name]().to(device, memory_format=order)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-5)
    images = torch.randn(options.batch, 3, 224, 224)
    images = images.pin_memory() if cuda else images
    labels = (torch.arange(options.batch) * 379 % 1000).to(device)
    if cuda:
        torch.cuda.reset_peak_memory_stats()

    def outputs():
        x = images.to(device, non_blocking=True).contiguous(memory_format=order)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return net(x)

    def train():
        loss = F.cross_entropy(outputs().float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def forward():
        with torch.inference_mode():
            outputs()

    rates = []
    for work in (train, forward):
        seconds = []
        for timing in range(options.steps + 1):
            wait()
            start = time.perf_counter()
            for _ in range(options.together):
                work()
            wait()
            seconds += [time.perf_counter() - start] if timing else []
        rates.append(options.batch * options.together / statistics.median(seconds))
        if work is train:
            peak = torch.cuda.max_memory_allocated() >> 20 if cuda else 0
    return {"train": rates[0], "forward": rates[1], "peak": peak}


def ours(name, precision, options):
    command = [options.folder / "train_step", options.folder / "zoo" / f"{name}.onnx", "--json", "--device", "cuda"]
    command += ["--precision", precision, "--batch", options.batch, "--steps", options.steps, "--together", options.together]
    command += ["--threads", torch.get_num_threads()]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"it ended with {done.returncode}")
    return json.loads(done.stdout)


def tried(what, work, *arguments):
    """What the work gives, or nothing where it fails: that says nothing of the rest."""
    try:
        return work(*arguments)
    except Exception as error:
        print(f"FAILED: {what}: {error}", flush=True)
        return None


def row(own, usual, last):
    """A line's cells, with what is not known left open, and the ratios."""
    known = [own, usual, last]
    cells, ratios = "", {}
    for what in ("train", "forward"):
        cells += "".join(f"{rates[what]:9.1f}" if rates else f"{'-':>9}" for rates in known)
        ratios[what] = own[what] / usual[what] if own and usual else None
        cells += f"{'-':>9}" if ratios[what] is None else f"{ratios[what]:9.2f}"
    cells += "".join(f"{rates['peak'] if rates else '-':>9}" for rates in known)
    return cells + (f"{own['host']:9.2f}{own['first']:9.4f}" if own else f"{'-':>9}" * 2), ratios


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--together", type=int, default=10)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--precisions", default="f32,tf32,bf16")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "the processor"
    print(f"PyTorch {torch.__version__} on {where}, batch {options.batch}; images a second, MiB; last: channels last")
    titles = ["train", "PyTorch", "last", "ratio", "forward", "PyTorch", "last", "ratio", "MiB", "PyTorch", "last", "host", "loss"]
    print(f"{'model':32}{'':5}" + "".join(f"{title:>9}" for title in titles))
    slow, failed = [], False
    for name in options.models.split(","):
        losses = {}
        for precision in options.precisions.split(","):
            torch.cuda.empty_cache()
            own = tried(f"{name} {precision}, adapt", ours, name, precision, options)
            usual, last = (
                tried(f"{name} {precision}, PyTorch{order}", theirs, name, precision, bool(order), options)
                for order in ("", ", channels last")
            )
            failed |= None in (own, usual, last)
            losses |= {precision: own["first"]} if own else {}
            cells, ratios = row(own, usual, last)
            print(f"{name:32}{precision:5}{cells}", flush=True)
            for what, least in (("train", 1.0), ("forward", 0.9 if precision == "f32" else 0.0)):
                if ratios[what] is not None and ratios[what] < least:
                    slow.append(f"{name} {precision} {what}: {ratios[what]:.2f} of PyTorch's, {least} is wanted")
        # What is not a number is near nothing.
        if not all(abs(a - b) <= 0.02 * abs(b) for a in losses.values() for b in losses.values()):
            print(f"FAILED: {name}: losses differ: {losses}", flush=True)
            failed = True
    print("\n".join(slow))
    sys.exit(1 if failed or slow and not options.smoke else 0)


main()
