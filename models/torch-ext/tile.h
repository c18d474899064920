// The loops all kernels share: 4 rows of w against a group of rows of x, all sums in registers, each row of w read once.
//
// `Isa` supplies the vectors: `Vec` (kLanes values of bf16, as loaded), `Acc` (partial sums), `zero`, `load`, `fma` and
// `reduce`, and `kGroup`, the rows of x whose sums fit its registers. Everything is in an unnamed namespace, since each
// file that includes this is compiled for another instruction set.
#pragma once

#include <cstring>

#include "linear.h"

namespace coppice {
namespace {

constexpr int kRows = static_cast<int>(kTileRows);
constexpr std::int64_t kLine = 64 / sizeof(bf16);

// Rounds to nearest, ties to even; a NaN stays one.
inline bf16 round_to_bf16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  return static_cast<bf16>(((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : rounded) >> 16);
}

inline float to_float(bf16 value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

// The rows of w of one tile; past the last row of w the last one stands in, and its sums are not stored.
struct Rows {
  const bf16* at[kRows];
  float bias[kRows];
  int count;
};

inline Rows rows_of(const Linear& p, std::int64_t tile) {
  Rows rows;
  const std::int64_t first = tile * kTileRows;
  rows.count = static_cast<int>(p.n - first < kTileRows ? p.n - first : kTileRows);
  for (int r = 0; r < kRows; ++r) {
    const std::int64_t row = first + (r < rows.count ? r : rows.count - 1);
    rows.at[r] = p.w + row * p.k;
    rows.bias[r] = p.bias ? to_float(p.bias[row]) : 0.0f;
  }
  return rows;
}

// Adds one step of k to all sums.
template <class Isa, int M>
inline void step(typename Isa::Acc (&acc)[M][kRows], const typename Isa::Vec (&w)[kRows], const bf16* x, std::int64_t stride) {
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
    const typename Isa::Vec values = Isa::load(x + m * stride);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) acc[m][r] = Isa::fma(acc[m][r], w[r], values);
  }
}

// The last, incomplete step of k, padded with zeros.
template <class Isa, int M>
inline void tail(typename Isa::Acc (&acc)[M][kRows], const Rows& rows, const bf16* x, std::int64_t k, std::int64_t done) {
  bf16 padded[M][Isa::kLanes] = {};
  for (int m = 0; m < M; ++m) std::memcpy(padded[m], x + m * k + done, (k - done) * sizeof(bf16));
  typename Isa::Vec w[kRows];
  for (int r = 0; r < kRows; ++r) {
    bf16 row[Isa::kLanes] = {};
    std::memcpy(row, rows.at[r] + done, (k - done) * sizeof(bf16));
    w[r] = Isa::load(row);
  }
  step<Isa, M>(acc, w, padded[0], Isa::kLanes);
}

// The part of the next tile that a group calls into the second-level cache while it computes: kRows addresses `apart` bytes
// from each other at every step. Spread evenly over all groups, so that memory never waits for arithmetic; into the second
// level, since prefetches into the first hold its few miss buffers and stall the loads behind them.
struct Ahead {
  const char* at;
  std::int64_t apart;
};

inline void call(const Ahead& ahead, std::int64_t step) {
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) __builtin_prefetch(ahead.at + (step * kRows + i) * ahead.apart, 0, 2);
}

// Adds the bias, rounds once and stores the sums of one row of x.
inline void store(const float (&sums)[kRows], const float (&bias)[kRows], int count, bf16* y) {
  bf16 rounded[kRows];
  for (int r = 0; r < kRows; ++r) rounded[r] = round_to_bf16(sums[r] + bias[r]);
  if (count == kRows) {
    std::memcpy(y, rounded, sizeof rounded);
  } else {
    std::memcpy(y, rounded, count * sizeof(bf16));
  }
}

// Copies of the code of a group. Each group of a tile runs its own, so that every load of w meets one tile after the other. Where
// two groups share their code, its loads go over a tile twice before the next one, and the processor's own prefetching loses the
// stream: on Zen 4 ten rows in two groups of five then read 16 GB/s of weights on one core instead of 25.
constexpr int kCopies = 6;

// y[first .. first + M, column ..] for M rows of x against the rows of one tile.
template <class Isa, int Copy, int M>
void group(const Linear& p, const Rows& rows, std::int64_t column, std::int64_t first, Ahead ahead) {
  asm volatile("" : : "i"(Copy));  // equal functions would be folded into one
  typename Isa::Acc acc[M][kRows];
  for (int m = 0; m < M; ++m)
    for (int r = 0; r < kRows; ++r) acc[m][r] = Isa::zero();
  const bf16* x = p.x + first * p.k;
  std::int64_t k = 0;
  for (; k + Isa::kLanes <= p.k; k += Isa::kLanes) {
    call(ahead, k / Isa::kLanes);
    typename Isa::Vec w[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) w[r] = Isa::load(rows.at[r] + k);
    step<Isa, M>(acc, w, x + k, p.k);
  }
  if (k < p.k) tail<Isa, M>(acc, rows, x, p.k, k);
  for (int m = 0; m < M; ++m) {
    float sums[kRows];
    Isa::reduce(acc[m], sums);
    store(sums, rows.bias, rows.count, p.y + (first + m) * p.n + column);
  }
}

// `group` for a number of rows known only at run time.
template <class Isa, int Copy, int M = Isa::kGroup>
inline void group_of(std::int64_t rows_of_x, const Linear& p, const Rows& rows, std::int64_t column, std::int64_t first, Ahead ahead) {
  if constexpr (M > 1) {
    if (rows_of_x < M) return group_of<Isa, Copy, M - 1>(rows_of_x, p, rows, column, first, ahead);
  }
  group<Isa, Copy, M>(p, rows, column, first, ahead);
}

// `group_of` by the copy that group `g` runs.
template <class Isa, int Copy = 0>
inline void group_at(std::int64_t g, std::int64_t rows_of_x, const Linear& p, const Rows& rows, std::int64_t column, std::int64_t first,
                     Ahead ahead) {
  if constexpr (Copy + 1 < kCopies) {
    if (g % kCopies != Copy) return group_at<Isa, Copy + 1>(g, rows_of_x, p, rows, column, first, ahead);
  }
  group_of<Isa, Copy>(rows_of_x, p, rows, column, first, ahead);
}

// All rows of x, in groups of nearly equal size, against each tile of w in turn.
template <class Isa>
void tiles(const Linear& p, std::int64_t begin, std::int64_t end) {
  const std::int64_t groups = (p.m + Isa::kGroup - 1) / Isa::kGroup;
  for (std::int64_t tile = begin; tile < end; ++tile) {
    const Rows rows = rows_of(p, tile);
    const bool more = tile + 1 < end;
    const char* next = reinterpret_cast<const char*>(rows.at[0] + (more ? kTileRows * p.k : 0));
    const std::int64_t apart = more ? Isa::kLanes * static_cast<std::int64_t>(sizeof(bf16)) / groups : 0;
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t first = g * p.m / groups, last = (g + 1) * p.m / groups;
      group_at<Isa>(g, last - first, p, rows, tile * kTileRows, first, Ahead{next + g * (p.k / Isa::kLanes) * kRows * apart, apart});
    }
  }
}

}  // namespace
}  // namespace coppice
