"""Writes `deepspeed/`: optimizer states in DeepSpeed's layouts and pickles that must be refused, all by torch.save or pickle.

Usage: `python make_deepspeed.py` with torch 2.11 and safetensors. DeepSpeed itself is not needed: the classes that its files name are stood
in for by classes of the same module and name, so that the pickles say what DeepSpeed's say. Layouts after
`deepspeed/runtime/bf16_optimizer.py` and `deepspeed/runtime/zero/stage_1_and_2.py`; names and order of parameters after GPT-NeoX
(`megatron/model/transformer.py`, `megatron/model/utils.py`, `tools/ckpts/convert_neox_to_hf.py`).

`expected.safetensors` holds what every layout says of every parameter, cut and named by this script's own arithmetic: `fp32.{name}`,
`exp_avg.{name}`, `exp_avg_sq.{name}`. `continued.safetensors` holds gradients (`grad.{name}`) and what torch.optim.AdamW makes of the
weights when it goes on from the state (`fp32.{name}`).
"""

import collections
import dataclasses
import enum
import os
import pathlib
import pickle
import shutil
import sys
import types
import zipfile

import torch
from safetensors.torch import save_file

LAYERS, HEADS, HEAD, HIDDEN, WIDTH, VOCABULARY, PADDED = 2, 2, 4, 8, 12, 13, 16
RANKS = 5
STEP = 7
BETAS, EPS, DECAY, RATE = (0.9, 0.95), 1e-8, 0.1, 1e-3
HERE = pathlib.Path(__file__).with_name("deepspeed")


def module(name: str) -> types.ModuleType:
    """An empty module that can be named in pickles."""
    made = types.ModuleType(name)
    sys.modules[name] = made
    return made


def stand_in(cls: type, home: str) -> type:
    """The class as if it were DeepSpeed's."""
    cls.__module__ = home
    cls.__qualname__ = cls.__name__
    setattr(sys.modules.get(home) or module(home), cls.__name__, cls)
    return cls


@dataclasses.dataclass
class fragment_address:  # noqa: N801, DeepSpeed's name
    numel: int
    start: int


class ZeroStageEnum(int, enum.Enum):
    disabled = 0
    optimizer_states = 1


class LossScaler:
    def __init__(self):
        self.cur_scale = 1.0
        self.dynamic = False
        self.dtype = torch.bfloat16


for part in ("deepspeed", "deepspeed.utils", "deepspeed.runtime", "deepspeed.runtime.zero", "deepspeed.runtime.fp16"):
    module(part)
stand_in(fragment_address, "deepspeed.utils.tensor_fragment")
stand_in(ZeroStageEnum, "deepspeed.runtime.zero.config")
stand_in(LossScaler, "deepspeed.runtime.fp16.loss_scaler")


def shapes() -> dict[str, list[int]]:
    """The parameters of a StableLM 2 by their names in transformers: no LayerNorm biases in the layers, one at the end."""
    all = {"model.embed_tokens.weight": [VOCABULARY, HIDDEN]}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        all[f"{prefix}.input_layernorm.weight"] = [HIDDEN]
        all[f"{prefix}.post_attention_layernorm.weight"] = [HIDDEN]
        for part in "qkv":
            all[f"{prefix}.self_attn.{part}_proj.weight"] = [HEADS * HEAD, HIDDEN]
            all[f"{prefix}.self_attn.{part}_proj.bias"] = [HEADS * HEAD]
        all[f"{prefix}.self_attn.o_proj.weight"] = [HIDDEN, HEADS * HEAD]
        all[f"{prefix}.mlp.gate_proj.weight"] = [WIDTH, HIDDEN]
        all[f"{prefix}.mlp.up_proj.weight"] = [WIDTH, HIDDEN]
        all[f"{prefix}.mlp.down_proj.weight"] = [HIDDEN, WIDTH]
    all |= {"model.norm.weight": [HIDDEN], "model.norm.bias": [HIDDEN], "lm_head.weight": [VOCABULARY, HIDDEN]}
    return all


KINDS = ("fp32", "exp_avg", "exp_avg_sq")


def draw() -> dict[str, dict[str, torch.Tensor]]:
    """Weights and moments of every parameter. The weights are no bf16 numbers, which is what a master copy is for."""
    generator = torch.Generator().manual_seed(4)
    state = {}
    for name, shape in shapes().items():
        norm = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        weight = norm + 0.2 * torch.randn(shape, generator=generator)
        first = 1e-3 * torch.randn(shape, generator=generator)
        second = first.square() + 1e-7 * torch.rand(shape, generator=generator)
        state[name] = dict(zip(KINDS, (weight, first, second)))
    return state


def fused(parts: list[torch.Tensor]) -> torch.Tensor:
    """Rows of queries, keys and values as NeoX interleaves them: [heads, 3, head_dim, ...]."""
    split = [part.view(HEADS, HEAD, *part.shape[1:]) for part in parts]
    return torch.stack(split, 1).flatten(0, 2)


def padded(rows: torch.Tensor) -> torch.Tensor:
    """The vocabulary rounded up, the rows beyond it filled with something that must not be taken."""
    return torch.cat([rows, torch.full((PADDED - VOCABULARY, HIDDEN), 77.0)])


