// Counts executed matrix products and the memory they read while a tally is taken (tally.cpp). The kernels of this folder, which
// libtorch's dispatcher does not see, tell of themselves here; where no tally is taken that costs one comparison.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace coppice {

// Whether a tally is being taken.
bool tallying();

// A product of `rows` rows by the weight w [.., N, K] (or a part of it): 2 rows N K operations, and w and bias are read.
void tally_product(std::int64_t rows, const at::Tensor& w, const at::Tensor* bias = nullptr);

}  // namespace coppice
