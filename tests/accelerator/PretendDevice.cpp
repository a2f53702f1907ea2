#include "tests/accelerator/PretendDevice.h"

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/GraphImplInterface.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <sys/mman.h>
#include <torch/library.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <mutex>

namespace decoscope::pretend {

namespace {

using at::Tensor;

constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;
constexpr int kDevices = 2;

Counts& tally() {
  static Counts counts;
  return counts;
}

std::int64_t& freeMemory() {
  static std::int64_t bytes = std::numeric_limits<std::int64_t>::max() / 2;
  return bytes;
}

// ---- memory ----

struct Memory {
  char* shown = nullptr;  // reserved, never readable
  std::size_t reserved = 0;
  std::vector<char> bytes;
};

class Memories {
 public:
  Memory* reserve(std::size_t size) {
    auto memory = std::make_unique<Memory>();
    memory->reserved = size;
    void* shown = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TORCH_CHECK(shown != MAP_FAILED, "the pretended device has no addresses left");
    memory->shown = static_cast<char*>(shown);
    // Not a number, whatever the type: what nobody has written is not to be used.
    memory->bytes.assign(size, static_cast<char>(0xff));
    const std::lock_guard lock(mutex_);
    Memory* result = memory.get();
    byAddress_[result->shown] = std::move(memory);
    return result;
  }
  void release(Memory* memory) {
    munmap(memory->shown, memory->reserved);
    const std::lock_guard lock(mutex_);
    byAddress_.erase(memory->shown);
  }
  // Where the bytes behind a shown address really are.
  char* behind(const void* shown) {
    const std::lock_guard lock(mutex_);
    const auto* address = static_cast<const char*>(shown);
    auto found = byAddress_.upper_bound(const_cast<char*>(address));
    TORCH_CHECK(found != byAddress_.begin(), "no memory of the pretended device");
    Memory& memory = *(--found)->second;
    return memory.bytes.data() + (address - memory.shown);
  }

 private:
  std::mutex mutex_;
  std::map<char*, std::unique_ptr<Memory>> byAddress_;
};

Memories& memories() {
  static auto* all = new Memories;  // tensors may outlive every static
  return *all;
}

thread_local c10::DeviceIndex currentDevice = 0;

class Allocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(std::size_t size) override {
    const c10::Device device(kType, currentDevice);
    if (size == 0) return {nullptr, device};
    Memory* memory = memories().reserve(size);
    return {memory->shown, memory, &release, device};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, std::size_t count) const override {
    std::memcpy(memories().behind(to), memories().behind(from), count);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override { return {}; }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}
  std::pair<std::size_t, std::size_t> getMemoryInfo(c10::DeviceIndex) override {
    const auto bytes = static_cast<std::size_t>(freeMemory());
    return {bytes, bytes};
  }

