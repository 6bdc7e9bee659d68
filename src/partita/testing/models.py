"""Tiny models of every kind that has to split, as references: the same weights in every process.

Rule: each is small in width and depth but whole in structure: skips, tied weights, an encoder beside a decoder,
several inputs and outputs, dropout, normalisation with running statistics.
"""

from __future__ import annotations

from ..zoo import Network, build

# Sizes of a transformer that is traced in half a second: two layers of two heads, sixteen wide.
_BERT = "vocab_size=50&hidden_size=16&num_hidden_layers=2&num_attention_heads=2&intermediate_size=32"
_GPT2 = "vocab_size=50&n_embd=16&n_layer=2&n_head=2&n_positions=32&bos_token_id=1&eos_token_id=1"
_T5 = "vocab_size=50&d_model=16&num_layers=2&num_heads=2&d_kv=8&d_ff=32"

TINY_MODELS: dict[str, str] = {
    "bert": f"hf:bert?architecture=BertForSequenceClassification&{_BERT}",
    "bilstm": "zoo:bilstm-tiny?vocabulary=50&width=16",
    "gpt2": f"hf:gpt2?architecture=GPT2LMHeadModel&{_GPT2}",
    "resnet": "zoo:resnet-tiny?width=8&blocks=1",
    "t5": f"hf:t5?architecture=T5ForConditionalGeneration&{_T5}",
    "towers": "zoo:towers-tiny",
    "unet": "zoo:unet-tiny?width=4",
}


def tiny_model(name: str, seed: int = 0) -> Network:
    """One of them, as a module with example inputs. Texts are six tokens long, the second one half padded."""
    network = build(TINY_MODELS[name], dims={"seq": 6}, seed=seed)
    if "attention_mask" in network.kwargs:
        network.kwargs["attention_mask"][1, 3:] = 0
    return network
