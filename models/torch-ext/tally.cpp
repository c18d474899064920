// Counts what is executed while a tally is taken: libtorch tells of every operator that it dispatches (RecordFunction, what its profiler
// uses), our own kernels of themselves (tally.h). A multiplication and an addition are two operations. The Rust side is
// src/ext/tally.rs.
//
// Products are counted at the operators that compute (mm, bmm, fused attention), never at those that call them (linear, matmul), so that
// none counts twice. Counted is the thread that takes the tally, and those that compute its gradients. Memory is that of watched tensors
// alone: the union of the parts that operators were handed to read.

// RecordFunction has a member more without it, and libtorch is compiled with it.
#ifndef NDEBUG
#define NDEBUG
#endif

#include "tally.h"

#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "guarded.h"

using coppice::guarded;

namespace {

using Address = std::uintptr_t;

// What became of one watched tensor.
struct Watched {
  Address from = 0, to = 0;
  std::int64_t operations = 0;         // of products it is a factor of
  std::map<Address, Address> read{};   // disjoint parts, by their start

  // Adds [a, b) to the parts read.
  void add(Address a, Address b) {
    auto next = read.lower_bound(a);
    if (next != read.begin() && std::prev(next)->second >= a) --next;
    while (next != read.end() && next->first <= b) {
      a = std::min(a, next->first);
      b = std::max(b, next->second);
      next = read.erase(next);
    }
    read.emplace(a, b);
  }

