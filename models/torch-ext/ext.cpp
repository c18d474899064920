// The C functions the Rust binding calls (src/ext.rs): they check tensors, catch every exception, and call the kernels.
//
// A function that can fail takes `error`, a buffer of `size` bytes for one line of text, and returns null or a negative
// number when it wrote there.
#include <ATen/Version.h>
#include <ATen/core/Tensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>
#include <torch/version.h>

#include <cstdio>
#include <functional>
#include <numeric>

#include "bandwidth.h"
#include "linear.h"

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

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor* bias, int path) {
  TORCH_CHECK(shapes_fit(x, w, bias), "linear: expected bf16 on the CPU, x [.., K], w [N, K] and bias [N]; found x ", x.toString(), " ",
              x.sizes(), ", w ", w.toString(), " ", w.sizes());
  TORCH_CHECK(dense(&x) && dense(&w) && dense(bias), "linear: x, w and bias must be contiguous");
  const auto kernel = coppice::kernel(path);
  TORCH_CHECK(kernel != nullptr, "linear: this processor does not run kernel ", path);
  auto sizes = x.sizes().vec();
  sizes.back() = w.size(0);
  at::Tensor y = at::empty(sizes, x.options().requires_grad(false));
  const auto data = [](const at::Tensor& t) { return static_cast<const coppice::bf16*>(t.const_data_ptr()); };
  auto* out = static_cast<coppice::bf16*>(y.mutable_data_ptr());
  coppice::run(kernel, {data(x), data(w), bias ? data(*bias) : nullptr, out, leading(x), w.size(0), w.size(1)});
  return y;
}

// Runs `work` and returns what it returns; on an exception writes its message and returns `failed`.
template <class Value, class Work>
Value guarded(char* error, std::size_t size, Value failed, Work work) {
  try {
    return work();
  } catch (const c10::Error& e) {
    std::snprintf(error, size, "%s", e.what_without_backtrace());
  } catch (const std::exception& e) {
    std::snprintf(error, size, "%s", e.what());
  } catch (...) {
    std::snprintf(error, size, "unknown C++ exception");
  }
  return failed;
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
