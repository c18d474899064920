// Fused elementwise work on tensors, with gradients, and routed experts whose products write where their results belong. The Rust side is
// src/ext/fused.rs.
#include "fused.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "guarded.h"

using coppice::guarded;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

constexpr std::int64_t kGrain = 1 << 14;   // elements worth another thread
constexpr std::int64_t kStretch = 1 << 15;  // elements summed in f32; sums of stretches are f64

// The same kernels under at::BFloat16 and float, as libtorch's data pointers have them.
template <class Work>
void with_type(const at::Tensor& x, Work work) {
  if (x.scalar_type() == at::kBFloat16) return work(coppice::fused().half, coppice::bf16{});
  TORCH_CHECK(x.scalar_type() == at::kFloat, "fused kernels: expected bf16 or f32, found ", x.toString());
  work(coppice::fused().single, float{});
}

bool plain(const at::Tensor& x) {
  const bool type = x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kFloat;
  return x.device().is_cpu() && x.layout() == at::kStrided && type && !x.is_conj() && !x.is_neg();
}

void check_same(const at::Tensor& a, const at::Tensor& b, const char* what) {
  TORCH_CHECK(plain(a) && plain(b) && a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes(), what,
              ": expected two tensors of one shape and type on the CPU, found ", a.toString(), " ", a.sizes(), " and ", b.toString(), " ",
              b.sizes());
}

template <class T>
const T* in(const at::Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}

template <class T>
T* out(at::Tensor& x) {
  return static_cast<T*>(x.mutable_data_ptr());
}

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) {
  at::Tensor h = at::empty_like(gate);
  with_type(gate, [&](const auto& fused, auto type) {
    using T = decltype(type);
    const T *g = in<T>(gate), *u = in<T>(up);
    T* y = out<T>(h);
    at::parallel_for(0, gate.numel(), kGrain, [&](auto from, auto to) { fused.swiglu(g + from, u + from, y + from, to - from); });
  });
  return h;
}

std::pair<at::Tensor, at::Tensor> swiglu_backward(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& dh) {
  at::Tensor dgate = at::empty_like(gate), dup = at::empty_like(up);
  with_type(gate, [&](const auto& fused, auto type) {
    using T = decltype(type);
    const T *g = in<T>(gate), *u = in<T>(up), *d = in<T>(dh);
    T *dg = out<T>(dgate), *du = out<T>(dup);
    at::parallel_for(0, gate.numel(), kGrain, [&](auto from, auto to) {
      fused.swiglu_backward(g + from, u + from, d + from, dg + from, du + from, to - from);
    });
  });
  return {dgate, dup};
}

// silu(gate) up.
struct SwiGlu : torch::autograd::Function<SwiGlu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate, const at::Tensor& up) {
    check_same(gate, up, "swiglu");
    const at::Tensor g = gate.contiguous(), u = up.contiguous();
    context->save_for_backward({g, u});
    return swiglu(g, u);
  }

  static variable_list backward(AutogradContext* context, variable_list pulls) {
    const auto saved = context->get_saved_variables();
    auto [dgate, dup] = swiglu_backward(saved[0], saved[1], pulls[0].contiguous());
    return {dgate, dup};
  }
};

// The rows of each expert, [from, to).
std::vector<std::pair<std::int64_t, std::int64_t>> spans(const at::Tensor& ends, std::int64_t rows) {
  std::vector<std::pair<std::int64_t, std::int64_t>> found;
  std::int64_t from = 0;
  const auto* end = ends.const_data_ptr<int>();
  for (std::int64_t e = 0; e < ends.size(0); from = end[e++]) {
    TORCH_CHECK(from <= end[e] && end[e] <= rows, "experts: ends must ascend within the ", rows, " rows");
    found.emplace_back(from, end[e]);
  }
  TORCH_CHECK(from == rows, "experts: the last end is ", from, ", expected the number of rows, ", rows);
  return found;
}

using Spans = std::vector<std::pair<std::int64_t, std::int64_t>>;

at::Tensor part(const at::Tensor& x, std::pair<std::int64_t, std::int64_t> span) { return x.slice(0, span.first, span.second); }

