"""Writes more of onnx/*.onnx, and onnx/heads.json as make_onnx.py writes cases.json: heads that are joined, decide, are
quantised or computed, as exporters other than PyTorch's write them, too; and models whose batch, size, channels or further
inputs have to be settled. Needs what make_onnx.py needs."""

import json

import numpy as np
import onnx
from make_onnx import CASES, OUT, RNG, T, case, extra, gemm, helper, info, ints, join, node, numpy_helper, pooled, tensor, trunk


def scalar(name, value, kind=np.float32):
    return numpy_helper.from_array(np.array(value, kind), name)


def two(first="features", second="features", features=(6, 6)):
    """Two heads, `one` and `two`."""
    return join(gemm("one", x=first, prefix="1.", features=features[0]), gemm("two", x=second, prefix="2.", features=features[1]))


def norm(x, y, size=6):
    names = [f"{y}.{n}" for n in ("scale", "shift", "mean", "var")]
    weights = [tensor(n, size) for n in names[:3]] + [numpy_helper.from_array(np.full(size, 1.5, np.float32), names[3])]
    return [node("BatchNormalization", [x, *names], [y])], weights


def tokens():
    """[N, 64, 6] called `tokens`."""
    turned = [node("Reshape", ["map", "rows.shape"], ["rows"]), node("Transpose", ["rows"], ["tokens"], perm=[0, 2, 1])]
    return join(trunk(), (turned, [ints("rows.shape", 0, 6, -1)]))


def joined():
    mean = ([node("Add", ["one", "two"], ["sum"]), node("Div", ["sum", "half"], ["logits"])], [scalar("half", 2)])
    case("averaged", join(pooled(), two(), mean), "features")
    norms = join(norm("features", "n1"), norm("features", "n2"))
    case("averaged_norms", join(pooled(), norms, two("n1", "n2"), mean), "features")
    case("averaged_mean", join(pooled(), two(), ([node("Mean", ["one", "two"], ["logits"])], [])), "features")
    half = ([node("Softmax", ["one"], ["p"]), node("Softmax", ["two"], ["q"]), node("Sum", ["p", "q"], ["sum"]), node("Mul", ["sum", "half"], ["logits"])], [scalar("half", 0.5)])
    case("averaged_softmax", join(pooled(), two(), half), "features", tail=["Softmax"])
    chosen = [node("LayerNormalization", ["tokens", "g"], ["normed"]), node("Gather", ["normed", "t0"], ["class"], axis=1), node("Gather", ["normed", "t1"], ["distilled"], axis=1)]
    chosen = (chosen, [tensor("g", 6), scalar("t0", 0, np.int64), scalar("t1", 1, np.int64)])
    case("averaged_tokens", join(tokens(), chosen, two("class", "distilled"), mean), "normed", rows=12, pooling="tokens")
    token = ([node("Gemm", ["picked", "h", "c"], ["logits"], transB=1)], gemm()[1])
    pick = ([node("Gather", ["tokens", "t"], ["picked"], axis=1)], [scalar("t", 0, np.int64)])
    case("token", join(tokens(), pick, token), "picked")
    each = [node("MatMul", ["tokens", "h"], ["each"]), node("Gather", ["each", "t"], ["logits"], axis=1)]
    case("token_behind", join(tokens(), (each, [tensor("h", 6, 4), scalar("t", 3, np.int64)])), "tokens", pooling="tokens")


def decisions():
    end = [node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0)]
    case("argmax", join(pooled(), gemm("scores"), (end, [])), "features", outputs=[("label", 1, T.INT64)], adapted="label")
    soft = [node("Softmax", ["scores"], ["soft"]), node("TopK", ["soft", "k"], ["value", "index"]), node("Cast", ["index"], ["label"], to=T.INT32)]
    case("topk", join(pooled(), gemm("scores"), (soft, [ints("k", 1)])), "features", outputs=[("label", ["N", 1], T.INT32)], adapted="label", tail=["Softmax"])
    both = [node("Softmax", ["scores"], ["prob"]), node("ArgMax", ["prob"], ["label"], axis=1, keepdims=0)]
    case("label_and_prob", join(pooled(), gemm("scores"), (both, [])), "features", outputs=[("label", 1, T.INT64), ("prob", 2, T.FLOAT)], output="prob", tail=["Softmax"])