def neox(state: dict, kind: str, pad: bool) -> tuple[dict, dict]:
    """What decays and what does not, in NeoX's names and order."""
    of = lambda name: state[name][kind]
    rows = padded if pad else (lambda rows: rows)
    decay, plain = {"sequential.0.word_embeddings.weight": rows(of("model.embed_tokens.weight"))}, {}
    for layer in range(LAYERS):
        ours, theirs = f"model.layers.{layer}", f"sequential.{layer + 2}"
        plain[f"{theirs}.input_layernorm.weight"] = of(f"{ours}.input_layernorm.weight")
        decay[f"{theirs}.attention.query_key_value.weight"] = fused([of(f"{ours}.self_attn.{part}_proj.weight") for part in "qkv"])
        plain[f"{theirs}.attention.query_key_value.bias"] = fused([of(f"{ours}.self_attn.{part}_proj.bias") for part in "qkv"])
        decay[f"{theirs}.attention.dense.weight"] = of(f"{ours}.self_attn.o_proj.weight")
        plain[f"{theirs}.post_attention_layernorm.weight"] = of(f"{ours}.post_attention_layernorm.weight")
        for neox_name, name in (("w1", "gate_proj"), ("w3", "up_proj"), ("w2", "down_proj")):
            decay[f"{theirs}.mlp.{neox_name}.weight"] = of(f"{ours}.mlp.{name}.weight")
    plain[f"sequential.{LAYERS + 3}.norm.weight"] = of("model.norm.weight")
    plain[f"sequential.{LAYERS + 3}.norm.bias"] = of("model.norm.bias")
    decay[f"sequential.{LAYERS + 4}.final_linear.weight"] = rows(of("lm_head.weight"))
    return decay, plain


def flat(group: dict, ranks: int) -> torch.Tensor:
    """All parameters one behind the other, filled up to a multiple of 2 × ranks as BF16_Optimizer does."""
    values = torch.cat([value.flatten() for value in group.values()])
    return torch.nn.functional.pad(values, (0, -values.numel() % (2 * ranks)))


def fragments(group: dict, rank: int, size: int) -> collections.OrderedDict:
    """Where the parts of a group's parameters lie in one rank's partition of `size` elements."""
    found, start = collections.OrderedDict(), 0
    for name, value in group.items():
        low, high = max(start, rank * size), min(start + value.numel(), (rank + 1) * size)
        if low < high:
            found[name] = fragment_address(numel=high - low, start=low - rank * size)
        start += value.numel()
    return found


def optimizer_state(parts: dict[str, list[torch.Tensor]], step) -> dict:
    """What torch's and DeepSpeed's Adam say of flat groups, one parameter a group."""
    groups = len(parts["fp32"])
    return {
        "state": {i: {"step": step, "exp_avg": parts["exp_avg"][i], "exp_avg_sq": parts["exp_avg_sq"][i]} for i in range(groups)},
        "param_groups": [{"lr": RATE, "betas": BETAS, "eps": EPS, "weight_decay": DECAY * (i == 0), "bias_correction": True,
                          "params": [i]} for i in range(groups)],
    }


def rank_state(groups: dict[str, list], rank: int, ranks: int, mapped: bool) -> dict:
    """The state of one rank of `ranks`, or of all RANKS joined where that is 1; `groups` holds, for every kind, the groups' parameters."""
    whole = {kind: [flat(group, RANKS) for group in groups[kind]] for kind in KINDS}
    sizes = [values.numel() // ranks for values in whole["fp32"]]
    parts = {kind: [v[rank * n:(rank + 1) * n].clone() for v, n in zip(whole[kind], sizes)] for kind in KINDS}
    true = [sum(value.numel() for value in group.values()) for group in groups["fp32"]]
    state = {
        "clip_grad": 1.0,
        "base_optimizer_state": optimizer_state(parts, STEP),
        "single_partition_of_fp32_groups": [part.requires_grad_(True) for part in parts["fp32"]],
        "group_paddings": [n * ranks - t if rank == ranks - 1 else 0 for n, t in zip(sizes, true)],
        "partition_count": [RANKS] * len(sizes),
        "ds_version": "0.12.3",
    }
    if mapped:
        state["param_slice_mappings"] = [fragments(group, rank, n) for group, n in zip(groups["fp32"], sizes)]
    return state


def save(state: dict, path: str) -> None:
    target = HERE / path
    target.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, target)


