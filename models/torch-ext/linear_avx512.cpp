// The kernel for AVX-512 without bf16 instructions (Skylake-X to Ice Lake): sixteen floats made by a shift.
#include "avx512.h"

namespace coppice {
namespace {

struct Avx512 {
  static constexpr int kLanes = 16;
  static constexpr int kGroup = 6;  // 24 sums, 4 rows of w and one of x in 32 registers
  using Vec = __m512;
  using Acc = __m512;

  static Acc zero() { return _mm512_setzero_ps(); }

  static Vec load(const bf16* at) {
    const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }

  static Acc fma(Acc acc, Vec w, Vec x) { return _mm512_fmadd_ps(w, x, acc); }

  static void reduce(const Acc (&acc)[kRows], float (&sums)[kRows]) { reduce_avx512(acc, sums); }
};

}  // namespace

void linear_avx512(const Linear& p, std::int64_t begin, std::int64_t end) { tiles<Avx512>(p, begin, end); }

}  // namespace coppice
