// The kernel for AVX512-BF16 (Cooper Lake, Sapphire Rapids, Zen 4 and later): VDPBF16PS adds two products to each of
// sixteen float sums, so nothing is converted.
#include "avx512.h"

namespace coppice {
namespace {

struct Avx512Bf16 {
  static constexpr int kLanes = 32;
  static constexpr int kGroup = 6;  // 24 sums, 4 rows of w and one of x in 32 registers
  using Vec = __m512bh;
  using Acc = __m512;

  static Acc zero() { return _mm512_setzero_ps(); }

  static Vec load(const bf16* at) { return reinterpret_cast<__m512bh>(_mm512_loadu_si512(at)); }

  static Acc fma(Acc acc, Vec w, Vec x) { return _mm512_dpbf16_ps(acc, w, x); }

  static void reduce(const Acc (&acc)[kRows], float (&sums)[kRows]) { reduce_avx512(acc, sums); }
};

}  // namespace

void linear_avx512_bf16(const Linear& p, std::int64_t begin, std::int64_t end) { tiles<Avx512Bf16>(p, begin, end); }

}  // namespace coppice
