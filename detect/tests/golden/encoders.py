"""Tiny encoders with random weights, and what transformers and sentence-transformers make of texts with them.

Run with Python 3, torch, transformers 5 and sentence-transformers 6; writes the folders of encoders/ and encoders.json beside this file. The
weights are of a size at which the outputs differ from text to text; some are stored in half precision, and read back before use.
"""

import json
import pathlib
import re
import shutil

import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

HERE = pathlib.Path(__file__).parent
ROOT = HERE / "encoders"
SENTENCES = [
    "The capital of France is Paris.",
    "Paris is the capital of France.",
    "It is Lyon, a city in the south of France.",
    "No.",
    "Élan vital: a naïve façade?",
    "",
    "The tower was finished in 1889, and at the time it was the tallest structure that people had made anywhere in the world.",
]
LONG = " ".join(f"The {word} of city {number} is in the south of the world." for number, word in enumerate(["capital", "tower", "river"] * 11))
PAIRS = [(a, b) for a in SENTENCES[:6] for b in SENTENCES[:3]] + [(SENTENCES[6], SENTENCES[0]), (LONG, SENTENCES[6]), (SENTENCES[1], LONG), (LONG, LONG)]
SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24, "initializer_range": 0.3}
NLI = {0: "entailment", 1: "neutral", 2: "contradiction"}


def template(tokenizer, first, last, doubled=False):
    """Adds [CLS] a [SEP] and [CLS] a [SEP] b [SEP]; RoBERTa doubles the separator and has one type of token."""
    special = [(token, tokenizer.token_to_id(token)) for token in (first, last)]
    pair = f"{first}:0 $A:0 {last}:0 {last}:0 $B:0 {last}:0" if doubled else f"{first}:0 $A:0 {last}:0 $B:1 {last}:1"
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{first}:0 $A:0 {last}:0", pair=pair, special_tokens=special)
    return tokenizer


def pieces():
    """Characters and words of the texts. The trainers of the tokenizers library break ties by chance, so vocabularies are listed."""
    text = " ".join(SENTENCES + [LONG])
    return sorted(set(text.lower()) | set(text) - {" "}), sorted(set(re.findall(r"[a-z]{2,}", text)))


def word_piece():
    characters, words = pieces()
    listed = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + characters + [f"##{c}" for c in characters] + words[::2] + [f"##{word[-2:]}" for word in words[1::2]]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(listed))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return template(tokenizer, "[CLS]", "[SEP]")


def unigram():
    characters, words = pieces()
    listed = dict.fromkeys(["▁"] + characters + [f"▁{word}" for word in words[::2]] + [word[-2:] for word in words[1::2]])
    scored = [(special, 0.0) for special in ("[PAD]", "[CLS]", "[SEP]", "[UNK]")] + [(piece, -8.0 - index / 64) for index, piece in enumerate(listed)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=3))
    tokenizer.add_special_tokens(["[PAD]", "[CLS]", "[SEP]", "[UNK]"])
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return template(tokenizer, "[CLS]", "[SEP]")


def byte_level(specials, doubled=False):
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n"), ("Ġ", "in"), ("o", "f"), ("Ġ", "of"), ("i", "s"), ("Ġ", "is"), ("o", "u"), ("ou", "th")]
    listed = specials + sorted(pre_tokenizers.ByteLevel.alphabet()) + [a + b for a, b in merges]
    tokenizer = Tokenizer(models.BPE({piece: index for index, piece in enumerate(listed)}, merges))
    tokenizer.add_special_tokens(specials)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return template(tokenizer, specials[0], specials[2], doubled)


def store(name, model, tokenizer, dtype=torch.float32):
    """Writes a folder as save_pretrained does; the model is given the weights as they were rounded."""
    folder = ROOT / name
    model.eval().save_pretrained(folder)
    weights = {key: value.to(dtype) for key, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    model.load_state_dict({key: value.to(dtype).float() for key, value in model.state_dict().items()})
    # Padding and truncation of the file are not the model's business: a reader has to set its own.
    tokenizer.enable_padding(length=20)
    tokenizer.enable_truncation(7)
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return folder


def judge(model, tokenizer, pad, max_length, typed):
    """Probabilities of all pairs as one padded batch, and how many pairs were cut."""
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, model_max_length=max_length)
    first, second = zip(*PAIRS)
    inputs = fast(list(first), list(second), padding=True, truncation=True, return_tensors="pt", return_token_type_ids=typed)
    cut = sum(len(tokenizer.encode(a, b).ids) > max_length for a, b in PAIRS)
    with torch.no_grad():
        logits = model(**inputs).logits.double()
    labels = [model.config.id2label[index].lower() for index in range(logits.shape[1])]
    rows = [dict(zip(labels, row)) for row in torch.softmax(logits, -1).tolist()]
    return {"cut": cut, "judgements": [[row["entailment"], row.get("neutral", row.get("not_entailment")), row.get("contradiction", 0.0)] for row in rows]}


