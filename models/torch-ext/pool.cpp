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
#include <unordered_map>
#include <vector>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "guarded.h"

using coppice::guarded;

namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kKept = std::size_t{1} << 20;      // blocks of at least this size are kept
constexpr std::size_t kHugePage = std::size_t{2} << 20;  // those of twice this size begin at a huge page

#ifdef __linux__
std::size_t pages(std::size_t size) { return (size + 4095) / 4096 * 4096; }

// A mapping that begins at a huge page, and asks for huge ones; null where there is no memory.
void* map_huge(std::size_t size) {
  const std::size_t wanted = pages(size), whole = wanted + kHugePage;
  void* found = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (found == MAP_FAILED) return nullptr;
  char* base = static_cast<char*>(found);
  const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(base) % kHugePage) % kHugePage;
  if (before > 0) munmap(base, before);
  if (whole > before + wanted) munmap(base + before + wanted, whole - before - wanted);
  madvise(base + before, wanted, MADV_HUGEPAGE);
  return base + before;
}
#endif

// A new block; null where there is no memory.
void* fresh(std::size_t size) {
#ifdef __linux__
  if (size >= 2 * kHugePage) return map_huge(size);
#endif
  void* data = nullptr;
  return posix_memalign(&data, kAlignment, size) == 0 ? data : nullptr;
}

void discard(void* data, std::size_t size) {
#ifdef __linux__
  if (size >= 2 * kHugePage) {
    munmap(data, pages(size));
    return;
  }
#endif
  std::free(data);
}

// Freed blocks by size.
class Pool {
 public:
  void* take(std::size_t size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto kept = size < kKept ? blocks_.end() : blocks_.lower_bound(size);
    if (kept != blocks_.end() && kept->first <= size + size / 8) return reuse(kept);
    if (idle_ > live_) release();
    void* data = fresh(size);
    if (data == nullptr) {
      release();
      data = fresh(size);
    }
    TORCH_CHECK(data != nullptr, "there is no memory for a tensor of ", size, " bytes");
    return lend(data, size);
  }

  void give(void* data) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto lent = sizes_.find(data);
    const std::size_t size = lent->second;
    sizes_.erase(lent);
    live_ -= size;
    if (size < kKept) return discard(data, size);
    idle_ += size;
    blocks_[size].push_back(data);
  }

 private:
  using Blocks = std::map<std::size_t, std::vector<void*>>;

  void* lend(void* data, std::size_t size) {
    live_ += size;
    sizes_.emplace(data, size);
    return data;
  }

  // Gives out a kept block again.
  void* reuse(Blocks::iterator kept) {
    const std::size_t size = kept->first;
    void* data = kept->second.back();
    kept->second.pop_back();
    if (kept->second.empty()) blocks_.erase(kept);
    idle_ -= size;
    return lend(data, size);
  }

  // Gives all kept blocks back to the system.
  void release() {
    for (auto& [size, blocks] : blocks_)
      for (void* data : blocks) discard(data, size);
    blocks_.clear();
    idle_ = 0;
  }

  std::mutex mutex_;
  Blocks blocks_;                                // kept, by size
  std::unordered_map<void*, std::size_t> sizes_;  // of those in use
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
