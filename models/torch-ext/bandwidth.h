// How fast this machine's threads read memory.
#pragma once

#include <cstdint>

namespace coppice {

// Reads `bytes` (a multiple of 64) from `from` once, on libtorch's intra-op threads; the wrapping sum of the words.
std::uint64_t read(const std::uint64_t* from, std::int64_t bytes);

}  // namespace coppice
