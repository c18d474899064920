"""Writes a checkpoint of exact StableLM 2 shapes with random weights, one tensor in memory at a time.

Usage: `python make_checkpoint.py OUT [--shape 1.6b|3b|12b] [--dtype bf16|f16|f32] [--seed 0] [--tokenizer FOLDER]`

Needs numpy and torch. Weights follow GPT-NeoX's initialisation (normal, 0.02; output projections divided by sqrt(2 L)); LayerNorms are one
and zero. Shapes and the number of parameters are those of the published checkpoints (arXiv 2402.17834), values are not.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import struct
import zlib

import torch

COMMON = {"max_position_embeddings": 4096, "partial_rotary_factor": 0.25, "rope_theta": 10000, "layer_norm_eps": 1e-5,
          "hidden_act": "silu", "tie_word_embeddings": False, "use_cache": True, "initializer_range": 0.02}
SHAPES = {
    "1.6b": {"vocab_size": 100352, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24, "num_attention_heads": 32,
             "num_key_value_heads": 32, "use_qkv_bias": True, "bos_token_id": 100257, "eos_token_id": 100257},
    "3b": {"vocab_size": 50304, "hidden_size": 2560, "intermediate_size": 6912, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 32, "use_qkv_bias": False, "bos_token_id": 0, "eos_token_id": 0},
    "12b": {"vocab_size": 100352, "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 32,
            "num_key_value_heads": 8, "use_qkv_bias": False, "qk_layernorm": True, "use_parallel_residual": True,
            "bos_token_id": 100257, "eos_token_id": 100257},
}
DTYPES = {"bf16": ("BF16", torch.bfloat16, "bfloat16"), "f16": ("F16", torch.float16, "float16"), "f32": ("F32", torch.float32, "float32")}
TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt"]


def tensors(shape: dict) -> list[tuple[str, list[int]]]:
    """Names and shapes, in the order they are written."""
    vocabulary, hidden = shape["vocab_size"], shape["hidden_size"]
    layers = [entry for index in range(shape["num_hidden_layers"]) for entry in layer(shape, f"model.layers.{index}")]
    return [("model.embed_tokens.weight", [vocabulary, hidden]), *layers, *norm("model.norm", hidden), ("lm_head.weight", [vocabulary, hidden])]


def layer(shape: dict, prefix: str) -> list[tuple[str, list[int]]]:
    hidden, width = shape["hidden_size"], shape["intermediate_size"]
    names = ["input_layernorm"] + ([] if shape.get("use_parallel_residual") else ["post_attention_layernorm"])
    mlp = [("gate", [width, hidden]), ("up", [width, hidden]), ("down", [hidden, width])]
    return [
        *(entry for name in names for entry in norm(f"{prefix}.{name}", hidden)),
        *attention(shape, f"{prefix}.self_attn"),
        *((f"{prefix}.mlp.{name}_proj.weight", size) for name, size in mlp),
    ]


def attention(shape: dict, prefix: str) -> list[tuple[str, list[int]]]:
    hidden, heads = shape["hidden_size"], {"q": shape["num_attention_heads"]} | dict.fromkeys("kv", shape["num_key_value_heads"])
    head = hidden // heads["q"]
    entries = [(f"{prefix}.{name}_proj.weight", [count * head, hidden]) for name, count in heads.items()]
    if shape["use_qkv_bias"]:
        entries += [(f"{prefix}.{name}_proj.bias", [count * head]) for name, count in heads.items()]
    if shape.get("qk_layernorm"):
        entries += [(f"{prefix}.{name}_layernorm.norms.{index}.weight", [head]) for name in "qk" for index in range(heads[name])]
    return entries + [(f"{prefix}.o_proj.weight", [hidden, hidden])]


def norm(name: str, hidden: int) -> list[tuple[str, list[int]]]:
    return [(f"{name}.weight", [hidden]), (f"{name}.bias", [hidden])]


def draw(name: str, size: list[int], layers: int, seed: int) -> torch.Tensor:
    """One tensor in f32; its values follow from the seed and its name alone."""
    if name.endswith(".bias"):
        return torch.zeros(size)
    if "norm" in name:
        return torch.ones(size)
    output = name.endswith(("o_proj.weight", "down_proj.weight"))
    generator = torch.Generator().manual_seed((seed << 32) | zlib.crc32(name.encode()))
    return torch.empty(size).normal_(0.0, 0.02 / math.sqrt(2 * layers) if output else 0.02, generator=generator)


def header(entries: list[tuple[str, list[int]]], label: str, width: int) -> bytes:
    """The safetensors header: its length, then JSON padded with spaces to a multiple of eight bytes."""
    fields, start = {"__metadata__": {"format": "pt"}}, 0
    for name, size in entries:
        end = start + math.prod(size) * width
        fields[name], start = {"dtype": label, "shape": size, "data_offsets": [start, end]}, end
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write(path: pathlib.Path, shape: dict, dtype: str, seed: int) -> int:
    """Streams the weights file beside its place, then moves it there; returns the number of parameters."""
    label, kind, _ = DTYPES[dtype]
    entries, partial = tensors(shape), path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(header(entries, label, kind.itemsize))
        for name, size in entries:
            values = draw(name, size, shape["num_hidden_layers"], seed).to(kind)
            file.write(values.view(torch.uint8).numpy().data)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    return sum(math.prod(size) for _, size in entries)


def configuration(shape: dict, dtype: str) -> dict:
    return {"architectures": ["StableLmForCausalLM"], "model_type": "stablelm", "torch_dtype": DTYPES[dtype][2]} | COMMON | shape


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--shape", choices=SHAPES, default="1.6b")
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, help="fewer layers than the published model")
    parser.add_argument("--tokenizer", type=pathlib.Path, help="folder whose tokenizer files are copied")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    shape = SHAPES[options.shape] | ({"num_hidden_layers": options.layers} if options.layers else {})
    options.out.mkdir(parents=True)
    parameters = write(options.out / "model.safetensors", shape, options.dtype, options.seed)
    (options.out / "config.json").write_text(json.dumps(configuration(shape, options.dtype), indent=2) + "\n")
    for name in TOKENIZER if options.tokenizer else []:
        if (options.tokenizer / name).exists():
            shutil.copy(options.tokenizer / name, options.out / name)
    print(json.dumps({"parameters": parameters, "bytes": (options.out / "model.safetensors").stat().st_size}))


if __name__ == "__main__":
    main()