 private:
  static void release(void* memory) { memories().release(static_cast<Memory*>(memory)); }
};

Allocator& allocator() {
  static auto* one = new Allocator;
  return *one;
}

// ---- devices and streams ----

class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Device getDevice() const override { return {kType, currentDevice}; }
  void setDevice(c10::Device device) const override {
    TORCH_CHECK(device.index() < kDevices, "there is no ", device);
    uncheckedSetDevice(device);
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.index() >= 0) currentDevice = device.index();
  }
  c10::Stream getStream(c10::Device device) const override { return stream(device, current_); }
  c10::Stream getDefaultStream(c10::Device device) const override { return stream(device, 0); }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override { return stream(device, 1); }
  c10::Stream exchangeStream(c10::Stream next) const override {
    const c10::Stream before = getStream(next.device());
    current_ = next.id();
    return before;
  }
  void record(void** event, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {
    static int happened = 0;
    *event = &happened;
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeEvent(void*) const override {}
  void synchronizeDevice(c10::DeviceIndex) const override {}
  c10::DeviceIndex deviceCount() const noexcept override { return kDevices; }

 private:
  static c10::Stream stream(c10::Device device, c10::StreamId id) {
    if (device.index() < 0) device = {kType, currentDevice};
    return c10::Stream(c10::Stream::UNSAFE, device, id);
  }
  static thread_local c10::StreamId current_;
};
thread_local c10::StreamId Guard::current_ = 0;

// ---- operations ----

using Play = std::function<void()>;
thread_local std::vector<Play>* recording = nullptr;

// The same memory as a tensor of the CPU.
Tensor hostAlias(const Tensor& tensor) {
  if (!tensor.defined() || tensor.device().type() != kType) return tensor;
  const auto options = at::TensorOptions(tensor.scalar_type()).device(at::kCPU);
  // at::from_blob refuses null, which an empty tensor has.
  if (tensor.numel() == 0) return at::empty(tensor.sizes(), options);
  return at::from_blob(memories().behind(tensor.data_ptr()), tensor.sizes(), tensor.strides(), options);
}

std::vector<std::int64_t> contiguousStrides(at::IntArrayRef size) {
  std::vector<std::int64_t> strides(size.size(), 1);
  for (std::size_t i = size.size(); i-- > 1;)
    strides[i - 1] = strides[i] * std::max<std::int64_t>(size[i], 1);
  return strides;
}

Tensor empty(at::IntArrayRef size, at::IntArrayRef stride, at::ScalarType type, c10::Device device) {
  const c10::DeviceGuard guard(device);
  return at::detail::empty_strided_generic(size, stride, &allocator(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), type);
}

const Tensor& resized(const Tensor& self, at::IntArrayRef size, std::optional<at::MemoryFormat>) {
  const std::size_t bytes = static_cast<std::size_t>(c10::multiply_integers(size)) * self.itemsize();
  c10::TensorImpl* shell = self.unsafeGetTensorImpl();
  if (self.storage().nbytes() < shell->storage_offset() * self.itemsize() + bytes) {
    const Tensor larger = empty(size, contiguousStrides(size), self.scalar_type(), self.device());
    const std::int64_t kept = self.numel();
    if (kept > 0) hostAlias(larger).view({-1}).narrow(0, 0, kept).copy_(hostAlias(self).reshape({-1}));
    shell->set_storage_keep_dtype(larger.storage());
    shell->set_storage_offset(0);
  }
  shell->set_sizes_contiguous(size);
  return self;
}

// Which devices' tensors an operation was given; numbers without dimensions may come from the host,
// but not in lists.
class OneDevice {
 public:
  void see(const Tensor& tensor, const c10::OperatorHandle& op, bool single = true) {
    if (!tensor.defined() || (single && tensor.is_cpu() && tensor.dim() == 0)) return;
    if (!device_) device_ = tensor.device();
    TORCH_CHECK(*device_ == tensor.device(), op.schema().name(), ": expected all tensors on ", *device_,
                ", found one on ", tensor.device());
  }
  c10::Device value() const { return *device_; }
  bool known() const { return device_.has_value(); }

 private:
  std::optional<c10::Device> device_;
};

std::vector<c10::IValue> hostArguments(const std::vector<c10::IValue>& given, const c10::OperatorHandle& op,
                                       OneDevice& device) {
  std::vector<c10::IValue> host;
  for (const c10::IValue& value : given) {
    if (value.isTensor()) {
      device.see(value.toTensor(), op);
      host.emplace_back(hostAlias(value.toTensor()));
    } else if (value.isTensorList()) {
      std::vector<Tensor> list = value.toTensorVector();
      for (Tensor& tensor : list) {
        device.see(tensor, op, false);
        tensor = hostAlias(tensor);
      }
      host.emplace_back(std::move(list));
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> list;
      for (const std::optional<Tensor>& tensor : value.toOptionalTensorVector()) {
        if (tensor) device.see(*tensor, op);
        list.push_back(tensor ? std::optional(hostAlias(*tensor)) : std::nullopt);
      }
      host.emplace_back(std::move(list));
    } else if (value.isDevice()) {
      host.emplace_back(c10::Device(at::kCPU));
    } else {
      host.push_back(value);
    }
  }
  return host;
}

// The argument that a result is, for operations that write into what they are given; −1 for new results.
int writtenArgument(const c10::FunctionSchema& schema, std::size_t result) {
  const auto* alias = schema.returns()[result].alias_info();
  if (!alias) return -1;
  TORCH_CHECK(alias->isWrite(), schema.name(), " makes a view, which the pretended device does not know");
  for (std::size_t i = 0; i < schema.arguments().size(); ++i)
    if (const auto* other = schema.arguments()[i].alias_info();
        other && other->beforeSets() == alias->beforeSets())
      return static_cast<int>(i);
  return -1;
}

bool writes(const c10::FunctionSchema& schema) {
  if (schema.returns().empty()) return true;
  for (std::size_t i = 0; i < schema.returns().size(); ++i)
    if (writtenArgument(schema, i) < 0) return false;
  return true;
}

torch::jit::Stack onHost(const c10::OperatorHandle& op, const std::vector<c10::IValue>& arguments) {
  torch::jit::Stack stack(arguments.begin(), arguments.end());
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack);
  return stack;
}

// Results that an operation is given are resized by it where they do not fit.
void followSize(const Tensor& given, const Tensor& host) {
  if (!given.defined() || given.sizes() == host.sizes()) return;
  resized(given, host.sizes(), std::nullopt);
  hostAlias(given).copy_(host);
}