def layers():
    for name, equation, shape in (("dc", "nd,dc->nc", (6, 4)), ("cd", "n d, c d -> n c", (4, 6))):
        case(f"einsum_{name}", join(pooled(), ([node("Einsum", ["features", "h"], ["logits"], equation=equation)], [tensor("h", *shape)])), "features")
    across = [node("Transpose", ["features"], ["turned"]), node("Gemm", ["turned", "h"], ["logits"], transA=1, beta=0.5, alpha=2.0)]
    case("gemm_transa", join(pooled(), (across, [tensor("h", 6, 4)])), "features")
    cast = [node("Cast", ["h16"], ["h"], to=T.FLOAT), node("MatMul", ["features", "h"], ["logits"])]
    case("weight_cast", join(pooled(), (cast, [tensor("h16", 6, 4, like=np.float16)])), "features")
    length = [node("ReduceL2", ["v"], ["length"], axes=[0]), node("Div", ["v", "length"], ["h"]), node("MatMul", ["features", "h"], ["logits"])]
    case("weight_computed", join(pooled(), (length, [tensor("v", 6, 4)])), "features", features=None, classes=None, rows=6, outputs=[("logits", ["N", 4])])
    whole = [node("Conv", ["map", "h"], ["scores"], kernel_shape=[8, 8]), node("Flatten", ["scores"], ["logits"])]
    case("conv_whole_map", join(trunk(), (whole, [tensor("h", 4, 6, 8, 8)])), "map", classifier="conv", features=384, pooling="flatten")
    cut = [node("Slice", ["scores", "from", "to", "axis"], ["some"]), node("Softmax", ["some"], ["logits"])]
    case("background", join(pooled(), gemm("scores", k=5), (cut, [ints("from", 1), ints("to", 9), ints("axis", 1)])), "features", classes=5, tail=["Softmax"],
         outputs=[("logits", ["N", 4])])
    weights = [numpy_helper.from_array(RNG.integers(-127, 127, (6, 4)).astype(np.int8), "q"), scalar("s", 0.01), tensor("c", 4)]
    fast = [
        node("DynamicQuantizeLinear", ["features"], ["fq", "fs", "fz"]), node("MatMulInteger", ["fq", "q", "fz"], ["sum"]), node("Cast", ["sum"], ["wide"], to=T.FLOAT),
        node("Mul", ["fs", "s"], ["scale"]), node("Mul", ["wide", "scale"], ["product"]), node("Add", ["product", "c"], ["logits"]),
    ]
    case("quantised_on_the_fly", join(pooled(), (fast, weights)), "features")


