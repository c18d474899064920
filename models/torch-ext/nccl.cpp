// The NCCL backend of c10d, as a library of its own: ProcessGroupNCCL lives in libtorch_cuda.so, which Coppice's binary does not link.
// The binary loads this one after libtorch_cuda.so. Compiled and linked; never run on a GPU.
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <chrono>
#include <cstdint>

#include "guarded.h"

using coppice::guarded;

namespace {

using Backend = c10::intrusive_ptr<c10d::Backend>;
using Store = c10::intrusive_ptr<c10d::Store>;

}  // namespace

// The NCCL group `name` of `size` processes, this one being `rank`, on the current GPU. To be freed by `coppice_group_free`.
extern "C" Backend* coppice_nccl(const Store* store, const char* name, int rank, int size, std::int64_t timeout_ms, char* error,
                                 std::size_t length) {
  return guarded<Backend*>(error, length, nullptr, [&] {
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = std::chrono::milliseconds(timeout_ms);
    auto prefixed = c10::make_intrusive<c10d::PrefixStore>(name, *store);
    return new Backend(c10::make_intrusive<c10d::ProcessGroupNCCL>(prefixed, rank, size, options));
  });
}