  std::int64_t bytes() const {
    return std::accumulate(read.begin(), read.end(), std::int64_t{0},
                           [](std::int64_t sum, const auto& part) { return sum + static_cast<std::int64_t>(part.second - part.first); });
  }
};

struct Tally {
  std::vector<Watched> watched;
  std::map<Address, std::size_t> places;  // start to index
  std::int64_t products = 0;              // executed
  std::int64_t batched = 0;               // operations of batched products and fused attention: no weight is a factor
  std::int64_t other = 0;                 // operations of other products that no watched tensor is a factor of
};

std::atomic<bool> taking{false};
std::mutex lock;
Tally tally;
at::CallbackHandle handle = 0;
thread_local bool mine = false;  // whether this thread's kernels count: it takes the tally
thread_local bool busy = false;  // asking for values dispatches operators of its own

Watched* find(Address address) {
  auto place = tally.places.upper_bound(address);
  if (place == tally.places.begin()) return nullptr;
  Watched& found = tally.watched[(--place)->second];
  return address < found.to ? &found : nullptr;
}

Address start(const at::Tensor& x) { return reinterpret_cast<Address>(x.const_data_ptr()); }

bool has_memory(const at::Tensor& x) { return x.defined() && x.layout() == at::kStrided && x.numel() > 0 && x.has_storage(); }

Watched* find(const at::Tensor& x) { return has_memory(x) ? find(start(x)) : nullptr; }

// Adds the memory of x to what was read: one part for each stretch without a gap.
void read(const at::Tensor& x) {
  Watched* watched = find(x);
  if (watched == nullptr) return;
  std::vector<std::pair<std::int64_t, std::int64_t>> dims;  // stride and size, a repeated dimension once
  for (std::int64_t d = 0; d < x.dim(); ++d)
    if (x.size(d) > 1 && x.stride(d) > 0) dims.emplace_back(x.stride(d), x.size(d));
  std::sort(dims.begin(), dims.end());
  std::int64_t stretch = 1;
  std::size_t inner = 0;
  for (; inner < dims.size() && dims[inner].first == stretch; ++inner) stretch *= dims[inner].second;
  std::vector<std::int64_t> starts{0};
  for (std::size_t d = inner; d < dims.size(); ++d) {
    const std::size_t count = starts.size();
    for (std::int64_t i = 1; i < dims[d].second; ++i)
      for (std::size_t s = 0; s < count; ++s) starts.push_back(starts[s] + i * dims[d].first);
  }
  const auto width = static_cast<Address>(x.element_size());
  for (const std::int64_t at : starts) {
    const Address from = start(x) + static_cast<Address>(at) * width;
    watched->add(from, from + static_cast<Address>(stretch) * width);
  }
}

// The rows of x that `index` names.
void read_rows(const at::Tensor& x, const at::Tensor& index) {
  if (find(x) == nullptr) return;
  const at::Tensor rows = index.cpu().to(at::kLong).contiguous();
  for (std::int64_t i = 0; i < rows.numel(); ++i) read(x.select(0, rows.const_data_ptr<std::int64_t>()[i]));
}

// A product of which one of two factors may be watched.
void count(std::int64_t operations, const at::Tensor& a, const at::Tensor& b) {
  if (operations == 0) return;
  tally.products += 1;
  Watched* watched = find(b) != nullptr ? find(b) : find(a);
  (watched != nullptr ? watched->operations : tally.other) += operations;
}

// Pairs of a query and a key it sees.
std::int64_t pairs(std::int64_t queries, std::int64_t keys, bool causal) {
  if (!causal) return queries * keys;
  const std::int64_t seen = std::min(queries, keys);  // query i sees keys 0 to i
  return seen * (seen + 1) / 2 + (queries - seen) * keys;
}

// Where the operators of fused attention have their queries and `is_causal`, and how many products a pair asks for.
struct Fused {
  std::size_t query, causal;
  int products;
};

const std::unordered_map<std::string, Fused>& fused() {
  static const std::unordered_map<std::string, Fused> all{
      {"aten::_scaled_dot_product_flash_attention_for_cpu", {0, 4, 2}},
      {"aten::_scaled_dot_product_flash_attention_for_cpu_backward", {1, 7, 5}},
      {"aten::_scaled_dot_product_flash_attention", {0, 4, 2}},
      {"aten::_scaled_dot_product_flash_attention_backward", {1, 11, 5}},
      {"aten::_scaled_dot_product_efficient_attention", {0, 6, 2}},
      {"aten::_scaled_dot_product_efficient_attention_backward", {1, 11, 5}},
      {"aten::_scaled_dot_product_cudnn_attention", {0, 6, 2}},
      {"aten::_scaled_dot_product_cudnn_attention_backward", {1, 14, 5}}};
  return all;
}

using Inputs = c10::ArrayRef<const c10::IValue>;

void attention(const Fused& op, Inputs inputs) {
  if (inputs.size() <= op.causal || !inputs[op.causal].isBool()) return;
  const at::Tensor &q = inputs[op.query].toTensor(), &k = inputs[op.query + 1].toTensor();
  const std::int64_t each = 2 * q.size(0) * q.size(1) * q.size(3);
  tally.products += op.products;
  tally.batched += op.products * each * pairs(q.size(2), k.size(2), inputs[op.causal].toBool());
}

// What a product by groups comes to if its operator does not call others for it.
struct Grouped : at::ObserverContext {
  std::int64_t products = 0;
  at::Tensor x, w, ends;
};

std::unique_ptr<at::ObserverContext> product(const std::string& name, Inputs in) {
  const auto tensor = [&](std::size_t i) -> const at::Tensor& { return in[i].toTensor(); };
  if (name == "aten::mm") {
    count(2 * tensor(0).size(0) * tensor(0).size(1) * tensor(1).size(1), tensor(0), tensor(1));
  } else if (name == "aten::addmm" || name == "aten::addmm_") {
    count(2 * tensor(1).size(0) * tensor(1).size(1) * tensor(2).size(1), tensor(1), tensor(2));
  } else if (name == "aten::addmv" || name == "aten::addmv_") {
    count(2 * tensor(1).size(0) * tensor(1).size(1), tensor(1), tensor(2));
  } else if (name == "aten::bmm" || name == "aten::baddbmm" || name == "aten::baddbmm_") {
    const at::Tensor &a = tensor(name == "aten::bmm" ? 0 : 1), &b = tensor(name == "aten::bmm" ? 1 : 2);
    tally.products += 1;
    tally.batched += 2 * a.size(0) * a.size(1) * a.size(2) * b.size(2);
  } else if (name == "aten::_grouped_mm" && in.size() > 2 && in[2].isTensor()) {
    auto grouped = std::make_unique<Grouped>();
    grouped->products = tally.products;
    grouped->x = tensor(0), grouped->w = tensor(1), grouped->ends = tensor(2);
    return grouped;
  } else if (const auto found = fused().find(name); found != fused().end()) {
    attention(found->second, in);
  }
  return nullptr;
}

// Whether an operator only looks at its first argument another way, or overwrites it.
std::pair<bool, bool> aliases(const at::RecordFunction& call) {
  const auto schema = call.operator_schema();
  if (!schema.has_value() || schema->arguments().empty()) return {false, false};
  const auto* alias = schema->arguments()[0].alias_info();
  return {alias != nullptr && !alias->isWrite(), alias != nullptr && alias->isWrite()};
}

// Whether an operator is a product of nothing: an expert without rows reads no weight.
bool empty_product(const std::string& name, Inputs inputs) {
  const bool product = name == "aten::mm" || name == "aten::bmm" || name.rfind("aten::addm", 0) == 0;
  return product && std::any_of(inputs.begin(), inputs.end(), [](const c10::IValue& x) { return x.isTensor() && x.toTensor().numel() == 0; });
}

void reads(const at::RecordFunction& call, const std::string& name, Inputs inputs) {
  const auto [view, writes] = aliases(call);
  // `embedding` calls `index_select`; products by groups are looked at expert by expert.
  if (view || name == "aten::embedding" || name == "aten::_grouped_mm" || empty_product(name, inputs)) return;
  if (name == "aten::index_select" && inputs[1].toInt() == 0) return read_rows(inputs[0].toTensor(), inputs[2].toTensor());
  for (std::size_t i = writes ? 1 : 0; i < inputs.size(); ++i) {
    if (inputs[i].isTensor()) read(inputs[i].toTensor());
    if (inputs[i].isTensorList())
      for (const at::Tensor& x : inputs[i].toTensorVector()) read(x);
  }
}

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& call) {
  if (busy || !taking) return nullptr;
  busy = true;
  std::unique_ptr<at::ObserverContext> context;
  try {
    const std::lock_guard<std::mutex> guard(lock);
    const std::string name = call.name();
    context = product(name, call.inputs());
    reads(call, name, call.inputs());
  } catch (...) {
    // An operator of a form that is not known here counts nothing; it must not fail for being looked at.
  }
  busy = false;
  return context;
}