def styles():
    ahead = [node("Sub", ["image", "mean"], ["centred"]), node("Div", ["centred", "std"], ["scaled"]), node("Transpose", ["scaled"], ["x"], perm=[0, 3, 1, 2])]
    ahead = (ahead, [tensor("mean", 3), numpy_helper.from_array(np.array([0.5, 0.6, 0.7], np.float32), "std")])
    head = [node("GlobalAveragePool", ["map"], ["gap"]), node("Squeeze", ["gap", "hw"], ["features"]), node("MatMul", ["features", "h"], ["product"])]
    head += [node("Add", ["product", "c"], ["biased"]), node("Softmax", ["biased"], ["predictions"])]
    weights = [ints("hw", 2, 3), tensor("h", 6, 4), tensor("c", 4)]
    case("keras", join(ahead, trunk(), (head, weights)), "features", x=("image", T.FLOAT, ["unk__1", 8, 8, 3]), outputs=[("predictions", 2)], tail=["Softmax"])
    nodes, weights = trunk()
    bn = norm("conv", "normed")
    bn[0][0].attribute.extend([helper.make_attribute("spatial", 1), helper.make_attribute("momentum", 0.9)])
    nodes[1].input[0] = "normed"
    end = [node("GlobalAveragePool", ["map"], ["pool"]), node("Dropout", ["pool"], ["kept", "mask"], ratio=0.5), node("Reshape", ["kept", "shape"], ["features"])]
    end += [node("Gemm", ["features", "h", "c"], ["scores"], transB=1, alpha=1.0, beta=1.0), node("Softmax", ["scores"], ["prob_1"], axis=1)]
    old = join((nodes[:1], weights), bn, (nodes[1:], []), (end, [ints("shape", 0, -1)]), ([], gemm()[1]))
    case("model_zoo", old, "features", outputs=[("prob_1", 2)], tail=["Softmax"], opset=8, ir=3)
    paddle = [node("GlobalAveragePool", ["map"], ["pool2d_0.tmp_0"]), node("Reshape", ["pool2d_0.tmp_0", "shape"], ["reshape2_0.tmp_0"])]
    paddle += [node("MatMul", ["reshape2_0.tmp_0", "fc.w_0"], ["matmul_0.tmp_0"]), node("Add", ["matmul_0.tmp_0", "fc.b_0"], ["linear_0.tmp_1"])]
    paddle += [node("Softmax", ["linear_0.tmp_1"], ["softmax_0.tmp_0"], axis=-1), node("Identity", ["softmax_0.tmp_0"], ["save_infer_model/scale_0.tmp_0"])]
    weights = [ints("shape", -1, 6), tensor("fc.w_0", 6, 4), tensor("fc.b_0", 4)]
    case("paddle", join(trunk(), (paddle, weights)), "reshape2_0.tmp_0", outputs=[("save_infer_model/scale_0.tmp_0", 2)], tail=["Softmax", "Identity"])
    flat = [node("Sub", ["x0", "mean"], ["x"]), *trunk()[0], node("Reshape", ["map", "shape"], ["flat"]), *gemm(x="flat")[0]]
    weights = [tensor("mean", 1, 3, 1, 1), *trunk()[1], ints("shape", -1, 384), tensor("h", 4, 384), tensor("c", 4)]
    case("matlab", (flat, weights), "flat", features=384, x=("x0", T.FLOAT, ["BatchSize", 3, 8, 8]))
    boxes = [node("Conv", ["map", "hb"], ["boxes"], kernel_shape=[1, 1]), node("Conv", ["map", "hs"], ["scores"], kernel_shape=[1, 1]), node("Sigmoid", ["scores"], ["prob"])]
    shapes = [("boxes", ["N", 4, 8, 8], T.FLOAT), ("prob", ["N", 9, 8, 8], T.FLOAT)]
    case("detector", join(trunk(), (boxes, [tensor("hb", 4, 6, 1, 1), tensor("hs", 9, 6, 1, 1)])), "scores", classifier="none", classes=None, features=9, outputs=shapes,
         output="prob", adapted="prob", tail=["Sigmoid"], pooling="mean")


def same(name, count, *shape):
    """The same values for each of `count` images."""
    return numpy_helper.from_array(np.repeat(RNG.normal(0, 0.4, (1, *shape)).astype(np.float32), count, 0), name)


