// An allocator of libtorch's CPU tensors for processes that train: a step asks for the same blocks as the step before it, so freed blocks
// are kept by their size and given out again. Fresh memory comes page by page, each one zeroed by the system: for gradients and
// activations of a billion parameters that is seconds a step. Large blocks ask for huge pages. The Rust side is src/allocator.rs.
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "guarded.h"

using coppice::guarded;

namespace {

constexpr std::size_t kHeader = 64;             // bytes before a tensor's data; keeps its alignment
constexpr std::size_t kKept = std::size_t{1} << 20;  // blocks of at least this size are kept
constexpr std::size_t kHuge = std::size_t{2} << 20;  // size of a huge page

struct Header {
  std::size_t size;  // of the data
};

Header* header(void* data) { return reinterpret_cast<Header*>(static_cast<char*>(data) - kHeader); }

// A new block with room for `size` bytes after its header; null where there is no memory.
void* fresh(std::size_t size) {
  const bool huge = size >= 2 * kHuge;
  void* base = nullptr;
  if (posix_memalign(&base, huge ? kHuge : kHeader, size + kHeader) != 0) return nullptr;
#ifdef __linux__
  if (huge) madvise(base, size + kHeader, MADV_HUGEPAGE);
#endif
  void* data = static_cast<char*>(base) + kHeader;
  header(data)->size = size;
  return data;
}

void discard(void* data) { std::free(header(data)); }

// Freed blocks by size.
class Pool {
 public:
  void* take(std::size_t size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    void* data = reuse(size);
    if (data == nullptr) {
      if (idle_ > live_) release();
      data = fresh(size);
      if (data == nullptr) {
        release();
        data = fresh(size);
      }
      TORCH_CHECK(data != nullptr, "there is no memory for a tensor of ", size, " bytes");
    }
    live_ += header(data)->size;
    return data;
  }

  void give(void* data) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::size_t size = header(data)->size;
    live_ -= size;
    if (size < kKept) return discard(data);
    idle_ += size;
    blocks_[size].push_back(data);
  }

 private:
  // A kept block of this size, or at most an eighth larger.
  void* reuse(std::size_t size) {
    const auto found = size < kKept ? blocks_.end() : blocks_.lower_bound(size);
    if (found == blocks_.end() || found->first > size + size / 8) return nullptr;
    void* data = found->second.back();
    found->second.pop_back();
    idle_ -= found->first;
    if (found->second.empty()) blocks_.erase(found);
    return data;
  }

  // Gives all kept blocks back to the system.
  void release() {
    for (auto& [size, blocks] : blocks_)
      for (void* data : blocks) discard(data);
    blocks_.clear();
    idle_ = 0;
  }

  std::mutex mutex_;
  std::map<std::size_t, std::vector<void*>> blocks_;
  std::size_t live_ = 0, idle_ = 0;  // bytes in use, and kept
};

// Never destroyed: tensors of static duration outlive everything else.
Pool& pool() {
  static Pool* const pool = new Pool;
  return *pool;
}

void give(void* data) {
  if (data != nullptr) pool().give(data);
}

class Pooled final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t size) override {
    void* data = size == 0 ? nullptr : pool().take(size);
    return {data, data, &give, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &give; }

  void copy_data(void* to, const void* from, std::size_t count) const override { std::memcpy(to, from, count); }
};

}  // namespace

extern "C" {

// Lets all CPU tensors made from now on come from the pool. Returns 0, or -1 with a message.
int coppice_keep_freed_tensors(char* error, std::size_t size) {
  return guarded(error, size, -1, [] {
    static Pooled* const pooled = new Pooled;
    c10::SetCPUAllocator(pooled, /*priority=*/100);
    return 0;
  });
}

}  // extern "C"
