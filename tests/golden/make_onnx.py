"""Writes onnx/*.onnx and onnx/cases.json: one small model for each form of head that a cut must know, with the cut
that is right for it. Needs onnx 1.23, onnxruntime and numpy."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper, numpy_helper

OUT = Path(__file__).parent / "onnx"
RNG = np.random.default_rng(11)
CASES = []
node, info = helper.make_node, helper.make_tensor_value_info


def tensor(name, *shape, like=np.float32, scale=0.4):
    return numpy_helper.from_array(RNG.normal(0, scale, shape).astype(like), name)


def ints(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def trunk(x="x", channels=6, like=np.float32, colours=3):
    """Conv and Relu: [N, 6, 8, 8] called `map`."""
    nodes = [
        node("Conv", [x, "w", "b"], ["conv"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", ["conv"], ["map"], "relu"),
    ]
    return nodes, [tensor("w", channels, colours, 3, 3, like=like), tensor("b", channels, like=like, scale=0.1)]


def pooled(**kw):
    """The trunk, pooled and flattened: [N, 6] called `features`."""
    nodes, weights = trunk(**kw)
    nodes += [node("GlobalAveragePool", ["map"], ["pool"], "pool"), node("Flatten", ["pool"], ["features"], "flatten")]
    return nodes, weights


def gemm(out="logits", x="features", like=np.float32, k=4, features=6, prefix=""):
    """A `Gemm` with its weights."""
    names = [prefix + "h", prefix + "c"]
    made = node("Gemm", [x, *names], [out], prefix + "head", transB=1)
    return [made], [tensor(names[0], k, features, like=like), tensor(names[1], k, like=like, scale=0.1)]


def join(*parts):
    """Nodes and weights of several parts."""
    return [n for p in parts for n in p[0]], [w for p in parts for w in p[1]]


def reads(n):
    inner = [g for a in n.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]
    return list(n.input) + [name for g in inner for m in g.node for name in reads(m)] + [o.name for g in inner for o in g.output]


def frozen(graph, cut):
    """Places of the nodes that `cut` needs, and the names that they read."""
    wanted, places = {cut}, set()
    for i in reversed(range(len(graph.node))):
        if wanted & set(graph.node[i].output):
            places.add(i)
            wanted |= set(reads(graph.node[i]))
    return sorted(places), [t.name for t in graph.initializer if t.name in wanted]


def case(name, parts, cut, *, classifier="linear", features=6, classes=4, rows=None, outputs=(("logits", 2),), output=None,
         tail=(), pooling="none", x=("x", T.FLOAT, ["N", 3, 8, 8]), like=T.FLOAT, opset=17, ir=8, batch=None, opsets=(),
         functions=(), adapted=None, edit=None):
    """One model. `rows`: features an image after pooling."""
    nodes, weights = parts
    dims = {1: [x[2][0]], 2: [x[2][0], classes or features], 3: [x[2][0], 64, classes or features], 4: [x[2][0], classes or features, 1, 1]}
    outs = [info(o, t[0] if t else like, d if isinstance(d, list) else dims[d]) for o, d, *t in outputs]
    ins = [info(*x)] + ([info(w.name, w.data_type, w.dims) for w in weights] if ir < 4 else [])
    graph = helper.make_graph(nodes, name, ins, outs, weights)
    imports = [helper.make_opsetid("", opset), *opsets]
    model = helper.make_model(graph, opset_imports=imports, ir_version=ir, functions=list(functions))
    if edit:
        edit(model)
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    shape = [d if isinstance(d, int) else 3 for d in x[2]]
    kind = np.float16 if x[1] == T.FLOAT16 else np.float32
    given = {x[0]: RNG.normal(size=shape).astype(kind)}
    rank = 2 if adapted else len(session.run([output or outputs[0][0]], given)[0].shape)
    (OUT / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    places, kept = frozen(model.graph, cut)
    CASES.append({
        "name": name, "cut": cut, "classifier": classifier, "features": None if classifier == "none" else features,
        "rows": rows or features, "classes": classes, "output": output or outputs[0][0], "rank": rank, "pooling": pooling,
        "adapted": adapted or output or outputs[0][0], "tail": list(tail), "batch": batch, "nodes": places,
        "initializers": kept, "half": like == T.FLOAT16 or x[1] == T.FLOAT16,
    })


def linear():
    case("gemm_transb1", join(pooled(), gemm()), "features", edit=annotated)
    case("gemm_transb0", join(pooled(), ([node("Gemm", ["features", "h"], ["logits"], "head", alpha=0.5)], [tensor("h", 6, 4)])), "features")
    add = [node("MatMul", ["features", "h"], ["product"], "head"), node("Add", ["product", "c"], ["logits"], "bias")]
    weights = [tensor("h", 6, 4), tensor("c", 4)]
    case("matmul_add", join(pooled(), (add, weights)), "features")
    left = [add[0], node("Add", ["c", "product"], ["logits"], "bias")]
    case("bias_first", join(pooled(), (left, weights)), "features")
    tokens = [node("Reshape", ["map", "shape"], ["rows"], "reshape"), node("Transpose", ["rows"], ["tokens"], "transpose", perm=[0, 2, 1])]
    tokens = join(trunk(), (tokens, [ints("shape", 0, 6, 64)]))
    each = [node("MatMul", ["tokens", "h"], ["product"]), node("Add", ["product", "c"], ["each"])]
    mean = [node("ReduceMean", ["each"], ["logits"], "mean", axes=[1], keepdims=0)]
    case("tokens_pool_after", join(tokens, (each + mean, weights)), "tokens", pooling="mean")
    mean = [node("ReduceMean", ["tokens"], ["features"], "mean", axes=[1], keepdims=0)]
    case("tokens_pool_before", join(tokens, (mean + add, weights)), "features")
    flipped = [node("Transpose", ["ht"], ["h"], perm=[1, 0]), *add]
    case("weight_transposed", join(pooled(), (flipped, [tensor("ht", 4, 6), weights[1]])), "features")
    stored = [node("Constant", [], ["h"], value=weights[0]), node("Constant", [], ["c"], value=weights[1]), *add]
    case("weight_constant", join(pooled(), (stored, [])), "features")
    same = [node("Identity", ["h0"], ["h1"]), node("Identity", ["h1"], ["h"]), node("Identity", ["c0"], ["c"]), *gemm()[0]]
    case("weight_identity", join(pooled(), (same, [tensor("h0", 4, 6), tensor("c0", 4)])), "features")
    mlp = join(pooled(), gemm("hidden", k=5, prefix="first."), ([node("Relu", ["hidden"], ["active"])], []), gemm(x="active", features=5))
    case("mlp", mlp, "active", features=5)
    mixed = [node("MatMul", ["features", "h"], ["product"]), node("Cast", ["product"], ["wide"], to=T.FLOAT), node("Add", ["wide", "c"], ["logits"])]
    mixed = join(pooled(like=np.float16), (mixed, [tensor("h", 6, 4, like=np.float16), weights[1]]))
    case("mixed_precision", mixed, "features", x=("x", T.FLOAT16, ["N", 3, 8, 8]), tail=["Cast"])
    safe = [node("Softmax", ["scores"], ["soft"]), node("Clip", ["soft", "low", "high"], ["logits"])]
    safe = (safe, [numpy_helper.from_array(np.float32(v), n) for n, v in (("low", 1e-7), ("high", 1))])
    case("clipped", join(pooled(), gemm("scores"), safe), "features", tail=["Softmax"])
    case("old_opset", join(pooled(), gemm()), "features", opset=9, ir=4)


def convolutions():
    weights = [tensor("h", 4, 6, 1, 1), tensor("c", 4)]
    last = [
        node("Dropout", ["map", "ratio"], ["dropped"]), node("Conv", ["dropped", "h", "c"], ["scores"], kernel_shape=[1, 1]), node("Relu", ["scores"], ["positive"]),
        node("GlobalAveragePool", ["positive"], ["mean"]), node("Flatten", ["mean"], ["logits"]),
    ]
    ratio = numpy_helper.from_array(np.float32(0.5), "ratio")
    squeezenet = join(trunk(), (last, [*weights, ratio]))
    case("squeezenet", squeezenet, "dropped", classifier="conv", pooling="mean")
    last = [node("Conv", ["map", "h", "c"], ["scores"]), node("GlobalAveragePool", ["scores"], ["mean"]), node("Softmax", ["mean"], ["logits"], axis=1)]
    case("pool_last_rank4", join(trunk(), (last, weights)), "map", classifier="conv", pooling="mean", outputs=[("logits", 4)], tail=["Softmax"])
    pool = ([node("GlobalAveragePool", ["map"], ["pool"], "pool")], [])
    conv = ([node("Conv", ["pool", "h", "c"], ["scores"])], weights)
    for op, more in (("Flatten", []), ("Squeeze", [ints("axes", 2, 3)]), ("Reshape", [ints("axes", 0, -1)])):
        end = ([node(op, ["scores", *(m.name for m in more)], ["logits"])], more)
        case(f"conv_{op.lower()}", join(trunk(), pool, conv, end), "pool", classifier="conv", pooling="flatten")
    conv[0][0].output[0] = "logits"
    case("conv_rank4", join(trunk(), pool, conv), "pool", classifier="conv", pooling="flatten", outputs=[("logits", 4)])
    conv[0][0].output[0] = "scores"
    soft = ([node("Softmax", ["scores"], ["logits"], axis=-3)], [])
    case("conv_rank4_softmax", join(trunk(), pool, conv, soft), "pool", classifier="conv", pooling="flatten", outputs=[("logits", 4)], tail=["Softmax"])
    soft = ([node("Softmax", ["scores"], ["soft"], axis=1), node("Identity", ["soft"], ["same"]), node("Flatten", ["same"], ["logits"])], [])
    case("conv_softmax_flatten", join(trunk(), pool, conv, soft), "pool", classifier="conv", pooling="flatten", tail=["Softmax", "Identity"])


def tails():
    for op in ("Softmax", "LogSoftmax", "Sigmoid"):
        end = ([node(op, ["scores"], ["logits"])], [])
        case(op.lower(), join(pooled(), gemm("scores"), end), "features", tail=[op])
    end = ([node("Softmax", ["scores"], ["soft"], axis=1), node("Identity", ["soft"], ["logits"])], [])
    case("softmax_identity", join(pooled(), gemm("scores"), end), "features", tail=["Softmax", "Identity"])
    half, given = np.float16, ("x", T.FLOAT16, ["N", 3, 8, 8])
    end = ([node("Softmax", ["scores"], ["soft"], axis=1), node("Cast", ["soft"], ["logits"], to=T.FLOAT)], [])
    case("softmax_cast", join(pooled(like=half), gemm("scores", like=half), end), "features", x=given, tail=["Softmax", "Cast"])
    end = ([node("Dropout", ["scores", "ratio"], ["logits", "mask"])], [numpy_helper.from_array(np.float32(0.3), "ratio")])
    case("dropout_last", join(pooled(), gemm("scores"), end), "features")
    case("float16", join(pooled(like=half), gemm(like=half)), "features", x=given, like=T.FLOAT16)
    case("float16_embedding", pooled(like=half), "features", classifier="none", classes=None, x=given, like=T.FLOAT16, outputs=[("features", 2)], adapted="logits")


def outputs():
    side = [node("GlobalAveragePool", ["map"], ["side.pool"]), node("Flatten", ["side.pool"], ["side.features"])]
    deeper = [node("Conv", ["map", "w2"], ["map2"], pads=[1, 1, 1, 1]), node("Relu", ["map2"], ["map3"])]
    deeper += [node("GlobalAveragePool", ["map3"], ["pool"]), node("Flatten", ["pool"], ["features"])]
    both = join(trunk(), (side, []), gemm("aux", x="side.features", prefix="aux."), (deeper, [tensor("w2", 6, 6, 3, 3)]), gemm())
    case("auxiliary", both, "features", outputs=[("aux", 2), ("logits", 2)], output="logits")
    case("embeddings_logits", join(pooled(), gemm()), "features", outputs=[("features", 2, T.FLOAT), ("logits", 2)], output="logits", edit=wide)
    case("embedding", pooled(), "features", classifier="none", classes=None, outputs=[("features", 2)], adapted="logits")
    shape = ["N", 6, 8, 8]
    case("feature_map", trunk(), "map", classifier="none", classes=None, pooling="mean", outputs=[("map", shape)], adapted="logits")
    narrow = ([node("Conv", ["map", "w2"], ["wide"]), node("Relu", ["wide"], ["top"])], [tensor("w2", 7, 6, 1, 1)])
    case("feature_map_conv", join(trunk(), narrow), "top", classifier="none", classes=None, features=7, pooling="mean", outputs=[("top", ["N", 7, 8, 8])], adapted="logits")
    mobile = ([node("Conv", ["map", "w2"], ["wide"]), node("HardSwish", ["wide"], ["top"]), *pooled()[0][2:]], [tensor("w2", 7, 6, 1, 1)])
    mobile[0][2].input[0] = "top"
    case("embedding_mobile", join(trunk(), mobile), "features", classifier="none", classes=None, features=7, outputs=[("features", 2)], adapted="logits")
    norm = [tensor(n, 4) for n in ("scale", "shift", "mean")] + [numpy_helper.from_array(np.ones(4, np.float32), "var")]
    norm = ([node("BatchNormalization", ["embedding", "scale", "shift", "mean", "var"], ["normed"])], norm)
    case("scores_normed", join(pooled(), gemm("embedding"), norm), "features", outputs=[("normed", 2)])


def alone():
    """What only a single image can go through."""
    return [node("Squeeze", ["x0", "first"], ["one"]), node("Unsqueeze", ["one", "first"], ["x"])], [ints("first", 0)]


def inputs():
    turned = [node("Transpose", ["image"], ["x"], "nchw", perm=[0, 3, 1, 2])]
    back = [node("Transpose", ["map"], ["map.nhwc"], "nhwc", perm=[0, 2, 3, 1]), node("ReduceMean", ["map.nhwc"], ["features"], axes=[1, 2], keepdims=0)]
    head = [node("MatMul", ["features", "h"], ["product"]), node("Add", ["product", "c"], ["biased"]), node("Softmax", ["biased"], ["logits"])]
    weights = [tensor("h", 6, 4), tensor("c", 4)]
    case("nhwc", join((turned, []), trunk(), (back + head, weights)), "features", x=("image", T.FLOAT, ["N", 8, 8, 3]), tail=["Softmax"])
    case("nhwc_map", join((turned, []), trunk(), (back[:1], [])), "map.nhwc", x=("image", T.FLOAT, ["N", 8, 8, 3]), classifier="none", classes=None,
         pooling="mean", outputs=[("map.nhwc", ["N", 8, 8, 6])], adapted="logits")
    one = ("x", T.FLOAT, [1, 3, 8, 8])
    for name, shape in (("initializer", [ints("shape", 1, -1)]), ("constant", []), ("ints", [])):
        nodes, stored = trunk()
        made = {"constant": dict(value=ints("shape", 1, -1)), "ints": dict(value_ints=[1, -1])}.get(name)
        nodes += [node("GlobalAveragePool", ["map"], ["pool"])] + ([node("Constant", [], ["shape"], **made)] if made else [])
        flat = (nodes + [node("Reshape", ["pool", "shape"], ["features"])], stored + shape)
        case(f"batch1_{name}", join(flat, gemm()), "features", x=one)
    case("batch1_stuck", join(alone(), pooled(), gemm()), "features", x=("x0", T.FLOAT, [1, 3, 8, 8]), batch=1)
    case("old_ir", join(pooled(), gemm()), "features", ir=3, opset=8)


def wide(model):
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 6


def annotated(model):
    """Everything that belongs to kept and to dropped parts."""
    for n in model.graph.node:
        n.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=f"['{n.name}']")
        n.doc_string = "from " + n.name
    model.graph.value_info.extend([info("map", T.FLOAT, ["N", 6, 8, 8]), info("features", T.FLOAT, ["N", 6])])
    model.metadata_props.add(key="author", value="somebody")
    model.graph.metadata_props.add(key="k", value="v")
    model.graph.quantization_annotation.add(tensor_name="map").quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="b")
    model.graph.quantization_annotation.add(tensor_name="h").quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="c")
    model.doc_string, model.producer_name, model.domain, model.model_version = "doc", "maker", "org.example", 3


def oddities():
    bare = join(pooled(), gemm())
    for n in bare[0]:
        n.ClearField("name")
    case("unnamed", bare, "features")
    nodes, weights = pooled(channels=4)
    head = ([node("Gemm", ["features", "h", "b"], ["logits"], "head")], [tensor("h", 4, 4)])
    case("shared_bias", join((nodes, weights), head), "features", features=4)
    for opset in (17, 18):
        nodes, weights = trunk()
        rename = {"w": "adapt.head.weight", "b": "adapt.head.bias", "conv": "adapt.head.logits", "map": "adapt.features"}
        taken = [node("Identity", ["ax"], ["adapt.features.axes"], "adapt.head"), node("Add", ["map", "adapt.features.axes"], ["adapt.output.shape"], "adapt.output")]
        for n in nodes + taken:
            n.input[:] = [rename.get(v, v) for v in n.input]
            n.output[:] = [rename.get(v, v) for v in n.output]
        for w in weights:
            w.name = rename[w.name]
        last = [node("Conv", ["adapt.output.shape", "h"], ["scores"]), node("GlobalAveragePool", ["scores"], ["logits"])]
        weights += [tensor("ax", 1), tensor("h", 4, 6, 1, 1)]
        case(f"names_taken_{opset}", (nodes + taken + last, weights), "adapt.output.shape", classifier="conv", pooling="mean", outputs=[("logits", 4)], opset=opset)
    inner = {k: helper.make_graph([node(op, ["conv", "shift"], [k])], k, [], [info(k, T.FLOAT, None)]) for k, op in (("then", "Add"), ("else", "Sub"))}
    nodes, weights = trunk()
    nodes = [nodes[0], node("If", ["flag"], ["conv2"], then_branch=inner["then"], else_branch=inner["else"]), nodes[1]]
    nodes[2].input[0] = "conv2"
    weights += [tensor("shift", 6, 1, 1), numpy_helper.from_array(np.array(True), "flag")]
    case("if_captures", join((nodes + pooled()[0][2:], weights), gemm()), "features")
    f = helper.make_function("local", "Twice", ["a"], ["y"], [node("Add", ["a", "a"], ["y"])], [helper.make_opsetid("", 17)])
    nodes, weights = pooled()
    nodes.insert(1, node("Twice", ["conv"], ["conv2"], domain="local"))
    nodes[2].input[0] = "conv2"
    case("function", join((nodes, weights), gemm()), "features", functions=[f], opsets=[helper.make_opsetid("local", 1)])


def extra(name, parts, *, x=("x", T.FLOAT, ["N", 3, 8, 8]), y=("logits", T.FLOAT, ["N", 4]), opset=17, ir=8):
    """A model whose test is written by hand."""
    nodes, weights = parts
    graph = helper.make_graph(nodes, name, [info(*x)], [info(*y)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    onnx.checker.check_model(model)
    (OUT / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def trials():
    """Batches that are declared free and are not; heads of types that the file does not tell."""
    for name, *shape in (("rest", 1, -1), ("width", 1, 6)):
        flat = [node("GlobalAveragePool", ["map"], ["pool"]), node("Reshape", ["pool", "shape"], ["features"])]
        extra(f"free_{name}", join(trunk(), (flat, [ints("shape", *shape)]), gemm()))
    extra("free_stuck", join(alone(), pooled(), gemm()), x=("x0", T.FLOAT, ["N", 3, 8, 8]))
    pair = ([node("Concat", ["x0", "grid"], ["x"], axis=1)], [tensor("grid", 2, 1, 8, 8)])
    extra("free_pairs", join(pair, pooled(colours=4), gemm()), x=("x0", T.FLOAT, ["N", 3, 8, 8]))
    extra("opset6", join(pooled(), ([node("Gemm", ["features", "h", "c"], ["logits"], transB=1, broadcast=1)], gemm()[1])), opset=6, ir=4)
    half = np.float16
    narrow = ([node("Cast", ["features"], ["narrow"], to=T.FLOAT16), *gemm(x="narrow", out="scores", like=half)[0], node("Cast", ["scores"], ["logits"], to=T.FLOAT)], gemm(like=half)[1])
    extra("half_head", join(pooled(), narrow))
    unsure = [node("Cast", ["features"], ["narrow"], to=T.FLOAT16), node("Identity", ["narrow"], ["copy"])]
    extra("int_features", join(pooled(), ([node("Cast", ["features"], ["whole"], to=T.INT32)], [])), y=("whole", T.INT32, ["N", 6]))
    extra("half_unknown", join(pooled(), (unsure + [node("Cast", ["copy"], ["wide"], to=T.FLOAT)], []), gemm(x="wide")))
    turned = ([node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2])], [])
    back = ([node("Transpose", ["map"], ["last"], perm=[0, 2, 3, 1]), node("Tanh", ["last"], ["top"]), node("ReduceMean", ["top"], ["features"], axes=[1, 2], keepdims=0)], [])
    extra("nhwc_inside", join(turned, trunk(), back, gemm()), x=("image", T.FLOAT, ["N", 8, 8, 3]))
    extra("nchw_inside", join(trunk(), back, gemm()))
    einsum = ([node("Einsum", ["features", "h"], ["scores"], equation="nd,dcz->nc")], [tensor("h", 6, 4, 1)])
    for op in ("Softmax", "LogSoftmax", "Sigmoid"):
        end = ([node("Cast", ["scores"], ["same"], to=T.FLOAT), node(op, ["same"], ["active"]), node("Identity", ["active"], ["logits"])], [])
        extra(f"einsum_{op.lower()}", join(pooled(), einsum, end))
    weights = [numpy_helper.from_array(RNG.integers(-127, 127, (6, 4)).astype(np.int8), "q"), numpy_helper.from_array(np.float32(0.01), "s"), numpy_helper.from_array(np.int8(0), "z")]
    head = [node("DequantizeLinear", ["q", "s", "z"], ["h"]), node("MatMul", ["features", "h"], ["scores"])]
    pair = [node("QuantizeLinear", ["scores", "s", "z"], ["qs"]), node("DequantizeLinear", ["qs", "s", "z"], ["rounded"]), node("Softmax", ["rounded"], ["logits"])]
    extra("qdq", join(pooled(), (head + pair, weights)))
    turned = [node("DequantizeLinear", ["q", "s", "z"], ["ht"]), node("Transpose", ["ht"], ["h"], perm=[1, 0]), node("Gemm", ["features", "h"], ["logits"], transB=1)]
    extra("qdq_transposed", join(pooled(), (turned, weights)))
    norm = [tensor(n, 16) for n in ("scale", "shift", "mean")] + [numpy_helper.from_array(np.ones(16, np.float32), "var")]
    norm = ([node("BatchNormalization", ["embedding", "scale", "shift", "mean", "var"], ["normed"])], norm)
    case("embedding_face", join(pooled(), gemm("embedding", k=16), norm), "normed", classifier="none", features=16, classes=None, outputs=[("normed", 2)], adapted="logits")


def main():
    OUT.mkdir(exist_ok=True)
    for make in (linear, convolutions, tails, outputs, inputs, oddities, trials):
        make()
    (OUT / "cases.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in CASES) + "\n]\n")


if __name__ == "__main__":
    main()
