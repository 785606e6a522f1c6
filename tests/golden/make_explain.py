"""Writes explain/*.onnx, small networks exported by PyTorch, and explain.json: an image, the scores, and Grad-CAM's maps for
each class as PyTorch's autograd gives them (Selvaraju et al. 2017, equations 1 and 2).

  pooled   convolutions, global average, linear layer: what exact class activation maps are for
  convs    the same with a hidden layer in the head
  tokens   a vision transformer that reads its class token
  depths   means and deviations of two maps, as adapt's heads take them; its exact maps, whose means are the scores less the bias,
           and Grad-CAM's at each of the two maps
  corner   what reads the upper left corner alone

usage: make_explain.py          (needs torch, timm and onnx)"""
import json
import os
import warnings

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

warnings.filterwarnings("ignore")
here = os.path.dirname(os.path.abspath(__file__))
os.makedirs(os.path.join(here, "explain"), exist_ok=True)
torch.manual_seed(5)
CLASSES, SIDE = 4, 16


class Convs(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.map = nn.Sequential(nn.Conv2d(6, 10, 3, padding=1), nn.ReLU())
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(10, 8), nn.GELU(), nn.Linear(8, CLASSES)) if hidden else nn.Linear(10, CLASSES)

    def forward(self, x):
        return self.head(self.pool(self.map(self.first(x))))


class Corner(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, CLASSES)

    def forward(self, x):
        return self.head(x[:, :, :5, :5].mean((2, 3)))


class Depths(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(5, 7, 3, padding=1, stride=2), nn.ReLU())
        self.head = nn.Linear(5 + 7 + 5, CLASSES)

    def parts(self, x):
        first = self.first(x)
        return first, self.second(first)

    def forward(self, x):
        first, second = self.parts(x)
        mean, centred = first.mean((2, 3)), first - first.mean((2, 3), keepdim=True)
        deviation = (centred * centred).mean((2, 3), keepdim=True).sqrt().flatten(1)
        return self.head(torch.cat([second.mean((2, 3)), mean, deviation], 1))


def exact(model, image):
    """The places' shares in the scores, from what the layer's features are the means of."""
    first, second = model.parts(image)
    squares = (first - first.mean((2, 3), keepdim=True)) ** 2
    shares = squares / squares.mean((2, 3), keepdim=True).sqrt()
    larger = nn.functional.interpolate(second, scale_factor=2, mode="bilinear", align_corners=False)
    found = torch.einsum("kc,nchw->nkhw", model.head.weight, torch.cat([larger, first, shares], 1))[0]
    return model(image)[0].tolist(), torch.relu(found).tolist()


def maps(model, layer, image, to_planes):
    """Grad-CAM at a layer's output, for each class."""
    kept = []
    hook = layer.register_forward_hook(lambda _, __, output: kept.append(output))
    scores = model(image)
    hook.remove()
    found = []
    for c in range(CLASSES):
        gradient = torch.autograd.grad(scores[0, c], kept[0], retain_graph=True)[0]
        planes, gradient = to_planes(kept[0][0]), to_planes(gradient[0])
        weights = gradient.mean((1, 2))
        found.append(torch.relu((weights[:, None, None] * planes).sum(0)).tolist())
    return scores[0].tolist(), found


def grid(tokens):
    side = int((len(tokens) - 1) ** 0.5)
    return tokens[1:].T.reshape(-1, side, side)


vit = VisionTransformer(img_size=SIDE, patch_size=4, embed_dim=12, depth=2, num_heads=2, num_classes=CLASSES)
nn.init.normal_(vit.head.weight, std=0.5)
vit.blocks.apply(lambda m: nn.init.normal_(m.weight, std=0.4) if isinstance(m, nn.Linear) else None)
networks = {"pooled": (Convs(False), lambda m: m.map, lambda a: a), "convs": (Convs(True), lambda m: m.map, lambda a: a),
            "tokens": (vit, lambda m: m.blocks[0], grid)}
image = torch.randn(1, 3, SIDE, SIDE)
golden = {"image": image.flatten().tolist(), "side": SIDE}
networks["corner"] = (Corner(), None, None)
networks["depths"] = (Depths(), None, None)
scores, found = exact(networks["depths"][0], image)
gradients = [maps(networks["depths"][0], layer, image, lambda a: a)[1] for layer in (networks["depths"][0].first, networks["depths"][0].second)]
golden["depths"] = {"scores": scores, "maps": found, "gradients": gradients}
for name, (model, layer, to_planes) in networks.items():
    model.eval()
    if layer:
        scores, found = maps(model, layer(model), image, to_planes)
        golden[name] = {"scores": scores, "maps": found}
    torch.onnx.export(model, (image,), os.path.join(here, "explain", f"{name}.onnx"), input_names=["images"],
                      output_names=["scores"], dynamic_axes={"images": {0: "N"}, "scores": {0: "N"}}, opset_version=17,
                      dynamo=False)
with open(os.path.join(here, "explain.json"), "w") as out:
    json.dump(golden, out)