// Counts a product by groups that was computed in one piece.
void end(const at::RecordFunction&, at::ObserverContext* context) {
  auto* grouped = dynamic_cast<Grouped*>(context);
  if (grouped == nullptr || busy) return;
  busy = true;
  const std::lock_guard<std::mutex> guard(lock);
  if (tally.products == grouped->products) {
    const at::Tensor ends = grouped->ends.cpu();
    std::int64_t from = 0;
    for (std::int64_t e = 0; e < ends.numel(); ++e) {
      const std::int64_t to = ends.const_data_ptr<int>()[e], rows = to - std::exchange(from, to);
      if (rows == 0) continue;
      const at::Tensor w = grouped->w.select(0, e);
      count(2 * rows * w.numel(), grouped->x, w);
      read(w);
    }
  }
  busy = false;
}

void watch(const at::Tensor* const* tensors, std::int64_t count) {
  tally = Tally{};
  for (std::int64_t i = 0; i < count; ++i) {
    const at::Tensor& x = *tensors[i];
    TORCH_CHECK(x.is_non_overlapping_and_dense(), "tally: watched tensors must fill their memory, tensor ", i, " does not");
    Watched watched;
    watched.from = has_memory(x) ? start(x) : 0;
    watched.to = watched.from + (has_memory(x) ? x.nbytes() : 0);
    if (watched.to > watched.from) tally.places.emplace(watched.from, tally.watched.size());
    tally.watched.push_back(std::move(watched));
  }
}

}  // namespace

bool coppice::tallying() { return mine && !busy; }

void coppice::tally_product(std::int64_t rows, const at::Tensor& w, const at::Tensor* bias) {
  if (!tallying() || rows == 0) return;
  const std::lock_guard<std::mutex> guard(lock);
  count(2 * rows * w.numel(), w, w);
  read(w);
  if (bias != nullptr) read(*bias);
}

extern "C" {

// Begins a tally of this thread in which `count` tensors, each without gaps in its memory, are watched; 0, or -1 with a message.
int coppice_tally_begin(const at::Tensor* const* tensors, std::int64_t count, char* error, std::size_t size) {
  return guarded(error, size, -1, [&] {
    const std::lock_guard<std::mutex> guard(lock);
    TORCH_CHECK(!taking, "tally: one is being taken already");
    watch(tensors, count);
    handle = at::addThreadLocalCallback(at::RecordFunctionCallback(&begin, &end).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
    taking = mine = true;
    return 0;
  });
}

// Ends the tally: totals [products, operations of batched products, of other products], and of every watched tensor the operations and
// the bytes read; 0, or -1 with a message.
int coppice_tally_end(std::int64_t* totals, std::int64_t* operations, std::int64_t* bytes, char* error, std::size_t size) {
  return guarded(error, size, -1, [&] {
    taking = mine = false;
    at::removeCallback(handle);
    const std::lock_guard<std::mutex> guard(lock);
    totals[0] = tally.products, totals[1] = tally.batched, totals[2] = tally.other;
    for (std::size_t i = 0; i < tally.watched.size(); ++i) operations[i] = tally.watched[i].operations, bytes[i] = tally.watched[i].bytes();
    tally = Tally{};
    return 0;
  });
}

}  // extern "C"