def batches():
    """Constants that hold the batch."""
    for count in (1, 2):
        flat = [node("Reshape", ["map", "s1"], ["rows"]), node("Transpose", ["rows"], ["patches"], perm=[0, 2, 1]), node("Concat", ["class", "patches"], ["all"], axis=1)]
        flat += [node("Add", ["all", "places"], ["tokens"]), node("Reshape", ["tokens", "s2"], ["split"]), node("Transpose", ["split"], ["q"], perm=[0, 2, 1, 3])]
        flat += [node("Reshape", ["q", "s3"], ["heads"]), node("Softmax", ["heads"], ["weights"], axis=-1), node("Reshape", ["weights", "s4"], ["back"])]
        flat += [node("Transpose", ["back"], ["turned"], perm=[0, 2, 1, 3]), node("Reshape", ["turned", "s2b"], ["joined"]), node("Gather", ["joined", "t"], ["features"], axis=1)]
        stored = [ints("s1", count, 6, 64), same("class", count, 1, 6), same("places", count, 65, 6), ints("s2", count, 65, 2, 3), ints("s3", count * 2, 65, 3)]
        stored += [ints("s4", count, 2, 65, 3), ints("s2b", count, 65, 6), scalar("t", 0, np.int64)]
        extra(f"batch{count}_tokens", join(trunk(), (flat, stored), gemm()), x=("x", T.FLOAT, [count, 3, 8, 8]), y=("logits", T.FLOAT, [count, 4]))
        line = [node("Reshape", ["map", "s1"], ["rows"]), node("Transpose", ["rows"], ["sequence"], perm=[2, 0, 1]), node("Reshape", ["sequence", "s2"], ["heads"])]
        line += [node("Transpose", ["heads"], ["first"], perm=[1, 0, 2]), node("Softmax", ["first"], ["weights"], axis=1), node("Transpose", ["weights"], ["last"], perm=[1, 0, 2])]
        line += [node("Reshape", ["last", "s3"], ["merged"]), node("MatMul", ["merged", "m"], ["mixed"]), node("Reshape", ["mixed", "s4"], ["again"])]
        line += [node("ReduceMean", ["again"], ["features"], axes=[0], keepdims=0)]
        stored = [ints("s1", count, 6, 64), ints("s2", 64, count * 2, 3), ints("s3", 64 * count, 6), tensor("m", 6, 6), ints("s4", 64, count, 6)]
        extra(f"batch{count}_sequence", join(trunk(), (line, stored), gemm()), x=("x", T.FLOAT, [count, 3, 8, 8]), y=("logits", T.FLOAT, [count, 4]))
    made = [node("Unsqueeze", ["one", "front"], ["a"]), node("Concat", ["a", "rest"], ["target"], axis=0), node("Reshape", ["map", "target"], ["grid"])]
    made += [node("ReduceMean", ["grid"], ["features"], axes=[2, 3, 4, 5], keepdims=0)]
    stored = [scalar("one", 1, np.int64), ints("front", 0), ints("rest", 6, 2, 4, 2, 4)]
    extra("batch1_computed", join(trunk(), (made, stored), gemm()), x=("x", T.FLOAT, [1, 3, 8, 8]), y=("logits", T.FLOAT, [1, 4]))
    grown = [node("Resize", ["map", "", "", "sizes"], ["large"], mode="nearest"), node("Expand", ["shift", "full"], ["shifts"]), node("Add", ["large", "shifts"], ["moved"])]
    grown += [node("Expand", ["moved", "full"], ["all"]), node("GlobalAveragePool", ["all"], ["pool"]), node("Reshape", ["pool", "flat"], ["features"])]
    stored = [ints("sizes", 2, 6, 16, 16), tensor("shift", 6, 1, 1), ints("full", 2, 6, 16, 16), ints("flat", 2, -1)]
    extra("batch2_resize", join(trunk(), (grown, stored), gemm()), x=("x", T.FLOAT, [2, 3, 8, 8]), y=("logits", T.FLOAT, [2, 4]))


def sizes():
    """Sizes, channels and ranks that the file leaves open."""
    flat = ([node("Flatten", ["map"], ["features"])], [])
    for name, x in (("open", ["N", 3, "H", "W"]), ("side", ["N", 3, 32, "W"]), ("rank", ["N", 3, "H", "W"])):
        extra(f"size_{name}", join(trunk(), flat, gemm(features=6 * 32 * 32)), x=("x", T.FLOAT, x))
    unknown = onnx.load(OUT / "size_rank.onnx")
    unknown.graph.input[0].type.tensor_type.ClearField("shape")
    (OUT / "size_rank.onnx").write_bytes(unknown.SerializeToString(deterministic=True))
    for channels in (1, 2, 4):
        extra(f"channels_{channels}", join(pooled(colours=channels), gemm()), x=("x", T.FLOAT, ["N", "C", 8, 8]))
    turned = ([node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2])], [])
    extra("channels_last", join(turned, pooled(colours=4), gemm()), x=("image", T.FLOAT, ["N", "H", "W", "C"]))