// y[rows of e] = x[rows of e] w[e]^T, or w[e] where `turned`; into new memory.
at::Tensor by_expert(const at::Tensor& x, const at::Tensor& w, const Spans& spans, bool turned) {
  at::Tensor y = at::empty({x.size(0), w.size(turned ? 2 : 1)}, x.options());
  for (std::size_t e = 0; e < spans.size(); ++e) {
    if (spans[e].first == spans[e].second) continue;
    at::Tensor to = part(y, spans[e]);
    const at::Tensor matrix = w[static_cast<std::int64_t>(e)];
    at::mm_out(to, part(x, spans[e]), turned ? matrix : matrix.t());
  }
  return y;
}

// The gradient at w of y = by_expert(x, w): dy^T x of each expert's rows, zero where it has none.
at::Tensor weight_gradient(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& w, const Spans& spans) {
  at::Tensor dw = at::empty_like(w);
  for (std::size_t e = 0; e < spans.size(); ++e) {
    at::Tensor to = dw[static_cast<std::int64_t>(e)];
    if (spans[e].first == spans[e].second)
      to.zero_();
    else
      at::mm_out(to, part(dy, spans[e]).t(), part(x, spans[e]));
  }
  return dw;
}

// Gated MLPs, one a group of rows: down(silu(gate(x)) up(x)). Its inner activations are computed again for the backward pass from the two
// projections that are kept.
struct Experts : torch::autograd::Function<Experts> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& rows, const at::Tensor& gate, const at::Tensor& up,
                            const at::Tensor& down, const at::Tensor& ends) {
    const at::Tensor x = rows.contiguous();
    const Spans each = spans(ends, x.size(0));
    const at::Tensor g = by_expert(x, gate, each, false), u = by_expert(x, up, each, false);
    context->save_for_backward({x, gate, up, down, ends, g, u});
    return by_expert(swiglu(g, u), down, each, false);
  }

  static variable_list backward(AutogradContext* context, variable_list pulls) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &gate = saved[1], &up = saved[2], &down = saved[3], &g = saved[5], &u = saved[6];
    const Spans each = spans(saved[4], x.size(0));
    const at::Tensor dy = pulls[0].contiguous();
    const at::Tensor ddown = weight_gradient(dy, swiglu(g, u), down, each);
    const auto [dg, du] = swiglu_backward(g, u, by_expert(dy, down, each, true));
    at::Tensor dx = by_expert(dg, gate, each, true);
    dx.add_(by_expert(du, up, each, true));
    return {dx, weight_gradient(dg, x, gate, each), weight_gradient(du, x, up, each), ddown, at::Tensor()};
  }
};

void check_experts(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& up, const at::Tensor& down, const at::Tensor& ends) {
  check_same(gate, up, "experts");
  TORCH_CHECK(plain(x) && plain(down) && x.dim() == 2 && gate.dim() == 3 && down.dim() == 3 && x.scalar_type() == gate.scalar_type() &&
                  down.scalar_type() == gate.scalar_type() && gate.size(2) == x.size(1) && down.size(0) == gate.size(0) &&
                  down.size(1) == x.size(1) && down.size(2) == gate.size(1),
              "experts: expected rows [A, D], gate and up [N, F, D] and down [N, D, F] of one type on the CPU, found ", x.sizes(), ", ",
              gate.sizes(), " and ", down.sizes());
  TORCH_CHECK(gate.is_contiguous() && up.is_contiguous() && down.is_contiguous(), "experts: weights must be contiguous");
  TORCH_CHECK(ends.device().is_cpu() && ends.scalar_type() == at::kInt && ends.dim() == 1 && ends.is_contiguous() &&
                  ends.size(0) == gate.size(0),
              "experts: expected ends [N] of i32, found ", ends.toString(), " ", ends.sizes());
}

at::Tensor cross_entropy(at::Tensor& logits, const at::Tensor& targets, double scale) {
  TORCH_CHECK(plain(logits) && logits.dim() == 2 && logits.is_contiguous() && targets.scalar_type() == at::kLong && targets.dim() == 1 &&
                  targets.is_contiguous() && targets.size(0) == logits.size(0),
              "cross entropy: expected logits [T, V] and targets [T] of i64, found ", logits.sizes(), " and ", targets.toString(), " ",
              targets.sizes());
  const std::int64_t rows = logits.size(0), n = logits.size(1);
  const auto* target = targets.const_data_ptr<std::int64_t>();
  for (std::int64_t t = 0; t < rows; ++t)
    TORCH_CHECK(0 <= target[t] && target[t] < n, "cross entropy: target ", target[t], " is outside a vocabulary of ", n);
  at::Tensor losses = at::empty({rows}, logits.options().dtype(at::kFloat));
  float* loss = losses.mutable_data_ptr<float>();
  with_type(logits, [&](const auto& fused, auto type) {
    auto* row = out<decltype(type)>(logits);
    at::parallel_for(0, rows, 1, [&](auto from, auto to) {
      for (auto t = from; t < to; ++t) loss[t] = fused.cross_entropy(row + t * n, n, target[t], static_cast<float>(scale));
    });
  });
  return losses;
}

