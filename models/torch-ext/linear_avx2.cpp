// The kernel for AVX2 with FMA: a bf16 becomes a float by a shift, eight at a time.
#include <immintrin.h>

#include "tile.h"

namespace coppice {
namespace {

struct Avx2 {
  static constexpr int kLanes = 8;
  static constexpr int kGroup = 2;  // 8 sums, 4 rows of w and one of x in 16 registers
  using Vec = __m256;
  using Acc = __m256;

  static Acc zero() { return _mm256_setzero_ps(); }

  static Vec load(const bf16* at) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }

  static Acc fma(Acc acc, Vec w, Vec x) { return _mm256_fmadd_ps(w, x, acc); }

  static void reduce(const Acc (&acc)[kRows], float (&sums)[kRows]) {
    const __m256 quarters = _mm256_hadd_ps(_mm256_hadd_ps(acc[0], acc[1]), _mm256_hadd_ps(acc[2], acc[3]));
    _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(quarters), _mm256_extractf128_ps(quarters, 1)));
  }
};

}  // namespace

void linear_avx2(const Linear& p, std::int64_t begin, std::int64_t end) { tiles<Avx2>(p, begin, end); }

}  // namespace coppice
