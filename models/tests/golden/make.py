"""Writes the golden files beside it: what transformers (fp32, eager) and torch say about tiny random StableLM 2 models.

Usage: `python make.py` with torch 2.11 and transformers 5.23 or 5.24. The weights are not stored: `weights.py` tells how both sides make
them. A file that is stored in F16 or BF16 is rounded first and computed in f32, so rotary buffers are never rounded. Mixtures of experts
are those of `models/python/`, the file that goes with every checkpoint; `moe.py` is a second reference, of the layer alone.
"""

import json
import pathlib
import sys

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import StableLmConfig, StableLmForCausalLM

import moe
import weights

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
from python.modeling_stablelm_moe import StableLmMoeConfig, StableLmMoeForCausalLM  # noqa: E402

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
LENGTHS = [1, 2, 17, 400]
RAGGED = [9, 23, 5]
NEW_TOKENS = 24
MARGIN = 2e-3

SMALL = {"vocab_size": 320, "hidden_size": 256, "intermediate_size": 384, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 4, "use_qkv_bias": True}
LARGE = {"vocab_size": 288, "hidden_size": 640, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "qk_layernorm": True, "use_parallel_residual": True}
MIDDLE = {"vocab_size": 304, "hidden_size": 160, "intermediate_size": 448, "num_hidden_layers": 2, "num_attention_heads": 2,
          "num_key_value_heads": 2}
LONE_KEY = {"hidden_size": 320, "num_attention_heads": 2, "num_key_value_heads": 1}
TIED = {"tie_word_embeddings": True}
ROUTED = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 192}
SHARED = {"shared_expert_intermediate_size": 96, "shared_expert_gated": True}
GROUPS = {"num_experts": 8, "num_experts_per_tok": 4, "moe_intermediate_size": 112, "router_group_size": 4}

# The published sizes, for counting only (arXiv 2402.17834 and the model cards).
PUBLISHED = {
    "1_6b": {"vocab_size": 100352, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24, "num_attention_heads": 32,
             "num_key_value_heads": 32, "use_qkv_bias": True},
    "12b": {"vocab_size": 100352, "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 32,
            "num_key_value_heads": 8, "qk_layernorm": True, "use_parallel_residual": True},
    "3b": {"vocab_size": 50304, "hidden_size": 2560, "intermediate_size": 6912, "num_hidden_layers": 32, "num_attention_heads": 32,
           "num_key_value_heads": 32},
}

# name: (settings, dialect, dtype, shards, LayerNorm biases in the file, routed experts)
CASES = {
    "1_6b": (SMALL, "stablelm", "F32", 1, "all", None),
    "1_6b_sharded_bf16": (SMALL, "v5", "BF16", 3, "all", None),
    "1_6b_tied_f16": (SMALL | TIED, "epoch", "F16", 1, "all", None),
    "1_6b_final_bias_only": (SMALL, "stablelm", "F32", 2, "final", None),
    "12b": (LARGE, "v5", "F32", 2, "all", None),
    "12b_tied_bf16": (LARGE | LONE_KEY | TIED, "stablelm", "BF16", 1, "none", None),
    "12b_f16": (LARGE | LONE_KEY, "v5", "F16", 1, "none", None),
    "3b": (MIDDLE, "epoch", "F32", 1, "all", None),
    "3b_tied_bf16": (MIDDLE | TIED | {"rope_theta": 1e6}, "v5", "BF16", 2, "all", None),
    "3b_half_rotary_f16": (MIDDLE | {"partial_rotary_factor": 0.5}, "stablelm", "F16", 1, "none", None),
    "moe_alternate": (SMALL, "moe", "F32", 1, "all", ROUTED | {"gate": "softmax_topk", "moe_layers": [0, 2]}),
    "moe_all_bf16": (MIDDLE, "moe", "BF16", 2, "all", ROUTED | {"gate": "topk_softmax", "moe_layers": [0, 1]}),
    "moe_sigmoid_bias": (SMALL, "moe", "F32", 1, "all", ROUTED | {"gate": "sigmoid_topk_renorm", "router_bias": True,
                                                                 "moe_layers": [1, 2]}),
    "moe_12b_shared_gated": (LARGE, "moe", "F32", 2, "none", ROUTED | SHARED | {"gate": "softmax_topk_renorm", "moe_layers": [0, 1]}),
    "moe_groups": (MIDDLE, "moe", "F32", 1, "all", GROUPS | {"gate": "topk_softmax", "moe_layers": [0, 1]}),
    "moe_logit_norm_tied": (MIDDLE | TIED, "moe", "F32", 1, "all", ROUTED | {"gate": "softmax_topk_st", "router_logit_norm": 1.5,
                                                                           "moe_layers": [1]}),
    "moe_expert_choice": (MIDDLE, "moe", "F32", 1, "all", ROUTED | {"gate": "expert_choice_renorm", "moe_layers": [0, 1]}),
}


