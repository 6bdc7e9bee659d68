"""Models in full size to slice: the architectures of the onnx package with weights, and language models from torch.

Rules: weights come from a fixed start, so a file is the same in every process; a model answers with numbers that its
input changes, so a softmax at the end, which random weights drive to 0 and 1, is left off; torch only where it is asked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

LIGHT = ("resnet50", "vgg19", "densenet121", "inception_v1", "inception_v2", "shufflenet", "squeezenet")
# The configurations of transformers without options are those of BERT-base, GPT-2 small and T5-small.
LANGUAGE = {
    "bert": "hf:bert",
    "gpt2": "hf:gpt2?architecture=GPT2LMHeadModel",
    "t5": "hf:t5?architecture=T5ForConditionalGeneration",
}
MODELS = (*LIGHT, *LANGUAGE)


def write_model(name: str, folder: Path) -> Path:
    """One of MODELS as a file."""
    path = folder / f"{name}.onnx"
    if name in LIGHT:
        path.write_bytes(_light(name).SerializeToString())
        return path
    from partita.slice import export

    export(LANGUAGE[name], path, batch=1)
    return path


def _light(name: str) -> Any:
    import onnx
    import onnx.backend.test

    from partita.testing.onnx_models import with_weights

    source = Path(onnx.backend.test.__file__).parent / "data" / "light" / f"light_{name}.onnx"
    return logits(with_weights(onnx.load(source)))


def logits(model: Any) -> Any:
    """The same model without its last softmax."""
    last, (output,) = model.graph.node[-1], model.graph.output
    if last.op_type == "Softmax":
        output.name = last.input[0]
        output.type.tensor_type.ClearField("shape")
        model.graph.node.pop()
    return model
