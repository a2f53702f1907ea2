#include "core/model/torch/Devices.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <cstdlib>
#include <fstream>
#include <optional>

namespace decoscope {

namespace {

int countOf(at::DeviceType type) {
  return c10::impl::hasDeviceGuardImpl(type) ? c10::impl::getDeviceGuardImpl(type)->deviceCount() : 0;
}

std::string kindOf(at::Device device) {
  return device.is_cuda() ? "CUDA" : "'" + c10::DeviceTypeName(device.type(), true) + "'";
}

}  // namespace

Result<std::vector<at::Device>> devicesOf(const std::string& name) {
  const std::string wanted = name == "auto" ? (countOf(at::kCUDA) > 0 ? "cuda" : "cpu") : name;
  if (wanted == "cpu" || wanted == "cpu-reference") return std::vector{at::Device(at::kCPU)};
  std::optional<at::Device> device;
  try {
    device = at::Device(wanted);
  } catch (const std::exception&) {
  }
  if (!device || device->is_cpu() || device->is_meta())
    return fail(ErrorCode::usage, "unknown device '" + name + "'", "--device",
                "Use auto, cpu, cuda or cuda:N.");
  const int count = countOf(device->type());
  if (count == 0)
    return fail(ErrorCode::unsupported, "there is no " + kindOf(*device) + " device", "--device " + name,
                "Use --device cpu.");
  at::globalContext().lazyInitDevice(device->type());
  if (device->has_index() && device->index() >= count)
    return fail(ErrorCode::unsupported,
                "there are " + std::to_string(count) + " " + kindOf(*device) + " devices, counted from 0",
                "--device " + name);
  if (device->has_index()) return std::vector{*device};
  std::vector<at::Device> all;
  for (int i = 0; i < count; ++i) all.emplace_back(device->type(), static_cast<at::DeviceIndex>(i));
  return all;
}

std::string reasonOf(const std::exception& exception) {
  const auto* error = dynamic_cast<const c10::Error*>(&exception);
  return error ? error->what_without_backtrace() : exception.what();
}

std::int64_t freeMemory(at::Device device) {
  if (!device.is_cpu()) {
    auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
    if (!allocator || !allocator->initialized()) return -1;
    return static_cast<std::int64_t>(allocator->getMemoryInfo(device.index()).first);
  }
  std::ifstream stream("/proc/meminfo");
  for (std::string line; std::getline(stream, line);)
    if (line.starts_with("MemAvailable:")) return std::atoll(line.c_str() + 13) * 1024;
  return -1;
}

}  // namespace decoscope
