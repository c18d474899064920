// Elementwise work of training that libtorch does in several passes over memory, in one: the gated activation with its gradient, cross entropy
// with its gradient, and sums of squares. Values are bf16 or f32 in memory and f32 in registers; each result is rounded once.
#pragma once

#include <cstdint>

#include "linear.h"

namespace coppice {

// The kernels for elements of type T.
template <class T>
struct Fused {
  // h = silu(gate) up, n elements.
  void (*swiglu)(const T* gate, const T* up, T* h, std::int64_t n);
  // Gradients at gate and up of the gradient dh at h.
  void (*swiglu_backward)(const T* gate, const T* up, const T* dh, T* dgate, T* dup, std::int64_t n);
  // Cross entropy of one row of n logits against its target; the row becomes the gradient of `scale` times it.
  float (*cross_entropy)(T* row, std::int64_t n, std::int64_t target, float scale);
  // Sum of the squares of n elements.
  float (*square_sum)(const T* x, std::int64_t n);
};

// The kernels of one instruction set, for both types.
struct FusedKernels {
  Fused<bf16> half;
  Fused<float> single;
};

// One set for each instruction set, in a file of its own that is compiled for it.
const FusedKernels& fused_portable();
const FusedKernels& fused_avx2();
const FusedKernels& fused_avx512();

// The widest set this processor runs.
const FusedKernels& fused();

}  // namespace coppice