// The L2 norm, the same for any number of threads.
double l2_norm(const at::Tensor& tensor) {
  const at::Tensor x = tensor.contiguous();
  std::vector<double> sums((x.numel() + kStretch - 1) / kStretch);
  with_type(x, [&](const auto& fused, auto type) {
    const auto* data = in<decltype(type)>(x);
    at::parallel_for(0, static_cast<std::int64_t>(sums.size()), 1, [&](auto from, auto to) {
      for (auto i = from; i < to; ++i) sums[i] = fused.square_sum(data + i * kStretch, std::min(kStretch, x.numel() - i * kStretch));
    });
  });
  return std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0));
}

}  // namespace

const coppice::FusedKernels& coppice::fused() {
#if defined(__x86_64__)
  const int path = best_path();
  if (path >= kAvx512) return fused_avx512();
  if (path >= kAvx2) return fused_avx2();
#endif
  return fused_portable();
}

extern "C" {

// The L2 norms of `count` tensors, `[count]` in f32, a new tensor. Null without a message where libtorch shall compute them.
at::Tensor* coppice_fused_norms(const at::Tensor* const* tensors, std::int64_t count, char* error, std::size_t size) {
  return guarded<at::Tensor*>(error, size, nullptr, [&]() -> at::Tensor* {
    if (count == 0 || !std::all_of(tensors, tensors + count, [](const at::Tensor* x) { return plain(*x); })) return nullptr;
    const c10::NoGradGuard guard;
    at::Tensor norms = at::empty({count}, at::TensorOptions().dtype(at::kFloat));
    for (std::int64_t i = 0; i < count; ++i) norms.mutable_data_ptr<float>()[i] = static_cast<float>(l2_norm(*tensors[i]));
    return new at::Tensor(norms);
  });
}

// 1 where a tensor is of a kind the functions below compute.
int coppice_fused_fits(const at::Tensor* x) {
  return guarded(nullptr, 0, 0, [&] { return plain(*x) ? 1 : 0; });
}

// The same, and a gradient at the weights w is wanted.
int coppice_experts_fit(const at::Tensor* x, const at::Tensor* w) {
  return guarded(nullptr, 0, 0, [&] { return plain(*x) && c10::GradMode::is_enabled() && w->requires_grad() ? 1 : 0; });
}

// A new tensor silu(gate) up, with gradients.
at::Tensor* coppice_swiglu(const at::Tensor* gate, const at::Tensor* up, char* error, std::size_t size) {
  return guarded<at::Tensor*>(error, size, nullptr, [&] { return new at::Tensor(SwiGlu::apply(*gate, *up)); });
}

// Rows [A, D] sorted by expert through the experts' gated MLPs, [A, D], with gradients; expert e has the rows before ends[e].
at::Tensor* coppice_experts(const at::Tensor* rows, const at::Tensor* gate, const at::Tensor* up, const at::Tensor* down,
                            const at::Tensor* ends, char* error, std::size_t size) {
  return guarded<at::Tensor*>(error, size, nullptr, [&] {
    check_experts(*rows, *gate, *up, *down, *ends);
    return new at::Tensor(Experts::apply(*rows, *gate, *up, *down, *ends));
  });
}

// Cross entropy of each row of logits [T, V] against targets [T], a new tensor [T] in f32; the logits become the gradient of `scale` times
// their sum.
at::Tensor* coppice_cross_entropy(at::Tensor* logits, const at::Tensor* targets, double scale, char* error, std::size_t size) {
  return guarded<at::Tensor*>(error, size, nullptr, [&] {
    const c10::NoGradGuard guard;
    return new at::Tensor(cross_entropy(*logits, *targets, scale));
  });
}

}  // extern "C"