def settings(given: dict) -> dict:
    """Every key a case needs, defaults filled in."""
    base = {"rope_theta": 10000.0, "partial_rotary_factor": 0.25, "layer_norm_eps": 1e-5, "max_position_embeddings": 512,
            "use_qkv_bias": False, "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0}
    return base | given


def dialect(kind: str, full: dict, routed: dict | None) -> dict:
    """The same settings as the three generations of `config.json`, and ours, wrote them."""
    full = dict(full)
    if kind == "epoch":
        full |= {"norm_eps": full.pop("layer_norm_eps"), "rope_pct": full.pop("partial_rotary_factor"), "rotary_scaling_factor": 1.0,
                 "num_heads": full["num_attention_heads"]}
        return {"architectures": ["StableLMEpochForCausalLM"], "model_type": "stablelm_epoch", "hidden_act": "silu"} | full
    if kind == "v5":
        rope = {name: full.pop(name) for name in ("rope_theta", "partial_rotary_factor")}
        full["rope_parameters"] = rope | {"rope_type": "default"}
    if kind == "moe":
        return {"architectures": ["StableLmMoeForCausalLM"], "model_type": "stablelm_moe", "hidden_act": "silu"} | full | routed
    return {"architectures": ["StableLmForCausalLM"], "model_type": "stablelm", "hidden_act": "silu"} | full


def build(full: dict, routed: dict | None) -> StableLmForCausalLM:
    """The model, its weights not set yet."""
    if routed:
        config = StableLmMoeConfig(**dialect("moe", full, routed))
        return StableLmMoeForCausalLM._from_config(config, attn_implementation="eager").eval().float()
    rope = {"rope_type": "default", "rope_theta": full["rope_theta"], "partial_rotary_factor": full["partial_rotary_factor"]}
    known = {key: value for key, value in full.items() if key not in ("rope_theta", "partial_rotary_factor")}
    return StableLmForCausalLM._from_config(StableLmConfig(**known, rope_parameters=rope), attn_implementation="eager").eval().float()


def fill(model: StableLmForCausalLM, dtype: torch.dtype, biases: str) -> dict:
    """Sets every weight and returns the recipes of those a file holds; LayerNorm biases left out are zero."""
    recipes = {}
    for name, parameter in model.named_parameters():
        spared = "norm" in name and name.endswith(".bias") and not (biases == "all" or biases == "final" and name == "model.norm.bias")
        if spared:
            parameter.data.zero_()
            continue
        recipes[name] = weights.recipe(name, list(parameter.shape))
        parameter.data = weights.tensor(name, **recipes[name]).to(dtype).float()
    return recipes | fill_buffers(model)


def fill_buffers(model: StableLmForCausalLM) -> dict:
    """The same for the routers' biases, which a file holds in f32; other buffers are not stored."""
    biases = {name: buffer for name, buffer in model.named_buffers() if name.endswith("e_score_correction_bias")}
    recipes = {name: weights.recipe(name, list(buffer.shape)) for name, buffer in biases.items()}
    for name, buffer in biases.items():
        buffer.copy_(weights.tensor(name, **recipes[name]))
    return recipes


def digits(values: torch.Tensor) -> list | float:
    """Seven significant digits, as nested lists."""
    if isinstance(values, torch.Tensor):
        return digits(values.tolist())
    return [digits(value) for value in values] if isinstance(values, list) else float(f"{values:.7g}")


def decimals(values: torch.Tensor) -> list[float]:
    return [round(value, 6) for value in values.tolist()]


def scores(logits: torch.Tensor, ids: list[int]) -> dict:
    """What `score` must say of one sequence: natural logs, f32; entry t of the lists is about token t + 1."""
    logprobs = torch.log_softmax(logits[: len(ids)].float(), -1)
    targets = logprobs[:-1].gather(1, torch.tensor(ids[1:]).view(-1, 1)).view(-1)
    entropies = -(logprobs.exp() * logprobs).sum(-1)
    best = logprobs[-1].topk(5)
    return {"ids": ids, "target_logprobs": decimals(targets), "entropies": decimals(entropies),
            "last_top": {"tokens": best.indices.tolist(), "logprobs": decimals(best.values)}}


def batch(model: StableLmForCausalLM, rows: list[list[int]]) -> list[dict]:
    """The rows scored together, padded on the right with token 0."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    logits = model(input_ids=ids, attention_mask=mask).logits
    return [scores(line, row) for line, row in zip(logits, rows)]


def greedy(model: StableLmForCausalLM, name: str, length: int) -> dict:
    """The likeliest continuation of the first prompt on which rounding cannot change it."""
    for attempt in range(50):
        prompt = weights.integers(f"{name}.prompt.{length}.{attempt}", length, model.config.vocab_size)
        tokens = continued(model, prompt)
        if len(tokens) == NEW_TOKENS:
            return {"prompt": prompt, "tokens": tokens}
    raise SystemExit(f"{name}: no prompt of {length} tokens has a clear continuation")


def continued(model: StableLmForCausalLM, prompt: list[int]) -> list[int]:
    """Greedy tokens, cut short where the best two logits lie within MARGIN."""
    tokens = []
    while len(tokens) < NEW_TOKENS:
        best = model(input_ids=torch.tensor([prompt + tokens])).logits[0, -1].topk(2)
        if best.values[0] - best.values[1] < MARGIN:
            break
        tokens.append(int(best.indices[0]))
    return tokens


def parity(name: str) -> dict:
    """The golden values of one case."""
    given, kind, dtype, shards, biases, routed = CASES[name]
    full = settings(given)
    model = build(full, routed)
    recipes = fill(model, DTYPES[dtype], biases)
    draw = lambda label, length: weights.integers(f"{name}.{label}.{length}", length, full["vocab_size"])
    sequences = [draw("sequence", length) for length in LENGTHS]
    causal = not (routed and routed["gate"].startswith("expert_choice"))  # else what follows or pads a text changes it
    return {
        "config": dialect(kind, full, routed), "dtype": dtype, "shards": shards, "tensors": recipes,
        "sequences": [scores(model(input_ids=torch.tensor([ids])).logits[0], ids) for ids in sequences],
        "batch": batch(model, [draw("batch", length) for length in RAGGED]) if causal else [],
        "greedy": [greedy(model, name, length) for length in (4, 11) if causal],
    }


def flops(name: str, length: int = 33) -> dict:
    """torch's own count for one forward, and for forward and backward, of one sequence: matrix products only, attention not halved."""
    given, kind, _, _, _, routed = CASES[name]
    full = settings(given)
    model = build(full, routed)
    with FlopCounterMode(display=False) as forward:
        logits = model(input_ids=torch.arange(length).view(1, -1)).logits
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    return {"config": dialect(kind, full, routed), "length": length, "forward": forward.get_total_flops(),
            "backward": backward.get_total_flops(), "parameters": sum(p.numel() for p in model.parameters())}


def published(shape: dict) -> dict:
    """The parameters transformers allocates for a published shape (on the meta device, so nothing is allocated)."""
    config = dialect("v5", settings(shape), None)
    with torch.device("meta"):
        model = build(settings(shape), None)
    return {"config": config, "parameters": sum(p.numel() for p in model.parameters())}


def write(name: str, value: dict) -> None:
    text = json.dumps(value, separators=(",", ":"))
    (HERE / f"{name}.json").write_text(text + "\n")
    print(f"{name}.json {len(text)} bytes")


def main() -> None:
    torch.set_num_threads(1)
    counted = {name: flops(name) for name in ("1_6b", "12b", "3b", "moe_alternate", "moe_all_bf16")}
    write("flops", {"counted": counted, "published": {name: published(shape) for name, shape in PUBLISHED.items()}})
    write("moe", moe.golden(digits))
    (HERE / "parity").mkdir(exist_ok=True)
    with torch.no_grad():
        for name in CASES:
            write(f"parity/{name}", parity(name))


if __name__ == "__main__":
    main()
