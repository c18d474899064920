"""A small random StableLM 2 with a real tokenizer, for `lm_eval_agreement.py`."""

import json
import pathlib
import shutil

SHAPE = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
         "max_position_embeddings": 2048, "partial_rotary_factor": 0.25, "use_qkv_bias": True, "tie_word_embeddings": False}
END = "<|endoftext|>"


def make_model(folder: pathlib.Path, tokenizer: pathlib.Path, seed: int = 0, width: float = 0.06, shape: dict | None = None) -> pathlib.Path:
    """Writes the model once; `width` is the deviation of its weights, three times the usual, so that its distributions are not flat."""
    if (folder / "model.safetensors").exists():
        return folder
    import torch
    from transformers import StableLmConfig, StableLmForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    size = write_tokenizer(folder, tokenizer)
    end = json.loads((folder / "tokenizer_config.json").read_text())["end_id"]
    torch.manual_seed(seed)
    config = StableLmConfig(vocab_size=-(-size // 64) * 64, initializer_range=width, bos_token_id=end, eos_token_id=end, **(shape or SHAPE))
    model = StableLmForCausalLM(config)
    model.generation_config.eos_token_id = end
    model.save_pretrained(folder)
    return folder


def write_tokenizer(folder: pathlib.Path, source: pathlib.Path) -> int:
    """Unpacks tokenizer.json and names its end of text; returns the size of the vocabulary."""
    if source.suffix == ".zst":
        import zstandard

        (folder / "tokenizer.json").write_bytes(zstandard.ZstdDecompressor().stream_reader(source.open("rb")).read())
    else:
        shutil.copy(source, folder / "tokenizer.json")
    content = json.loads((folder / "tokenizer.json").read_text())
    ids = {**content["model"]["vocab"], **{token["content"]: token["id"] for token in content["added_tokens"]}}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "bos_token": END, "pad_token": END, "end_id": ids[END],
              "clean_up_tokenization_spaces": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return max(ids.values()) + 1