def classifiers():
    found = {}
    torch.manual_seed(1)
    tokenizer = word_piece()
    config = transformers.BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=64, id2label=NLI, **SIZES)
    model = transformers.BertForSequenceClassification(config)
    store("bert", model, tokenizer)
    found["bert"] = judge(model, tokenizer, "[PAD]", 64, True)

    tokenizer = unigram()
    config = transformers.DebertaV2Config(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=512, type_vocab_size=0, relative_attention=True, share_att_key=True,
        pos_att_type="p2c|c2p", position_buckets=256, max_relative_positions=-1, norm_rel_ebd="layer_norm", position_biased_input=False,
        pooler_hidden_act="gelu", id2label={0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"}, **SIZES,
    )  # fmt: skip
    model = transformers.DebertaV2ForSequenceClassification(config)
    store("deberta", model, tokenizer, torch.float16)
    found["deberta"] = judge(model, tokenizer, "[PAD]", 512, False)

    tokenizer = byte_level(["[CLS]", "[PAD]", "[SEP]"])
    config = transformers.ModernBertConfig(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=256, local_attention=8, global_attn_every_n_layers=3, pad_token_id=1,
        cls_token_id=0, sep_token_id=2, bos_token_id=0, eos_token_id=2, classifier_pooling="mean", initializer_cutoff_factor=3.0,
        id2label={0: "entailment", 1: "not_entailment"}, **SIZES,
    )  # fmt: skip
    model = transformers.ModernBertForSequenceClassification(config)
    store("modernbert", model, tokenizer, torch.bfloat16)
    found["modernbert"] = judge(model, tokenizer, "[PAD]", 256, False)

    tokenizer = byte_level(["<s>", "<pad>", "</s>"], doubled=True)
    config = transformers.RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=98, type_vocab_size=1, id2label={0: "neutral", 1: "Entailment", 2: "Contradiction"}, **SIZES
    )
    model = transformers.RobertaForSequenceClassification(config)
    store("roberta", model, tokenizer, torch.float16)
    found["roberta"] = judge(model, tokenizer, "<pad>", 96, False)
    return found


def modules(folder, pooling, normalize):
    """The files of sentence-transformers around a model."""
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling")] + ([("Normalize", "2_Normalize")] if normalize else [])
    listed = [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"} for i, (kind, path) in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(listed, indent=1))
    (folder / "1_Pooling").mkdir()
    chosen = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": SIZES["hidden_size"]} | chosen, indent=1))


def embed(folder, tokenizer, pad, max_length):
    """Cosines of all sentences, read back by sentence-transformers."""
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, model_max_length=max_length)
    copy = ROOT / "copy"
    shutil.copytree(folder, copy)
    fast.save_pretrained(copy)
    sentences = SENTENCES + [LONG]
    embeddings = SentenceTransformer(str(copy), device="cpu").encode(sentences, batch_size=3, convert_to_tensor=True).double()
    shutil.rmtree(copy)
    unit = torch.nn.functional.normalize(embeddings, dim=-1)
    cut = sum(len(tokenizer.encode(text).ids) > max_length for text in sentences)
    return {"cut": cut, "cosines": (unit @ unit.T).tolist()}


def encoders():
    found = {}
    torch.manual_seed(2)
    tokenizer = word_piece()
    config = transformers.BertConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=64, **SIZES)
    folder = store("minilm", transformers.BertModel(config), tokenizer)
    modules(folder, "mean_tokens", True)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 24, "do_lower_case": False}))
    found["minilm"] = embed(folder, tokenizer, "[PAD]", 24)

    tokenizer = byte_level(["[CLS]", "[PAD]", "[SEP]"])
    config = transformers.ModernBertConfig(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=128, local_attention=6, global_attn_every_n_layers=2, pad_token_id=1,
        cls_token_id=0, sep_token_id=2, bos_token_id=0, eos_token_id=2, **SIZES,
    )  # fmt: skip
    folder = store("modernbert_cls", transformers.ModernBertModel(config), tokenizer)
    modules(folder, "cls_token", False)
    found["modernbert_cls"] = embed(folder, tokenizer, "[PAD]", 128)
    return found


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    golden = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "pairs": PAIRS,
        "sentences": SENTENCES + [LONG],
        "classifiers": classifiers(),
        "encoders": encoders(),
    }
    (HERE / "encoders.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
