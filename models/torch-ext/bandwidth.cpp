// The reading loop: 64 bytes a step into independent sums, so that memory is the only thing waited for.
#include "bandwidth.h"

#include <ATen/Parallel.h>

#include <atomic>

namespace coppice {
namespace {

constexpr std::int64_t kWords = 8;
constexpr std::int64_t kGrain = 1 << 14;

std::uint64_t sum(const std::uint64_t* from, std::int64_t lines) {
  std::uint64_t sums[kWords] = {};
  for (std::int64_t line = 0; line < lines; ++line) {
    __builtin_prefetch(from + (line + 64) * kWords);
    for (std::int64_t i = 0; i < kWords; ++i) sums[i] += from[line * kWords + i];
  }
  std::uint64_t total = 0;
  for (const std::uint64_t part : sums) total += part;
  return total;
}

}  // namespace

std::uint64_t read(const std::uint64_t* from, std::int64_t bytes) {
  std::atomic<std::uint64_t> total{0};
  const std::int64_t lines = bytes / static_cast<std::int64_t>(kWords * sizeof *from);
  at::parallel_for(0, lines, kGrain, [&](std::int64_t begin, std::int64_t end) { total += sum(from + begin * kWords, end - begin); });
  return total;
}

}  // namespace coppice
