"""Writes `deepspeed_run/`: what DeepSpeed's own bf16 optimizer (ZeRO stage 1) saves after three steps of three ranks.

Usage: `DS_ACCELERATOR=cpu python make_deepspeed_run.py` with torch 2.11, deepspeed 0.19.8 and safetensors, and ninja and a C++ compiler on
the PATH. Three processes on one machine; the model has the parameters of a StableLM 2 by name and shape, and is no StableLM 2 otherwise.
`expected.safetensors` holds what DeepSpeed says of every parameter (`safe_get_full_fp32_param`, `safe_get_full_optimizer_state`).
"""

import os
import pathlib
import shutil
import tempfile

import torch

RANKS, STEPS = 3, 3
LAYERS, HIDDEN, WIDTH, VOCABULARY = 2, 8, 12, 13
HERE = pathlib.Path(__file__).with_name("deepspeed_run")
CONFIG = {
    "train_micro_batch_size_per_gpu": 2, "gradient_clipping": 1.0, "bf16": {"enabled": True}, "zero_optimization": {"stage": 1},
    "data_types": {"grad_accum_dtype": "fp32"}, "zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False,
}


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (torch.nn.Linear(HIDDEN, HIDDEN) for _ in range(3))
        self.o_proj = torch.nn.Linear(HIDDEN, HIDDEN, bias=False)

    def forward(self, x):
        return self.o_proj(self.q_proj(x) * self.k_proj(x) + self.v_proj(x))


class Mlp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj = torch.nn.Linear(HIDDEN, WIDTH, bias=False)
        self.up_proj = torch.nn.Linear(HIDDEN, WIDTH, bias=False)
        self.down_proj = torch.nn.Linear(WIDTH, HIDDEN, bias=False)

    def forward(self, x):
        return self.down_proj(torch.nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn, self.mlp = Attention(), Mlp()
        self.input_layernorm = torch.nn.LayerNorm(HIDDEN, bias=False)
        self.post_attention_layernorm = torch.nn.LayerNorm(HIDDEN, bias=False)

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(VOCABULARY, HIDDEN)
        self.layers = torch.nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = torch.nn.LayerNorm(HIDDEN)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model, self.lm_head = Body(), torch.nn.Linear(HIDDEN, VOCABULARY, bias=False)

    def forward(self, ids):
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x)
        return torch.nn.functional.cross_entropy(self.lm_head(self.model.norm(x)).float().flatten(0, 1), ids.roll(-1, 1).flatten())


def run(rank: int, folder: str) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29611"}
    torch.set_num_threads(1)
    import deepspeed
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state
    from safetensors.torch import save_file

    deepspeed.init_distributed("gloo")
    torch.manual_seed(0)
    model = Model()
    groups = [{"params": [p for p in model.parameters() if (p.ndim > 1) == decays], "weight_decay": 0.1 * decays} for decays in (True, False)]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=CONFIG)
    assert type(engine.optimizer).__name__ == "BF16_Optimizer"
    generator = torch.Generator().manual_seed(10 + rank)
    for _ in range(STEPS):
        engine.backward(engine(torch.randint(0, VOCABULARY, (2, 6), generator=generator)))
        engine.step()
    expected = {}
    for name, parameter in engine.module.named_parameters():
        expected[f"fp32.{name}"] = safe_get_full_fp32_param(parameter).clone().contiguous()
        for kind in ("exp_avg", "exp_avg_sq"):
            expected[f"{kind}.{name}"] = safe_get_full_optimizer_state(parameter, kind).clone().contiguous()
    engine.save_checkpoint(folder, tag="run")
    if rank == 0:
        save_file(expected, f"{folder}/expected.safetensors", {"step": str(STEPS)})


def main() -> None:
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(run, args=(folder,), nprocs=RANKS)
        for path in [*pathlib.Path(folder).glob("run/*_optim_states.pt"), pathlib.Path(folder) / "expected.safetensors"]:
            shutil.copyfile(path, HERE / path.name)
    print(sum(path.stat().st_size for path in HERE.iterdir()), "bytes in", HERE.name)


if __name__ == "__main__":
    main()
