"""What Python does in adapt's place, for the comparisons beside: the embedded model in ONNX Runtime, images by Pillow."""
import os
import pathlib
import numpy as np
import onnx
import onnxruntime as ort
from PIL import Image

root = pathlib.Path(__file__).resolve().parent.parent


def session(output=None):
    """The network, with a tensor inside as one more output where one is named."""
    network = onnx.load(root / "models" / "efficientnet_lite0" / "model.onnx")
    if output:
        network.graph.output.append(onnx.helper.make_tensor_value_info(output, 1, None))
    options = ort.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    return ort.InferenceSession(network.SerializeToString(), options, providers=["CPUExecutionProvider"])


def load(path):
    """An image as the network takes it."""
    image = Image.open(path).convert("RGB")
    w, h = image.size
    w, h = (256, 256 * h // w) if w <= h else (256 * w // h, 256)
    image = image.resize((w, h), Image.BICUBIC)
    left, top = (w - 224) // 2, (h - 224) // 2
    return ((np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) - 127) / 128).transpose(2, 0, 1)
