// The C functions the Rust binding calls (src/ext.rs): they check tensors, catch every exception (guarded.h), and call the
// kernels.
#include <ATen/Version.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/version.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "bandwidth.h"
#include "guarded.h"
#include "linear.h"
#include "tally.h"

using coppice::guarded;

namespace {

// Above this many rows of x libtorch's own product is as fast.
constexpr std::int64_t kMaxRows = 32;

std::int64_t leading(const at::Tensor& x) {
  const auto sizes = x.sizes();
  return std::accumulate(sizes.begin(), sizes.end() - 1, std::int64_t{1}, std::multiplies<std::int64_t>());
}

bool plain_bf16(const at::Tensor& t) {
  return t.device().is_cpu() && t.layout() == at::kStrided && t.scalar_type() == at::kBFloat16 && !t.is_conj() && !t.is_neg();
}

bool tracked(const at::Tensor* t) { return t != nullptr && t->requires_grad(); }

// Whether x, w and bias have the types and shapes of a linear layer that the kernels compute.
bool shapes_fit(const at::Tensor& x, const at::Tensor& w, const at::Tensor* bias) {
  if (!plain_bf16(x) || !plain_bf16(w) || x.dim() < 1 || w.dim() != 2 || x.size(-1) != w.size(1)) return false;
  return bias == nullptr || (plain_bf16(*bias) && bias->dim() == 1 && bias->size(0) == w.size(0));
}

bool dense(const at::Tensor* t) { return t == nullptr || t->is_contiguous(); }

const coppice::bf16* bits(const at::Tensor& t) { return static_cast<const coppice::bf16*>(t.const_data_ptr()); }

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor* bias, int path) {
  TORCH_CHECK(shapes_fit(x, w, bias), "linear: expected bf16 on the CPU, x [.., K], w [N, K] and bias [N]; found x ", x.toString(), " ",
              x.sizes(), ", w ", w.toString(), " ", w.sizes());
  TORCH_CHECK(dense(&x) && dense(&w) && dense(bias), "linear: x, w and bias must be contiguous");
  const auto kernel = coppice::kernel(path);
  TORCH_CHECK(kernel != nullptr, "linear: this processor does not run kernel ", path);
  auto sizes = x.sizes().vec();
  sizes.back() = w.size(0);
  at::Tensor y = at::empty(sizes, x.options().requires_grad(false));
  auto* out = static_cast<coppice::bf16*>(y.mutable_data_ptr());
  coppice::run(kernel, {bits(x), bits(w), bias ? bits(*bias) : nullptr, out, leading(x), w.size(0), w.size(1)});
  coppice::tally_product(leading(x), w, bias);
  return y;
}

// Whether x [A, K], w [E, N, K] and ends [E] (i32) have the types and shapes of a product by groups that the kernels compute.
bool groups_fit(const at::Tensor& x, const at::Tensor& w, const at::Tensor& ends) {
  return plain_bf16(x) && plain_bf16(w) && x.dim() == 2 && w.dim() == 3 && x.size(1) == w.size(2) && ends.device().is_cpu() &&
         ends.scalar_type() == at::kInt && ends.dim() == 1 && ends.size(0) == w.size(0) && dense(&x) && dense(&w) && dense(&ends);
}

// Rows of the largest group, after making sure that the ends ascend within x.
std::int64_t largest_group(const at::Tensor& x, const at::Tensor& ends) {
  const auto* end = ends.const_data_ptr<int>();
  std::int64_t from = 0, largest = 0;
  for (std::int64_t e = 0; e < ends.size(0); from = end[e++]) {
    TORCH_CHECK(from <= end[e] && end[e] <= x.size(0), "grouped_linear: ends must ascend within the ", x.size(0), " rows of x");
    largest = std::max<std::int64_t>(largest, end[e] - from);
  }
  return largest;
}

at::Tensor grouped(const at::Tensor& x, const at::Tensor& w, const at::Tensor& ends) {
  const std::int64_t n = w.size(1), k = w.size(2);
  const auto kernel = coppice::kernel(coppice::best_path());
  at::Tensor y = at::zeros({x.size(0), n}, x.options().requires_grad(false));
  const auto *rows = bits(x), *weights = bits(w);
  auto* out = static_cast<coppice::bf16*>(y.mutable_data_ptr());
  const auto* end = ends.const_data_ptr<int>();
  std::int64_t from = 0;
  for (std::int64_t e = 0; e < ends.size(0); from = end[e++]) {
    coppice::run(kernel, {rows + from * k, weights + e * n * k, nullptr, out + from * n, end[e] - from, n, k});
    if (coppice::tallying()) coppice::tally_product(end[e] - from, w[e]);
  }
  return y;
}

}  // namespace

extern "C" {

// The number of the widest kernel this processor runs (linear.h, `Path`).
int coppice_linear_path() { return coppice::best_path(); }

// 1 where the kernels compute this product faster than libtorch: bf16 on the CPU, few rows, no gradient wanted. 0 elsewhere.
int coppice_linear_fits(const at::Tensor* x, const at::Tensor* w, const at::Tensor* bias) {
  return guarded(nullptr, 0, 0, [&] {
    if (!shapes_fit(*x, *w, bias) || leading(*x) > kMaxRows || !dense(w) || !dense(bias)) return 0;
    return c10::GradMode::is_enabled() && (tracked(x) || tracked(w) || tracked(bias)) ? 0 : 1;
  });
}

// A new tensor x w^T + bias by the kernel numbered `path`; bias may be null.
at::Tensor* coppice_linear(const at::Tensor* x, const at::Tensor* w, const at::Tensor* bias, int path, char* error, std::size_t size) {
  return guarded<at::Tensor*>(error, size, nullptr, [&] { return new at::Tensor(linear(*x, *w, bias, path)); });
}

// Rows [ends[e - 1], ends[e]) of x [A, K] times w[e] [N, K] transposed, for every e; rows past the last end are zero. Null
// without a message where libtorch shall compute it: another type, a large group, or a gradient wanted.
at::Tensor* coppice_grouped_linear(const at::Tensor* x, const at::Tensor* w, const at::Tensor* ends, char* error, std::size_t size) {
  return guarded<at::Tensor*>(error, size, nullptr, [&]() -> at::Tensor* {
    if (!groups_fit(*x, *w, *ends) || (c10::GradMode::is_enabled() && (tracked(x) || tracked(w)))) return nullptr;
    return largest_group(*x, *ends) > kMaxRows ? nullptr : new at::Tensor(grouped(*x, *w, *ends));
  });
}

// Reads `bytes` (a multiple of 64) from `from` once on all threads; the sum of its words, so that the reads are not optimised away.
std::uint64_t coppice_read(const std::uint64_t* from, std::int64_t bytes) { return coppice::read(from, bytes); }

// GPUs libtorch sees; libtorch remembers the first answer, so libtorch_cuda must be loaded before.
int coppice_cuda_devices(char* error, std::size_t size) {
  return guarded(error, size, -1, [] { return static_cast<int>(at::detail::getCUDAHooks().deviceCount()); });
}

// The libtorch these files were compiled against, as "2.11.0".
const char* coppice_torch_version() { return TORCH_VERSION; }

// 1 where they were compiled for the C++11 ABI of the standard library, which libtorch must share.
int coppice_cxx11_abi() { return _GLIBCXX_USE_CXX11_ABI; }

// The instruction set libtorch's own kernels chose, as "AVX512".
const char* coppice_torch_capability() {
  static const std::string capability = at::get_cpu_capability();
  return capability.c_str();
}

}  // extern "C"