void operate(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const c10::FunctionSchema& schema = op.schema();
  const std::size_t count = schema.arguments().size();
  const std::vector<c10::IValue> given(stack->end() - static_cast<std::ptrdiff_t>(count), stack->end());
  torch::jit::drop(*stack, count);
  OneDevice device;
  const std::vector<c10::IValue> host = hostArguments(given, op, device);
  TORCH_CHECK(device.known(), schema.name(), " names no tensor of the pretended device");
  const bool waits = schema.name() == "aten::_local_scalar_dense" || schema.name() == "aten::nonzero" ||
                     schema.name() == "aten::equal";
  TORCH_CHECK(!(recording && waits), schema.name(), " waits for the device, which no graph can hold");
  if (waits) ++tally().copiesToHost;
  ++tally().operations;
  if (recording && writes(schema)) {
    recording->push_back([op, host, given] { onHost(op, host); });
    for (std::size_t i = 0; i < schema.returns().size(); ++i)
      stack->push_back(given[static_cast<std::size_t>(writtenArgument(schema, i))]);
    return;
  }
  torch::jit::Stack results = onHost(op, host);
  for (std::size_t i = 0; i < count; ++i)
    if (given[i].isTensor()) followSize(given[i].toTensor(), host[i].toTensor());
  std::vector<Tensor> outputs;
  const auto onDevice = [&](const Tensor& result) {
    if (!result.defined()) return result;
    const Tensor output = empty(result.sizes(), result.strides(), result.scalar_type(), device.value());
    hostAlias(output).copy_(result);
    outputs.push_back(output);
    return output;
  };
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (const int written = writtenArgument(schema, i); written >= 0)
      stack->push_back(given[static_cast<std::size_t>(written)]);
    else if (results[i].isTensor())
      stack->push_back(onDevice(results[i].toTensor()));
    else if (results[i].isTensorList()) {
      std::vector<Tensor> list;
      for (const Tensor& tensor : results[i].toTensorVector()) list.push_back(onDevice(tensor));
      stack->push_back(std::move(list));
    } else {
      stack->push_back(results[i]);
    }
  }
  if (recording)
    recording->push_back([op, host, given, outputs] {
      std::size_t next = 0;
      for (const c10::IValue& result : onHost(op, host))
        if (result.isTensor()) hostAlias(outputs[next++]).copy_(result.toTensor());
    });
}

Tensor emptyOf(at::IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
               std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat>) {
  return empty(size, contiguousStrides(size), type.value_or(at::kFloat),
               device.value_or(c10::Device(kType, currentDevice)));
}

Tensor emptyStrided(at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> type,
                    std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  return empty(size, stride, type.value_or(at::kFloat), device.value_or(c10::Device(kType, currentDevice)));
}

Tensor& copy(Tensor& self, const Tensor& source, bool) {
  const bool across = self.device().type() != source.device().type();
  TORCH_CHECK(!(recording && across), "a copy between host and device is not to be captured");
  if (across && self.is_cpu()) {
    ++tally().copiesToHost;
    tally().bytesToHost += static_cast<std::int64_t>(source.nbytes());
  }
  if (!across) ++tally().operations;
  const Play play = [to = hostAlias(self), from = hostAlias(source), self, source] { to.copy_(from); };
  if (recording)
    recording->push_back(play);
  else
    play();
  return self;
}

// ---- graphs ----

class Graph final : public at::GraphImplInterface {
 public:
  explicit Graph(const at::GraphImplArgs&) {}
  void capture_begin(at::MempoolId_t, at::GraphCaptureMode) override {
    TORCH_CHECK(!recording, "a graph is being captured already");
    TORCH_CHECK(c10::impl::getDeviceGuardImpl(kType)->getStream({kType, currentDevice}).id() != 0,
                "graphs are not captured on the default stream");
    plays_.clear();
    recording = &plays_;
  }
  void capture_end() override {
    recording = nullptr;
    ++tally().captures;
  }
  void instantiate() override {}
  void replay() override {
    ++tally().replays;
    for (const Play& play : plays_) play();
  }
  void reset() override { plays_.clear(); }
  at::MempoolId_t pool() const override { return {1, 0}; }
  void enable_debug_mode() override {}
  void debug_dump(const std::string&) override {}

 private:
  std::vector<Play> plays_;
};

class Hooks final : public at::PrivateUse1HooksInterface {
 public:
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return kDevices; }
  c10::DeviceIndex getCurrentDevice() const override { return currentDevice; }
};

const bool registered = [] {
  c10::register_privateuse1_backend("pretend");
  c10::SetAllocator(kType, &allocator());
  at::RegisterPrivateUse1HooksInterface(new Hooks);
  return true;
}();

}  // namespace

using at::GraphImplRegistry;
using at::RegistererGraphImplRegistry;
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)
REGISTER_GRAPH_IMPL(PRETEND, Graph)

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&operate>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &emptyOf);
  library.impl("empty_strided", &emptyStrided);
  library.impl("copy_", &copy);
  library.impl("resize_", &resized);
  library.impl("as_strided", &at::native::as_strided_tensorimpl);
  library.impl("view", &at::native::view);
  library.impl("_reshape_alias", &at::native::_reshape_alias);
  // Elsewhere made of other operations, which the CPU and CUDA do in one.
  for (const char* name : {"silu_backward", "smooth_l1_loss"})
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&operate>());
}

Counts counts() {
  return tally();
}

void setFreeMemory(std::int64_t bytes) {
  freeMemory() = bytes;
}

}  // namespace decoscope::pretend
