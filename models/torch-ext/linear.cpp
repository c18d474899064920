// Which kernel this processor runs, and how the rows of w are dealt to libtorch's threads.
#include "linear.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace coppice {
namespace {

// Weights below this size are not worth waking another thread for.
constexpr std::int64_t kBytesPerThread = 64 << 10;

#if defined(__x86_64__)
bool runs(int path) {
  __builtin_cpu_init();
  switch (path) {
    case kPortable:
      return true;
    case kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case kAvx512:
      return __builtin_cpu_supports("avx512f");
    case kAvx512Bf16:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bf16");
    default:
      return false;
  }
}

constexpr LinearTiles kKernels[] = {linear_portable, linear_avx2, linear_avx512, linear_avx512_bf16};
#else
bool runs(int path) { return path == kPortable; }

constexpr LinearTiles kKernels[] = {linear_portable};
#endif

}  // namespace

int best_path() {
  static const int best = [] {
    int path = kAvx512Bf16;
    while (!runs(path)) --path;
    return path;
  }();
  return best;
}

LinearTiles kernel(int path) { return runs(path) ? kKernels[path] : nullptr; }

void run(LinearTiles tiles, const Linear& p) {
  if (p.m == 0) return;
  const std::int64_t count = (p.n + kTileRows - 1) / kTileRows;
  const std::int64_t tile_bytes = std::max<std::int64_t>(1, kTileRows * p.k * static_cast<std::int64_t>(sizeof(bf16)));
  const std::int64_t grain = std::max<std::int64_t>(1, kBytesPerThread / tile_bytes);
  at::parallel_for(0, count, grain, [&](std::int64_t begin, std::int64_t end) { tiles(p, begin, end); });
}

}  // namespace coppice
