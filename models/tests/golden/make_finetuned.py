"""Writes `finetuned/`, a tiny mixture of experts as transformers saves it after a training step, and `finetuned.json`, what it says then.

Usage: `python make_finetuned.py` with torch 2.11 and transformers 5.24. The model is that of `models/python/`, the step AdamW's on random
tokens. Names, order of tensors, element types and dialect of the configuration are whatever `save_pretrained` makes of them. The python
files it copies beside the weights are removed: Coppice does not read them.
"""

import pathlib
import shutil

import torch

import make
import weights

HERE = pathlib.Path(__file__).parent
SHAPE = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
         "num_key_value_heads": 2, "max_position_embeddings": 128, "use_qkv_bias": True}
ROUTED = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "moe_layers": [1], "gate": "softmax_topk_renorm"}
LENGTHS = [2, 17, 100]


def step(model: torch.nn.Module) -> None:
    """One step of AdamW on 64 random tokens, with labels, so that the balance loss is in it."""
    ids = torch.tensor(weights.integers("finetuned.batch", 64, SHAPE["vocab_size"])).view(4, 16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model.train()
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    model.eval()


def save(model: torch.nn.Module, folder: pathlib.Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    for file in folder.glob("*.py"):
        file.unlink()


def main() -> None:
    torch.set_num_threads(1)
    model = make.build(make.settings(SHAPE), ROUTED)
    make.fill(model, torch.float32, "all")
    step(model)
    save(model, HERE / "finetuned")
    sequences = [weights.integers(f"finetuned.sequence.{length}", length, SHAPE["vocab_size"]) for length in LENGTHS]
    with torch.no_grad():
        scored = [make.scores(model(input_ids=torch.tensor([ids])).logits[0], ids) for ids in sequences]
    make.write("finetuned", {"sequences": scored})


if __name__ == "__main__":
    main()
