"""Small models and recipes for `train_reference.py`: a dense StableLM 2 with random weights, and mixtures of eight experts grown
from it once it is trained.

D 128, 4 layers, 4 heads, a byte-level BPE of 1,500 tokens learnt from the text. The recipes are made to touch what can go wrong: uneven
micro-batches, a warm-up, a gradient norm above the limit, both router losses, decay by groups.
"""

import io
import json
import pathlib
import subprocess
from dataclasses import dataclass

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

CONFIG = {"architectures": ["StableLmForCausalLM"], "model_type": "stablelm", "torch_dtype": "float32", "hidden_act": "silu",
          "vocab_size": 1500, "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4,
          "num_key_value_heads": 4, "max_position_embeddings": 256, "partial_rotary_factor": 0.25, "rope_theta": 10000,
          "layer_norm_eps": 1e-5, "use_qkv_bias": True, "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0}
RECIPE = """[model]
checkpoint = "{checkpoint}"

[data]
train = ["{text}"]

[train]
steps = 50
sequence_length = 64
batch_size = 4
micro_batch_size = 3
order = "sequential"
{more}
"""


@dataclass
class Case:
    """A recipe: where its model comes from, and what it says beside the sizes."""

    name: str
    source: str
    gate: str | None
    more: str


SEED = "3"  # of the routers: no choice of the 50 steps comes closer to a tie than 3e-6, ten times the rounding
ROUTER = "balance_coefficient = 0.02, z_coefficient = 1e-3"
CONTINUED = 'schedule = { kind = "reset", peak = 1e-3, warmup_steps = 10 }\noptimizer = { clip_norm = 0.5 }\n'
CASES = [
    Case("dense", "dense", None, 'schedule = { peak = 5e-3, warmup_steps = 10 }\noptimizer = { clip_norm = 0.5 }'),
    Case("moe", "run-dense/model", "topk_softmax", CONTINUED + f"losses = {{ {ROUTER} }}"),
    Case("moe-switch", "run-dense/model", "softmax_topk_renorm", CONTINUED + f'losses = {{ {ROUTER}, balance_level = "global_batch" }}'),
]


def documents(path: pathlib.Path) -> list[str]:
    """The texts of a corpus file: a `text` a line, or the whole file."""
    data = path.read_bytes()
    if path.suffix == ".zst":
        import zstandard

        data = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(io.BytesIO(data)).read()
    text = data.decode()
    return [json.loads(line)["text"] for line in text.split("\n") if line.strip()] if ".jsonl" in path.name else [text]


def shapes(config: dict) -> dict[str, list[int]]:
    d, f = config["hidden_size"], config["intermediate_size"]
    found = {"model.embed_tokens.weight": [config["vocab_size"], d], "lm_head.weight": [config["vocab_size"], d]}
    norms = ["model.norm"]
    for prefix in (f"model.layers.{index}" for index in range(config["num_hidden_layers"])):
        norms += [f"{prefix}.input_layernorm", f"{prefix}.post_attention_layernorm"]
        found |= {f"{prefix}.self_attn.{name}_proj.weight": [d, d] for name in "qkvo"}
        found |= {f"{prefix}.self_attn.{name}_proj.bias": [d] for name in "qkv"}
        found |= {f"{prefix}.mlp.{name}_proj.weight": shape for name, shape in (("gate", [f, d]), ("up", [f, d]), ("down", [d, f]))}
    return found | {f"{name}.{part}": [d] for name in norms for part in ("weight", "bias")}


def drawn(name: str, shape: list[int], generator: torch.Generator) -> torch.Tensor:
    values = torch.empty(shape).normal_(0.0, 0.08, generator=generator)
    return values + 1 if "norm.weight" in name or "layernorm.weight" in name else values


def tokenizer(texts: list[str], folder: pathlib.Path) -> None:
    found = Tokenizer(models.BPE())
    found.pre_tokenizer, found.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=CONFIG["vocab_size"], special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    found.train_from_iterator(texts, trainer)
    found.save(str(folder / "tokenizer.json"))


def dense(text: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes the dense model with random weights to `folder/dense`."""
    target, generator = folder / "dense", torch.Generator().manual_seed(4)
    target.mkdir()
    tokenizer(documents(text)[:200], target)
    save_file({name: drawn(name, shape, generator) for name, shape in shapes(CONFIG).items()}, target / "model.safetensors", {"format": "pt"})
    (target / "config.json").write_text(json.dumps(CONFIG))


def grow(coppice: str, folder: pathlib.Path, case: Case) -> None:
    """Upcycles the case's model, where it is a mixture, to `folder/NAME`."""
    if case.gate:
        shape = ["--method", "copy", "--experts", "8", "--top-k", "2", "--gate", case.gate, "--no-report"]
        source, target = folder / case.source, folder / case.name
        router = ["--router-init", "normal", "--router-std", "0.05", "--seed", SEED]
        subprocess.run([coppice, "upcycle", "--model", source, "--output", target, *shape, *router], check=True, stdout=subprocess.DEVNULL)


def recipe(folder: pathlib.Path, text: pathlib.Path, case: Case) -> pathlib.Path:
    path, checkpoint = folder / f"{case.name}.toml", folder / (case.name if case.gate else case.source)
    path.write_text(RECIPE.format(checkpoint=checkpoint, text=text.resolve(), more=case.more))
    return path
