"""Answers of servers in the shapes they come in, and what a reader must make of them.

Run with Python 3 and numpy; writes server.json beside this file. Texts of tokens are decoded by Python's incremental UTF-8 decoder, the run of
tokens that makes up a text is found by trying all runs, choices are shared out by numpy. The shapes: a chat with bytes (OpenAI, llama.cpp), a chat
without bytes whose last token is the end of the text (vLLM), a completion of parallel lists (OpenAI, vLLM, llama-cpp-python), a completion with a
list of tokens and ids (llama.cpp).
"""

import codecs
import json
import pathlib

import numpy as np

RNG = np.random.default_rng(6)
TEXTS = ["Paris", " The answer is 42.", "naïve café — ☃", "日本の首都は東京です。", "👩‍🚀 in orbit", "a\nb\tc", "Ωmega"]
SHAPES = ["chat", "chat_end", "lists", "tokens"]


def cut(data, letters):
    """A random cut into one to six pieces; at letters' bounds where a server sends no bytes."""
    bounds = [len(text.encode()) for text in (data.decode()[:i] for i in range(len(data.decode()) + 1))] if letters else range(len(data) + 1)
    inner = [b for b in bounds if 0 < b < len(data)]
    chosen = sorted(RNG.choice(inner, min(len(inner), int(RNG.integers(0, 6))), replace=False).tolist()) if inner else []
    return [data[a:b] for a, b in zip([0] + chosen, chosen + [len(data)])]


def decoded(pieces):
    decoder = codecs.getincrementaldecoder("utf-8")()
    return [decoder.decode(piece) for piece in pieces]


def logprob():
    return round(float(-RNG.exponential(1.0)), 6)


def tokens_of(text, shape):
    pieces = cut(text.encode(), letters=shape in ("chat_end", "lists"))
    tokens = []
    for number, (piece, shown) in enumerate(zip(pieces, decoded(pieces))):
        top = sorted(({"token": f"{shown}|{k}", "logprob": logprob()} for k in range(3)), key=lambda t: -t["logprob"])
        token = {"token": shown, "logprob": logprob(), "top_logprobs": top}
        if shape in ("chat", "tokens"):
            token["bytes"] = list(piece)
        if shape == "tokens":
            token["id"] = 100 + number
            for alternative in top:
                alternative["id"] = int(RNG.integers(0, 1000))
            # A probability of zero has no logarithm: llama.cpp sends the lowest float.
            top.append({"id": 5, "token": "never", "logprob": -3.4028234663852886e38})
        tokens.append(token)
    return tokens


def answer(text, shape, reason):
    tokens = tokens_of(text, shape)
    kept = [dict(t, top_logprobs=[a for a in t["top_logprobs"] if a["logprob"] > -9998]) for t in tokens]
    if shape == "chat_end":
        tokens = tokens + [{"token": "<|endoftext|>", "logprob": logprob(), "top_logprobs": []}]
    if shape == "tokens":
        tokens = tokens + [{"id": 2, "token": "", "bytes": [], "logprob": logprob(), "top_logprobs": []}]
    choice = {"index": 0, "finish_reason": reason}
    if shape == "lists":
        choice["text"] = text
        choice["logprobs"] = {
            "tokens": [t["token"] for t in tokens],
            "token_logprobs": [t["logprob"] for t in tokens],
            "top_logprobs": [{a["token"]: a["logprob"] for a in reversed(t["top_logprobs"])} for t in tokens],
            "text_offset": [],
        }
    elif shape == "tokens":
        choice |= {"text": text, "logprobs": {"content": tokens}}
    else:
        choice |= {"message": {"role": "assistant", "content": text}, "logprobs": {"content": tokens, "refusal": None}}
    return {
        "body": {"id": "x", "object": "y", "model": "m", "choices": [choice], "usage": {"total_tokens": 1}},
        "text": text,
        "finish_reason": reason,
        "token_texts": [t["token"] for t in kept],
        "token_logprobs": [t["logprob"] for t in kept],
        "tokens": [t["id"] for t in kept] if shape == "tokens" else None,
        "top_logprobs": [[[a.get("id", -1), a["logprob"]] for a in t["top_logprobs"]] for t in kept],
        "top_texts": [[a["token"] for a in t["top_logprobs"]] for t in kept],
    }


def choice_case(options):
    """First-token probabilities, some of them of the options' beginnings; the share of each option among what they have together."""
    words = list(options) + ["Well", "The"]
    mass = RNG.dirichlet(np.ones(2 * len(words)) * 0.7)
    named = [(word[: int(RNG.integers(2, 5))] if word in options else word) for word in words] + [" " + word.upper() for word in words]
    shares = np.zeros(len(options))
    for text, probability in zip(named, mass):
        fits = [k for k, option in enumerate(options) if option.lower().startswith(text.strip().lower())]
        if len(fits) == 1:
            shares[fits[0]] += probability
    expected = (shares / shares.sum()).tolist() if shares.sum() >= 0.5 else None
    order = np.argsort(-mass)
    top = [{"token": named[k], "logprob": float(np.log(mass[k]))} for k in order]
    return {"options": list(options), "top": top, "shares": expected}


answers = [answer(text, shape, reason) for text in TEXTS for shape in SHAPES for reason in ("stop", "length")]
choices = [choice_case(("entailment", "neutral", "contradiction")) for _ in range(40)]
out = pathlib.Path(__file__).with_name("server.json")
out.write_text(json.dumps({"answers": answers, "choices": choices}, ensure_ascii=False) + "\n")
print(len(answers), "answers,", len(choices), "choices,", out.stat().st_size, "bytes")
