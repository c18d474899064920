"""Weights that Python and Rust make alike, so that no weight file need be committed.

Element `i` of the tensor `name` is `offset + scale * u`, rounded to f32 after the product and after the sum, where
`u = 2^-23 * top24(mix(fnv1a(name) + (i + 1) * 0x9E3779B97F4A7C15)) - 1` lies in [-1, 1) and is exact in f32. `mix` is the finaliser of
SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). The Rust side is `tests/support/weights.rs`.
"""

import math

import numpy
import torch

WEYL = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def fnv1a(name: str) -> int:
    """64-bit FNV-1a of the name's UTF-8 bytes."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def mix(z: numpy.ndarray) -> numpy.ndarray:
    """SplitMix64's finaliser over an array of uint64."""
    z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return z ^ (z >> numpy.uint64(31))


def uniform(name: str, count: int) -> numpy.ndarray:
    """`count` values of [-1, 1), f32."""
    index = numpy.arange(1, count + 1, dtype=numpy.uint64)
    with numpy.errstate(over="ignore"):
        bits = mix(index * numpy.uint64(WEYL) + numpy.uint64(fnv1a(name)))
    return (bits >> numpy.uint64(40)).astype(numpy.float32) * numpy.float32(2.0**-23) - numpy.float32(1)


def tensor(name: str, shape: list[int], offset: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    """The tensor `name` in f32."""
    scaled = numpy.float32(scale) * uniform(name, math.prod(shape))
    return torch.from_numpy(numpy.float32(offset) + scaled).reshape(shape)


def integers(name: str, count: int, below: int) -> list[int]:
    """`count` integers of [0, below), the same stream."""
    return [int((u + 1) / 2 * below) for u in uniform(name, count).tolist()]


def recipe(name: str, shape: list[int]) -> dict:
    """Offset and scale that keep a random model lively: norms near 1, logits with a standard deviation of 1.5."""
    if name.endswith(".e_score_correction_bias"):
        return {"shape": shape, "offset": 0.0, "scale": 0.1}
    if name.endswith(".bias"):
        return {"shape": shape, "offset": 0.0, "scale": 0.3}
    if "norm" in name:
        return {"shape": shape, "offset": 1.0, "scale": 0.25}
    gain = 1.5 if name in ("lm_head.weight", "model.embed_tokens.weight") else 1.2
    return {"shape": shape, "offset": 0.0, "scale": float(numpy.float32(gain * math.sqrt(3.0 / shape[-1])))}
