// Products y = x w^T + b in bf16 for few rows of x: the work of decoding, where the time is that of reading w once.
//
// Every element is a sum over k in one fixed order that depends neither on the number of rows of x nor on the number of
// threads: a row computed alone and the same row computed in a batch are equal bit for bit.
#pragma once

#include <cstdint>

namespace coppice {

// The upper half of an IEEE float.
using bf16 = std::uint16_t;

// One product. Row-major and dense: x [m, k], w [n, k], bias [n] or null, y [m, n].
struct Linear {
  const bf16* x;
  const bf16* w;
  const bf16* bias;
  bf16* y;
  std::int64_t m, n, k;
};

// Rows of w that one step of the kernels takes together.
constexpr std::int64_t kTileRows = 4;

// Computes the tiles [begin, end) of y's columns; tile t is the columns [4 t, 4 t + 4), cut at n.
using LinearTiles = void (*)(const Linear&, std::int64_t begin, std::int64_t end);

// One kernel for each instruction set. Each stands in a file of its own, compiled for that set alone.
void linear_portable(const Linear&, std::int64_t begin, std::int64_t end);
void linear_avx2(const Linear&, std::int64_t begin, std::int64_t end);
void linear_avx512(const Linear&, std::int64_t begin, std::int64_t end);
void linear_avx512_bf16(const Linear&, std::int64_t begin, std::int64_t end);

// The kernels by number, as the binding knows them.
enum Path : int { kPortable = 0, kAvx2 = 1, kAvx512 = 2, kAvx512Bf16 = 3 };

// The widest path this processor runs.
int best_path();

// The kernel of a path, or null where this processor cannot run it.
LinearTiles kernel(int path);

// Runs a kernel on libtorch's intra-op threads, each taking a run of neighbouring rows of w.
void run(LinearTiles tiles, const Linear& problem);

}  // namespace coppice
