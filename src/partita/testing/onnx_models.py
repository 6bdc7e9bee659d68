"""Small ONNX models with one trait each: what a cutter of ONNX graphs must get right.

Rules: models are text (the syntax of onnx.parser) so that they can be read; a declared value that nothing makes is
a weight and is filled from a seed; the onnx package is imported when a model is built, not before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

_HEAD = '<ir_version: 9, opset_import: ["" : 18]>'

# Name -> text. Every model runs on the CPU, and every input can be made up.
TEXTS: dict[str, str] = {
    "skip": """
        skip (float[batch, 8] x) => (float[batch, 8] y) <float[8, 8] w1, float[8, 8] w2, float[8] b> {
            a = MatMul(x, w1)
            r = Relu(a)
            c = MatMul(r, w2)
            d = Add(c, b)
            e = Add(d, r)
            y = Tanh(e)
        }""",
    "split": """
        split (float[batch, 8] x) => (float[batch, 2] y) <float[8, 8] w> {
            a = MatMul(x, w)
            p, q, r, s = Split <axis = 1, num_outputs = 4> (a)
            t = Mul(p, q)
            u = Sub(r, s)
            v = Add(t, u)
            y = Add(v, q)
        }""",
    "integers": """
        integers (float[batch, 4, 6] x) => (float[batch, 24] y) <float[24, 24] w> {
            shape = Shape(x)
            zero = Constant <value = int64[1] {0}> ()
            n = Gather(shape, zero)
            rest = Constant <value = int64[1] {-1}> ()
            to = Concat <axis = 0> (n, rest)
            r = Sqrt(x2)
            x2 = Mul(x, x)
            f = Reshape(r, to)
            y = MatMul(f, w)
        }""",
    "two_inputs": """
        two_inputs (int64[batch, seq] ids, float[batch, seq] mask) => (float[batch, seq, 8] y)
        <float[32, 8] table, float[8, 8] w> {
            e = Gather(table, ids)
            axis = Constant <value = int64[1] {-1}> ()
            m = Unsqueeze(mask, axis)
            f = Mul(e, m)
            g = MatMul(f, w)
            y = Softmax(g)
        }""",
    "late_input": """
        late_input (float[batch, 8] x, float[batch, 8] late) => (float[batch, 8] y) <float[8, 8] w> {
            a = MatMul(x, w)
            b = Relu(a)
            c = Tanh(b)
            y = Add(c, late)
        }""",
    "early_output": """
        early_output (float[batch, 8] x) => (float[batch, 8] early, float[batch, 8] y) <float[8, 8] w> {
            early = MatMul(x, w)
            b = Relu(early)
            c = Tanh(b)
            y = Neg(c)
        }""",
    "tied": """
        tied (int64[batch, seq] ids) => (float[batch, seq, 32] y) <float[32, 8] table, float[8, 8] w> {
            e = Gather(table, ids)
            h = MatMul(e, w)
            r = Relu(h)
            t = Transpose(table)
            y = MatMul(r, t)
        }""",
    "branch": """
        branch (float[batch, 8] x, bool flag) => (float[batch, 8] y) <float[8, 8] w, float[8] b> {
            a = MatMul(x, w)
            k = Relu(a)
            i = If (flag) <
                then_branch = yes () => (float[batch, 8] o) { t = Add(k, b)  o = Tanh(t) },
                else_branch = no () => (float[batch, 8] o) { t = Mul(a, b)  o = Sub(t, x) }
            >
            j = Neg(i)
            y = Add(j, a)
        }""",
    "loop": """
        loop (float[4, 8] x, int64 n) => (float[4, 8] y, float[rounds, 4, 8] seen) <float[8, 8] w> {
            a = MatMul(x, w)
            s = Sigmoid(a)
            go = Constant <value = bool {1}> ()
            h, seen = Loop (n, go, a) <body = step (int64 i, bool c, float[4, 8] h0) =>
                (bool d, float[4, 8] h1, float[4, 8] o) {
                    d = Identity(c)
                    m = Mul(h0, s)
                    h1 = Add(m, x)
                    o = Identity(m)
                }>
            y = Tanh(h)
        }""",
    "scan": """
        scan (float[5, 8] x) => (float[8] y, float[5, 8] all) <float[8] start, float[8] gain> {
            a = Abs(x)
            g = Sqrt(gain2)
            gain2 = Mul(gain, gain)
            last, all = Scan (start, a) <num_scan_inputs = 1, body = step (float[8] h, float[8] v) =>
                (float[8] h2, float[8] o) {
                    m = Mul(h, g)
                    h2 = Add(m, v)
                    o = Identity(h2)
                }>
            y = Neg(last)
        }""",
    "sequence": """
        sequence (float[batch, 8] x) => (float[batch, 4] y) {
            a = Tanh(x)
            s = SplitToSequence <axis = 1> (a, parts)
            one = Constant <value = int64 {1}> ()
            z = Constant <value = int64 {0}> ()
            parts = Constant <value = int64 {4}> ()
            p = SequenceAt(s, z)
            q = SequenceAt(s, one)
            y = Add(p, q)
        }""",
    "optional_input": """
        optional_input (float[batch, 8] x) => (float[batch, 8] y) <float[8, 8] w> {
            top = Constant <value = float {0.5}> ()
            a = MatMul(x, w)
            c = Clip(a, , top)
            y = Exp(c)
        }""",
    "passing": """
        passing (float[batch, 8] x, float[batch, 8] idle) => (float[batch, 8] x, float[8, 8] w, float[batch, 8] y)
        <float[8, 8] w> {
            a = MatMul(x, w)
            r = Relu(a)
            dead = Neg(r)
            y = Tanh(r)
        }""",
    "unordered": """
        unordered (float[batch, 8] x) => (float[batch, 8] y) <float[8, 8] w> {
            y = Tanh(c)
            c = Add(r, a)
            r = Relu(a)
            a = MatMul(x, w)
        }""",
    "found": """
        found (float[batch, 8] x) => (float[k] y) <float[8, 8] w> {
            a = MatMul(x, w)
            nz = NonZero(a)
            t = Transpose(nz)
            g = GatherND(a, t)
            y = Exp(g)
        }""",
}

_FUNCTIONS = """
<ir_version: 9, opset_import: ["" : 18, "mine" : 1]>
functions (float[batch, 8] x, bool flag) => (float[batch, 8] y) <float[8, 8] w, float[8] b> {
    a = MatMul(x, w)
    c = mine.outer(a, b)
    i = If (flag) <
        then_branch = yes () => (float[batch, 8] o) { o = mine.inner(c) },
        else_branch = no () => (float[batch, 8] o) { o = Identity(c) }
    >
    y = Neg(i)
}
<domain: "mine", opset_import: ["" : 18]>
inner (v) => (o) { s = Sigmoid(v)  o = Mul(s, v) }
<domain: "mine", opset_import: ["" : 18, "mine" : 1]>
outer (v, bias) => (o) { t = Add(v, bias)  o = mine.inner(t) }
<domain: "mine", opset_import: ["" : 18]>
unused (v) => (o) { o = Neg(v) }
"""

NAMES = (*TEXTS, "functions", "old", "annotated", "sparse")


def onnx_model(name: str, seed: int = 0) -> Any:
    """One of NAMES as an onnx.ModelProto."""
    import onnx

    match name:
        case "functions":
            return filled(onnx.parser.parse_model(_FUNCTIONS), seed)
        case "old":
            return _old(seed)
        case "annotated":
            return _annotated(seed)
        case "sparse":
            return _sparse(seed)
        case _:
            return filled(onnx.parser.parse_model(_HEAD + TEXTS[name]), seed)


def write_onnx(name: str, folder: Path, seed: int = 0) -> Path:
    """One of NAMES as a file."""
    path = folder / f"{name}.onnx"
    path.write_bytes(onnx_model(name, seed).SerializeToString())
    return path


def filled(model: Any, seed: int = 0) -> Any:
    """The same model, with every declared value that nothing makes turned into a weight."""
    import onnx

    generator = np.random.default_rng(seed)
    graph = model.graph
    made = {name for node in graph.node for name in node.output} | {value.name for value in graph.input}
    made |= {tensor.name for tensor in graph.initializer}
    for value in [value for value in graph.value_info if value.name not in made]:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        weight = generator.standard_normal(shape).astype(np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(weight, value.name))
        graph.value_info.remove(value)
    return model


def _old(seed: int) -> Any:
    """IR version 3, in which every initializer is an input too."""
    import onnx

    model = onnx_model("skip", seed)
    model.ir_version = 3
    del model.opset_import[:]
    model.opset_import.add().version = 9
    for tensor in model.graph.initializer:
        value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(value)
    return model


def _annotated(seed: int) -> Any:
    """Metadata on model, graph and tensors, and a weight that only an annotation refers to."""
    import onnx

    model = onnx_model("skip", seed)
    model.doc_string, model.producer_name = "what it is for", "partita"
    onnx.helper.set_model_props(model, {"author": "somebody"})
    entry = model.graph.metadata_props.add()
    entry.key, entry.value = "step", "7"
    scale = onnx.numpy_helper.from_array(np.float32(0.5).reshape(()), "r_scale")
    model.graph.initializer.append(scale)
    note = model.graph.quantization_annotation.add()
    note.tensor_name = "r"
    pair = note.quant_parameter_tensor_names.add()
    pair.key, pair.value = "SCALE_TENSOR", "r_scale"
    return model


def _sparse(seed: int) -> Any:
    """A weight that is stored as its non-zero entries."""
    import onnx

    model = onnx_model("skip", seed)
    (dense,) = [tensor for tensor in model.graph.initializer if tensor.name == "w2"]
    model.graph.initializer.remove(dense)
    values = onnx.numpy_helper.from_array(np.arange(1, 9, dtype=np.float32), "w2")
    places = onnx.numpy_helper.from_array(np.arange(0, 64, 8, dtype=np.int64), "w2_places")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, places, [8, 8]))
    return model


def with_weights(model: Any, seed: int = 0, *, largest: int = 1 << 30) -> Any:
    """The light models of the onnx package with weights of their own, as far as these stay under `largest` bytes.

    There, weights are ConstantOfShape nodes, and every output is the same number whatever the input. Weights are
    drawn so that activations keep their size (He et al. 2015), and scales and variances stay positive.
    """
    import onnx

    generator = np.random.default_rng(seed)
    graph = model.graph
    shapes = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "ConstantOfShape" and n.input[0] in shapes]:
        shape = tuple(int(size) for size in shapes[node.input[0]])
        name = node.output[0]
        if 4 * int(np.prod(shape)) > largest:
            continue
        graph.initializer.append(onnx.numpy_helper.from_array(_drawn(shape, generator), name))
        if model.ir_version < 4:
            graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
        graph.node.remove(node)
    return model


def _drawn(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray[Any, Any]:
    if len(shape) < 2:
        return (0.5 + 0.1 * np.abs(generator.standard_normal(shape))).astype(np.float32)
    spread = np.sqrt(2 / max(1, int(np.prod(shape[1:]))))
    return (generator.standard_normal(shape, np.float32) * np.float32(spread)).astype(np.float32)


def write_giant(folder: Path, layers: int = 9, width: int = 8192) -> Path:
    """A chain of matrix products whose weights lie in a sparse file: gigabytes that take no space on disk.

    With 9 layers of 8192 x 8192 they are 2.4 GB, more than one protobuf message can hold. A few entries of each
    weight are set, so that the numbers that come out depend on every layer.
    """
    import onnx

    helper, tensor = onnx.helper, onnx.TensorProto
    size = 4 * width * width
    nodes, weights = [], []
    with (folder / "giant.data").open("wb") as data:
        data.truncate(layers * size)
        for layer in range(layers):
            for row in range(4):
                data.seek(layer * size + 4 * width * row)
                data.write(np.linspace(0.1, 0.4 + layer, 4, dtype=np.float32).tobytes())
            weight = onnx.TensorProto(name=f"w{layer}", data_type=tensor.FLOAT, dims=[width, width])
            weight.data_location = tensor.EXTERNAL
            entries = {"location": "giant.data", "offset": str(layer * size), "length": str(size)}
            for key, value in entries.items():
                entry = weight.external_data.add()
                entry.key, entry.value = key, value
            weights.append(weight)
            nodes.append(helper.make_node("MatMul", [f"h{layer}", f"w{layer}"], [f"m{layer}"]))
            nodes.append(helper.make_node("Relu", [f"m{layer}"], [f"h{layer + 1}"]))
    ends = [helper.make_tensor_value_info(n, tensor.FLOAT, ["batch", width]) for n in ("h0", f"h{layers}")]
    graph = helper.make_graph(nodes, "giant", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / "giant.onnx"
    path.write_bytes(model.SerializeToString())
    return path
