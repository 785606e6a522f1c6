"""PyTorch's side of `cargo run --release --example train_step`: eager, on the CPU, the same file through onnx2torch.

    python examples/train_step.py MODEL.onnx... [--batch 8] [--steps 3] [--threads 2]

The best step of forward, cross-entropy, backward and AdamW over all weights, in images a second, and the most memory that the process held.
"""
import argparse
import pathlib
import resource
import time
import onnx
import onnx2torch
import torch

arguments = argparse.ArgumentParser()
arguments.add_argument("models", nargs="+", type=pathlib.Path)
for name, usual in (("batch", 8), ("steps", 3), ("threads", 2), ("size", 224)):
    arguments.add_argument(f"--{name}", type=int, default=usual)
a = arguments.parse_args()
torch.set_num_threads(a.threads)
torch.manual_seed(0)

for path in a.models:
    network = onnx2torch.convert(onnx.load(path)).eval()
    weights = [weight.requires_grad_() for weight in network.parameters() if weight.is_floating_point()]
    optimizer = torch.optim.AdamW(weights, lr=1e-5)
    images = torch.randn(a.batch, 3, a.size, a.size)
    seconds = []
    # The first step sets up.
    for _ in range(a.steps + 1):
        started = time.perf_counter()
        logits = network(images).flatten(1)
        loss = torch.nn.functional.cross_entropy(logits, torch.arange(a.batch) % logits.shape[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{path.stem}: {a.batch / min(seconds[1:]):.1f} images/s, {mebibytes} MiB", flush=True)
