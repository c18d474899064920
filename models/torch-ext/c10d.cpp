// Process groups of torch.distributed's engine c10d: a TCP store for the meeting, Gloo for tensors on the CPU, NCCL (made by a library
// of its own, nccl.cpp) for those on GPUs. The Rust side is src/ext/c10d.rs.
//
// Everything is asynchronous: an operation returns a work, which must be waited for and then freed. A group counts its operations
// without a lock, so all of them begin under one.
#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <chrono>
#include <mutex>
#include <numeric>
#include <string>
#include <vector>

#include "guarded.h"

using coppice::guarded;

namespace {

using Backend = c10::intrusive_ptr<c10d::Backend>;
using Store = c10::intrusive_ptr<c10d::Store>;
using Work = c10::intrusive_ptr<c10d::Work>;
using Splits = std::vector<std::int64_t>;

// Begins an operation while no other thread does.
template <class Begin>
Work begun(Begin begin) {
  static std::mutex one_at_a_time;
  const std::lock_guard<std::mutex> guard(one_at_a_time);
  return begin();
}

std::int64_t sum(const Splits& parts) { return std::accumulate(parts.begin(), parts.end(), std::int64_t{0}); }

// Rows of x [A, ..] to their ranks and those of the others here, in the order of the ranks.
at::Tensor exchange(const Backend& group, const at::Tensor& x, const Splits& send, const Splits& receive) {
  TORCH_CHECK(sum(send) == x.size(0), "exchange: ", sum(send), " rows to send, x has ", x.size(0));
  auto sizes = x.sizes().vec();
  sizes[0] = sum(receive);
  at::Tensor from = x.contiguous(), to = at::empty(sizes, x.options().requires_grad(false));
  Splits out = receive, in = send;
  begun([&] { return group->alltoall_base(to, from, out, in); })->wait();
  return to;
}

// The same with a gradient, which takes the way back.
struct Exchange : torch::autograd::Function<Exchange> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const Backend& group, const Splits& send,
                            const Splits& receive) {
    context->saved_data["group"] = c10::IValue::make_capsule(group);
    context->saved_data["send"] = send;
    context->saved_data["receive"] = receive;
    return exchange(group, x, send, receive);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list pulls) {
    const auto group = c10::static_intrusive_pointer_cast<c10d::Backend>(context->saved_data["group"].toCapsule());
    const auto send = context->saved_data["send"].toIntVector(), receive = context->saved_data["receive"].toIntVector();
    return {exchange(group, pulls[0], receive, send), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

extern "C" {

int coppice_c10d_available() { return 1; }

// A store on host:port, served by this process or joined; waits for `size` processes. To be freed.
Store* coppice_store(const char* host, int port, int size, int serves, std::int64_t timeout_ms, char* error, std::size_t length) {
  return guarded<Store*>(error, length, nullptr, [&] {
    c10d::TCPStoreOptions options;
    options.port = static_cast<std::uint16_t>(port);
    options.isServer = serves != 0;
    options.numWorkers = static_cast<std::size_t>(size);
    options.waitWorkers = false;
    options.timeout = std::chrono::milliseconds(timeout_ms);
    return new Store(c10::make_intrusive<c10d::TCPStore>(host, options));
  });
}

void coppice_store_free(Store* store) { delete store; }

// The Gloo group `name` of `size` processes, this one being `rank`, bound to the interface that `address` belongs to, or to the one
// that `interface` names. To be freed.
Backend* coppice_gloo(const Store* store, const char* name, const char* interface, const char* address, int rank, int size,
                      std::int64_t timeout_ms, char* error, std::size_t length) {
  return guarded<Backend*>(error, length, nullptr, [&] {
    using Gloo = c10d::ProcessGroupGloo;
    auto options = Gloo::Options::create(std::chrono::milliseconds(timeout_ms));
    options->devices.push_back(interface != nullptr ? Gloo::createDeviceForInterface(interface) : Gloo::createDeviceForHostname(address));
    auto prefixed = c10::make_intrusive<c10d::PrefixStore>(name, *store);
    return new Backend(c10::make_intrusive<Gloo>(prefixed, rank, size, options));
  });
}

void coppice_group_free(Backend* group) { delete group; }

// The sum of `tensor` over the ranks, in place.
Work* coppice_all_reduce(const Backend* group, const at::Tensor* tensor, char* error, std::size_t length) {
  return guarded<Work*>(error, length, nullptr, [&] {
    std::vector<at::Tensor> tensors{tensor->detach()};
    return new Work(begun([&] { return (*group)->allreduce(tensors); }));
  });
}

// `tensor` of rank `root` on all ranks, in place.
Work* coppice_broadcast(const Backend* group, const at::Tensor* tensor, int root, char* error, std::size_t length) {
  return guarded<Work*>(error, length, nullptr, [&] {
    std::vector<at::Tensor> tensors{tensor->detach()};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    return new Work(begun([&] { return (*group)->broadcast(tensors, options); }));
  });
}

// `part` of every rank into the first dimension of `all`.
Work* coppice_all_gather(const Backend* group, const at::Tensor* all, const at::Tensor* part, char* error, std::size_t length) {
  return guarded<Work*>(error, length, nullptr, [&] {
    std::vector<std::vector<at::Tensor>> to{all->detach().unbind(0)};
    std::vector<at::Tensor> from{part->detach()};
    return new Work(begun([&] { return (*group)->allgather(to, from); }));
  });
}

// Waits; 0, or -1 with a message where a peer was lost or the time is over.
int coppice_work_wait(const Work* work, char* error, std::size_t length) {
  return guarded(error, length, -1, [&] {
    (*work)->wait();
    return 0;
  });
}

void coppice_work_free(Work* work) { delete work; }

// A new tensor: `send[r]` rows of x to each rank r in turn, `receive[r]` rows from it, with a gradient. Waits for it.
at::Tensor* coppice_exchange(const Backend* group, const at::Tensor* x, const std::int64_t* send, const std::int64_t* receive, int size,
                             char* error, std::size_t length) {
  return guarded<at::Tensor*>(error, length, nullptr, [&] {
    const Splits out(send, send + size), in(receive, receive + size);
    return new at::Tensor(Exchange::apply(*x, *group, out, in));
  });
}

}  // extern "C"
