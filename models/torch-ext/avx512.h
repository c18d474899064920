// What the two AVX-512 kernels share.
#pragma once

#include <immintrin.h>

#include "tile.h"

namespace coppice {
namespace {

// The sums of four vectors, by adding neighbours until each 128-bit lane holds a part of all four.
inline void reduce_avx512(const __m512 (&acc)[kRows], float (&sums)[kRows]) {
  const __m512 low = _mm512_add_ps(_mm512_unpacklo_ps(acc[0], acc[1]), _mm512_unpackhi_ps(acc[0], acc[1]));
  const __m512 high = _mm512_add_ps(_mm512_unpacklo_ps(acc[2], acc[3]), _mm512_unpackhi_ps(acc[2], acc[3]));
  const __m512d even = _mm512_unpacklo_pd(_mm512_castps_pd(low), _mm512_castps_pd(high));
  const __m512d odd = _mm512_unpackhi_pd(_mm512_castps_pd(low), _mm512_castps_pd(high));
  const __m512 lanes = _mm512_add_ps(_mm512_castpd_ps(even), _mm512_castpd_ps(odd));
  const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(lanes), 1));
  const __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(lanes), upper);
  _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1)));
}

}  // namespace
}  // namespace coppice