def inputs(name, ins, nodes, weights=()):
    """`pooled` and a head, with further inputs that `nodes` read; they make `features` of `f`."""
    front, stored = pooled()
    front[-1].output[0] = "f"
    parts = join((front, stored), (nodes, list(weights)), gemm())
    graph = helper.make_graph(parts[0], name, [info("x", T.FLOAT, ["N", 3, 8, 8]), *ins], [info("logits", T.FLOAT, ["N", 4])], parts[1])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    (OUT / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def extras():
    train = [node("Where", ["net/is_training:0", "zero", "f"], ["kept"]), node("Mul", ["kept", "keep_prob"], ["features"])]
    given = [info("net/is_training:0", T.BOOL, []), info("keep_prob", T.FLOAT, [])]
    inputs("extra_training", given, train, [scalar("zero", 0)])
    shape = [node("Div", ["im_shape", "scale_factor"], ["real"]), node("ReduceSum", ["real", "second"], ["side"], keepdims=1), node("Mul", ["f", "side"], ["features"])]
    inputs("extra_paddle", [info("im_shape", T.FLOAT, ["N", 2]), info("scale_factor", T.FLOAT, ["N", 2])], shape, [ints("second", 1)])
    inputs("extra_unknown", [info("temperature", T.FLOAT, [1])], [node("Mul", ["f", "temperature"], ["features"])])


def others():
    looked_up = [node("ArgMax", ["scores"], ["place"], axis=1, keepdims=0), node("Gather", ["labels", "place"], ["label"])]
    case("argmax_labels", join(pooled(), gemm("scores"), (looked_up, [ints("labels", 10, 20, 30, 40)])), "features", outputs=[("label", 1, T.INT64)], adapted="label")
    # VOLO: a head on the class token, and half the maximum of one on each of the others.
    both = [node("LayerNormalization", ["tokens", "g"], ["normed"]), node("Gather", ["normed", "t0"], ["class"], axis=1), *gemm("one", x="class", prefix="1.")[0]]
    both += [node("Slice", ["normed", "from", "to", "axis"], ["others"]), node("MatMul", ["others", "h"], ["each"]), node("ReduceMax", ["each"], ["most"], axes=[1], keepdims=0)]
    both += [node("Mul", ["most", "half"], ["less"]), node("Add", ["one", "less"], ["logits"])]
    weights = [tensor("g", 6), scalar("t0", 0, np.int64), *gemm(prefix="1.")[1], ints("from", 1), ints("to", 64), ints("axis", 1), tensor("h", 6, 4), scalar("half", 0.5)]
    case("class_and_most", join(tokens(), (both, weights)), "class")
    # Features that get the mean of the batch and something large added.
    for name, kind in (("bytes", T.UINT8), ("floats", T.FLOAT)):
        front = [node("Cast", ["image"], ["float"], to=T.FLOAT), node("Div", ["float", "scale"], ["x"])]
        nodes, stored = pooled()
        nodes[-1].output[0] = "own"
        mixed = [node("ReduceMean", ["own"], ["mean"], axes=[0], keepdims=1), node("Add", ["own", "mean"], ["sum"]), node("Add", ["sum", "large"], ["features"])]
        parts = join((front, [scalar("scale", 127.5)]), (nodes, stored), (mixed, [scalar("large", 200)]), gemm())
        extra(f"batch2_mixed_{name}", parts, x=("image", kind, [2, 3, 8, 8]), y=("logits", T.FLOAT, [2, 4]))


def main():
    for make in (joined, decisions, layers, styles, batches, sizes, extras, others):
        make()
    (OUT / "heads.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in CASES) + "\n]\n")


if __name__ == "__main__":
    main()
