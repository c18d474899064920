// The loops of fused.h, plain enough for the compiler to make vectors of whatever width the including file is compiled for.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "fused.h"

namespace coppice {
namespace {

template <class To, class From>
inline To bits(From from) {
  To to;
  static_assert(sizeof to == sizeof from, "sizes differ");
  std::memcpy(&to, &from, sizeof to);
  return to;
}

inline float load(float x) { return x; }
inline float load(bf16 x) { return bits<float>(static_cast<std::uint32_t>(x) << 16); }

inline void store(float* to, float x) { *to = x; }

// To the nearest, ties to even. Infinities stay; what is not a number becomes one that is quiet.
inline void store(bf16* to, float x) {
  const auto u = bits<std::uint32_t>(x);
  const std::uint32_t rounded = (u + 0x7FFF + ((u >> 16) & 1)) >> 16;
  *to = static_cast<bf16>(x == x ? rounded : 0x7FC0);
}

// e^x within 2 units in the last place: x = n ln 2 + r, a polynomial in r (Cephes, expf), n added to the exponent. Inputs are held where
// the result is a normal float.
inline float exponential(float x) {
  constexpr float kShift = 12582912.0f;  // 1.5 2^23: adding it rounds to a whole number
  x = std::min(std::max(x, -87.0f), 88.0f);
  const float shifted = x * 1.44269504088896341f + kShift, n = shifted - kShift;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const std::int32_t whole = bits<std::int32_t>(shifted) - bits<std::int32_t>(kShift);
  return p * bits<float>((whole + 127) << 23);
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

template <class T>
void swiglu(const T* gate, const T* up, T* h, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = load(gate[i]);
    store(h + i, g * sigmoid(g) * load(up[i]));
  }
}

template <class T>
void swiglu_backward(const T* gate, const T* up, const T* dh, T* dgate, T* dup, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = load(gate[i]), d = load(dh[i]), s = sigmoid(g);
    store(dup + i, d * g * s);
    store(dgate + i, d * load(up[i]) * s * (1.0f + g * (1.0f - s)));
  }
}

template <class T>
float cross_entropy(T* row, std::int64_t n, std::int64_t target, float scale) {
  float largest = -std::numeric_limits<float>::infinity(), sum = 0.0f;
#pragma omp simd reduction(max : largest)
  for (std::int64_t i = 0; i < n; ++i) largest = std::max(largest, load(row[i]));
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += exponential(load(row[i]) - largest);
  const float partition = largest + std::log(sum), wanted = load(row[target]);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) store(row + i, scale * exponential(load(row[i]) - partition));
  store(row + target, scale * (exponential(wanted - partition) - 1.0f));
  return partition - wanted;
}

template <class T>
float square_sum(const T* x, std::int64_t n) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += load(x[i]) * load(x[i]);
  return sum;
}

template <class T>
constexpr Fused<T> kLoops = {swiglu<T>, swiglu_backward<T>, cross_entropy<T>, square_sum<T>};

constexpr FusedKernels kKernels = {kLoops<bf16>, kLoops<float>};

}  // namespace
}  // namespace coppice
