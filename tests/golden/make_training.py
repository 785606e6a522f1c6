"""Writes training.json: losses with gradients, steps of optimizers, clipped gradients and schedules of PyTorch. Needs torch."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, OneCycleLR, SequentialLR

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)


def losses():
    logits = (torch.randn(5, 4) * 3).float().double()
    soft = torch.softmax(torch.randn(5, 4), 1).float().double()
    hot = F.one_hot(torch.tensor([0, 3, 1, 1, 2]), 4).double()
    weights = torch.tensor([0.5, 2.0, 1.0, 0.25])

    def smoothed(t, e):
        return t * (1 - e) + e / 4

    def case(kind, targets, smoothing, weighted):
        z, w = logits.clone().requires_grad_(), weights if weighted else None
        if kind == "cross_entropy":
            loss = F.cross_entropy(z, targets, weight=w, label_smoothing=smoothing)
        elif kind == "mse":
            each = F.mse_loss(z, smoothed(targets, smoothing), reduction="none")
            loss = (each * w if weighted else each).mean()
        else:
            loss = F.binary_cross_entropy_with_logits(z, smoothed(targets, smoothing), weight=w)
        loss.backward()
        return dict(kind=kind, targets=targets.tolist(), smoothing=smoothing, weighted=weighted, loss=loss.item(), gradient=z.grad.tolist())

    kinds = ("cross_entropy", "mse", "bce")
    cases = [case(k, t, s, w) for k in kinds for t in (hot, soft) for s in (0.0, 0.1) for w in (False, True)]
    return dict(logits=logits.tolist(), weights=weights.tolist(), cases=cases)


def optimizers():
    start = [torch.randn(3, 2).float(), torch.randn(4).float()]
    grads = [[torch.randn(3, 2).float(), torch.randn(4).float()] for _ in range(4)]
    grads[1][1] = None
    rates = [0.1, 0.05, 0.2, 0.1]
    makers = dict(
        sgd=lambda g: torch.optim.SGD(g),
        sgd_momentum=lambda g: torch.optim.SGD(g, momentum=0.9),
        sgd_nesterov=lambda g: torch.optim.SGD(g, momentum=0.9, nesterov=True),
        adam=lambda g: torch.optim.Adam(g, betas=(0.8, 0.95), eps=1e-6),
        adamw=lambda g: torch.optim.AdamW(g),
    )
    cases = []
    for name, make in makers.items():
        parameters = [t.clone().requires_grad_() for t in start]
        # The second learns half as fast, and without decay.
        groups = [dict(params=[parameters[0]], lr=0.1, weight_decay=0.3), dict(params=[parameters[1]], lr=0.1, weight_decay=0.0)]
        optimizer, steps = make(groups), []
        for rate, step in zip(rates, grads):
            for group, scale in zip(optimizer.param_groups, (1.0, 0.5)):
                group["lr"] = rate * scale
            for parameter, grad in zip(parameters, step):
                parameter.grad = grad
            optimizer.step()
            steps.append([p.detach().flatten().tolist() for p in parameters])
        cases.append(dict(kind=name, steps=steps))
    lists = [[None if t is None else t.flatten().tolist() for t in step] for step in grads]
    return dict(start=[t.flatten().tolist() for t in start], grads=lists, rates=rates, weight_decay=0.3, lr_scale=[1.0, 0.5], cases=cases)


def clipping():
    grads = [torch.randn(3, 2).float(), torch.randn(4).float()]
    cases = []
    for most in (0.5, 100.0):
        parameters = [torch.zeros_like(g).requires_grad_() for g in grads]
        for p, g in zip(parameters, grads):
            p.grad = g.clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters, most).item()
        cases.append(dict(max=most, norm=norm, clipped=[p.grad.flatten().tolist() for p in parameters]))
    return dict(grads=[g.flatten().tolist() for g in grads], cases=cases)


def schedules():
    def run(make, total):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler, factors = make(optimizer), []
        for _ in range(total):
            factors.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step() if len(factors) < total else None
        return factors

    def warm(optimizer, warmup, rest):
        rise = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
        return SequentialLR(optimizer, [rise, rest(optimizer)], [warmup])

    cosine = lambda steps: lambda o: CosineAnnealingLR(o, T_max=steps)
    cases = [("constant", 6, 2, lambda o: warm(o, 2, lambda o: ConstantLR(o, factor=1.0)))]
    cases += [("cosine", 7, 0, cosine(7)), ("cosine", 12, 4, lambda o: warm(o, 4, cosine(8)))]
    cases += [("onecycle", n, 0, lambda o, n=n: OneCycleLR(o, max_lr=1.0, total_steps=n)) for n in (2, 3, 10, 37)]
    return [dict(schedule=name, total=total, warmup=warmup, factors=run(make, total)) for name, total, warmup, make in cases]


def average():
    values, decay, out = [0.5, 2.0, -1.0, 3.0, 0.25], 0.2, [1.0]
    for t, value in enumerate(values, 1):
        d = min(decay, (1 + t) / (10 + t))
        out.append(d * out[-1] + (1 - d) * value)
    return dict(start=1.0, decay=decay, values=values, averages=out[1:])


if __name__ == "__main__":
    golden = dict(loss=losses(), optimizer=optimizers(), clip=clipping(), schedule=schedules(), ema=average())
    Path(__file__).with_name("training.json").write_text(json.dumps(golden) + "\n")