def layouts(state: dict) -> None:
    """The same state in every layout."""
    wrapped = lambda optimizer: {"optimizer_state_dict": optimizer, "ds_config": {"zero_optimization": {"stage": 1}}, "ds_version": "0.12.3"}
    groups = {kind: list(neox(state, kind, pad=True)) for kind in KINDS}
    for rank in range(RANKS):
        save(wrapped(rank_state(groups, rank, RANKS, mapped=True)), f"ranks/bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    groups = {kind: list(neox(state, kind, pad=False)) for kind in KINDS}
    save(wrapped(rank_state(groups, 0, 1, mapped=False)), "merged/bf16_zero_pp_mp_rank_00_optim_states.pt")
    groups = {kind: [{name: state[name][kind] for name in state}] for kind in KINDS}
    for rank in range(RANKS):
        stage_1 = rank_state(groups, rank, RANKS, mapped=True)
        weights, padding = stage_1["single_partition_of_fp32_groups"], stage_1["group_paddings"]
        stage_1["single_partition_of_fp32_groups"] = [w[:w.numel() - n].clone() for w, n in zip(weights, padding)]  # but moments keep theirs
        stage_1 |= {"loss_scaler": LossScaler(), "dynamic_loss_scale": False, "overflow": False, "zero_stage": ZeroStageEnum.optimizer_states}
        save(wrapped(stage_1), f"transformers/zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    named = {name: {"step": torch.tensor(float(STEP)), "exp_avg": of["exp_avg"], "exp_avg_sq": of["exp_avg_sq"]} for name, of in state.items()}
    save({"state": named, "param_groups": [{"lr": RATE, "params": list(named)}]}, "named.pt")


def continuation(state: dict) -> dict[str, torch.Tensor]:
    """One more step of torch's AdamW from the state, norms and biases without decay."""
    generator = torch.Generator().manual_seed(5)
    parameters = {name: torch.nn.Parameter(of["fp32"].clone()) for name, of in state.items()}
    gradients = {name: 1e-3 * torch.randn(of["fp32"].shape, generator=generator) for name, of in state.items()}
    decays = lambda name: not (name.endswith(".bias") or "norm" in name)
    groups = [{"params": [p for name, p in parameters.items() if decays(name) == on], "weight_decay": DECAY * on} for on in (True, False)]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, eps=EPS, foreach=False, fused=False)
    for name, parameter in parameters.items():
        of = state[name]
        optimizer.state[parameter] = {"step": torch.tensor(float(STEP)), "exp_avg": of["exp_avg"].clone(), "exp_avg_sq": of["exp_avg_sq"].clone()}
        parameter.grad = gradients[name].clone()
    optimizer.step()
    after = {f"fp32.{name}": parameter.detach() for name, parameter in parameters.items()}
    return after | {f"grad.{name}": gradient for name, gradient in gradients.items()}


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def archive(path: pathlib.Path, program: bytes, method: int = zipfile.ZIP_STORED, storage: bytes = b"\0" * 16) -> None:
    """A file as torch.save lays it out, around any program."""
    stamp = lambda name: zipfile.ZipInfo(f"archive/{name}", date_time=(1980, 1, 1, 0, 0, 0))
    with zipfile.ZipFile(path, "w", method) as out:
        for name, content in (("data.pkl", program), ("byteorder", b"little"), ("data/0", storage), ("version", b"3\n")):
            out.writestr(stamp(name), content, method)


def hostile() -> None:
    """Pickles that do what no optimizer state needs; each file is named for what it must be refused for."""
    folder = HERE / "hostile"
    folder.mkdir(parents=True)
    programs = {
        "posix.system": pickle.dumps({"optimizer_state_dict": Calls(os.system, "exit 1")}, 2),
        "builtins.eval": pickle.dumps([Calls(eval, "1 + 1")], 4),
        "torch.serialization.load": pickle.dumps(Calls(torch.load, "other.pt"), 2),
        "builtins.getattr": pickle.dumps(Calls(getattr, "a", "upper"), 4),
        "operator.attrgetter": b"\x80\x04\x8c\x08operator\x8c\nattrgetter\x93)R.",
        "collections.OrderedDict": pickle.dumps(Calls(collections.OrderedDict, [("a", 1)]), 2),
        "torch._utils._rebuild_tensor_v2": pickle.dumps(Calls(torch._utils._rebuild_tensor_v2, "storage", 0, (1,), (1,), False, None), 2),
        "INST": b"\x80\x02(X\x01\x00\x00\x00aicollections\nOrderedDict\n.",
        "extension": b"\x80\x02\x82\x01.",
    }
    view = lambda size, stride: (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
                                 b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00" + size + stride + b"\x89ccollections\nOrderedDict\n)RtR.")
    programs["storage"] = view(b"J\xff\xff\xff\x7f\x85", b"K\x01\x85")
    programs["strides"] = view(b"J\xff\xff\xff\x7f\x85", b"K\x00\x85")
    for name, program in programs.items():
        archive(folder / f"{name}.pt", program)
    archive(folder / "compressed.pt", pickle.dumps({"a": "b" * 4000}, 2), zipfile.ZIP_DEFLATED)
    archive(folder / "bytes.pt", view(b"K\x04\x85", b"K\x01\x85"), storage=b"\0" * 12)


def main() -> None:
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    state = draw()
    layouts(state)
    hostile()
    metadata = {"step": str(STEP), "rate": str(RATE)}
    save_file({f"{kind}.{name}": of[kind] for name, of in state.items() for kind in KINDS}, HERE / "expected.safetensors", metadata)
    save_file(continuation(state), HERE / "continued.safetensors", metadata)
    print(sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file()), "bytes in", HERE.name)


if __name__ == "__main__":
    main()
