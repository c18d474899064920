// What training needs of libtorch and tch does not bind: gradients of tensors that are no scalars, lists of tensors at once,
// the fused AdamW, and memory statistics of a device. The Rust side is src/ext/training.rs.
#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/stack.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdint>
#include <vector>

#include "guarded.h"

using coppice::guarded;

namespace {

using Pointers = const at::Tensor* const*;

std::vector<at::Tensor> list(Pointers tensors, std::int64_t count) {
  std::vector<at::Tensor> values;
  values.reserve(count);
  for (std::int64_t i = 0; i < count; ++i) values.push_back(tensors[i] ? *tensors[i] : at::Tensor());
  return values;
}

}  // namespace

extern "C" {

// One update of AdamW; arguments as Rust's `AdamWUpdate` has them.
struct CoppiceAdamW {
  double rate, beta1, beta2, eps, weight_decay;
  const at::Tensor* step;        // number of this update, f32, a scalar
  const at::Tensor* grad_scale;  // gradients are divided by it; may be null
  const at::Tensor* found_inf;   // the update is left out where it is 1; may be null
};

// Gradients of `outputs` (times `pulls`, null for scalars) at `inputs` into `gradients`, new tensors; null where an input took
// no part. Returns 0, or -1 with a message.
int coppice_backward(Pointers outputs, Pointers pulls, std::int64_t n_outputs, Pointers inputs, std::int64_t n_inputs,
                     at::Tensor** gradients, char* error, std::size_t size) {
  return guarded(error, size, -1, [&] {
    const auto found = torch::autograd::grad(list(outputs, n_outputs), list(inputs, n_inputs), list(pulls, n_outputs),
                                             /*retain_graph=*/false, /*create_graph=*/false, /*allow_unused=*/true);
    for (std::int64_t i = 0; i < n_inputs; ++i) gradients[i] = found[i].defined() ? new at::Tensor(found[i]) : nullptr;
    return 0;
  });
}

// The L2 norms of `count` tensors in f32, `[count]`, a new tensor; they must be on one device.
at::Tensor* coppice_norms(Pointers tensors, std::int64_t count, char* error, std::size_t size) {
  return guarded<at::Tensor*>(error, size, nullptr, [&] {
    const c10::NoGradGuard guard;
    return new at::Tensor(at::stack(at::_foreach_norm(list(tensors, count), 2, at::kFloat)));
  });
}

// Updates `count` parameters and their moments by their gradients, in place. Returns 0, or -1 with a message.
int coppice_adamw(Pointers parameters, Pointers gradients, Pointers means, Pointers squares, std::int64_t count,
                  const CoppiceAdamW* rule, char* error, std::size_t size) {
  return guarded(error, size, -1, [&] {
    const c10::NoGradGuard guard;
    const auto optional = [](const at::Tensor* t) { return t ? std::optional<at::Tensor>(*t) : std::nullopt; };
    auto p = list(parameters, count), g = list(gradients, count), m = list(means, count), v = list(squares, count);
    const std::vector<at::Tensor> steps(count, *rule->step);
    at::_fused_adamw_(p, g, m, v, {}, steps, rule->rate, rule->beta1, rule->beta2, rule->weight_decay, rule->eps, false, false,
                      optional(rule->grad_scale), optional(rule->found_inf));
    return 0;
  });
}

// Bytes of GPU `index` that tensors take now and took at most, into `now` and `peak`. Returns 0, or -1 with a message.
int coppice_cuda_memory(int index, std::int64_t* now, std::int64_t* peak, char* error, std::size_t size) {
  return guarded(error, size, -1, [&] {
    const auto stats = c10::getDeviceAllocator(c10::DeviceType::CUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(index));
    const auto& bytes = stats.allocated_bytes[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
    *now = bytes.current;
    *peak = bytes.peak;
    return 0;
  });
}

}  // extern "C"
