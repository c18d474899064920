// How a C function the Rust binding calls keeps C++ exceptions on its own side.
//
// A function that can fail takes `error`, a buffer of `size` bytes for one line of text, and returns null or a negative
// number when it wrote there.
#pragma once

#include <c10/util/Exception.h>

#include <cstddef>
#include <cstdio>
#include <exception>

namespace coppice {

// Runs `work` and returns what it returns; on an exception writes its message and returns `failed`.
template <class Value, class Work>
Value guarded(char* error, std::size_t size, Value failed, Work work) {
  try {
    return work();
  } catch (const c10::Error& e) {
    std::snprintf(error, size, "%s", e.what_without_backtrace());
  } catch (const std::exception& e) {
    std::snprintf(error, size, "%s", e.what());
  } catch (...) {
    std::snprintf(error, size, "unknown C++ exception");
  }
  return failed;
}

}  // namespace coppice
