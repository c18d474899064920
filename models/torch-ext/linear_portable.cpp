// The kernel for any processor: plain loops over eight lanes, which the compiler turns into what vectors there are.
#include "tile.h"

namespace coppice {
namespace {

struct Portable {
  static constexpr int kLanes = 8;
  static constexpr int kGroup = 2;
  struct Vec {
    float lane[kLanes];
  };
  using Acc = Vec;

  static Acc zero() { return Acc{}; }

  static Vec load(const bf16* at) {
    Vec values;
    for (int i = 0; i < kLanes; ++i) values.lane[i] = to_float(at[i]);
    return values;
  }

  static Acc fma(Acc acc, const Vec& w, const Vec& x) {
    for (int i = 0; i < kLanes; ++i) acc.lane[i] += w.lane[i] * x.lane[i];
    return acc;
  }

  static void reduce(const Acc (&acc)[kRows], float (&sums)[kRows]) {
    for (int r = 0; r < kRows; ++r) {
      sums[r] = 0;
      for (int i = 0; i < kLanes; ++i) sums[r] += acc[r].lane[i];
    }
  }
};

}  // namespace

void linear_portable(const Linear& p, std::int64_t begin, std::int64_t end) { tiles<Portable>(p, begin, end); }

}  // namespace coppice
