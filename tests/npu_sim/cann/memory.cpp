// Device memory: memory of the host, counted for each device and limited as on a device.

#include "simulation.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>

namespace {

constexpr size_t kAlignment = 512;  // of what aclrtMalloc hands out

struct Block {
  size_t size;
  int32_t device;
};

std::mutex mutex;
std::unordered_map<void*, Block> blocks;
std::array<size_t, sim::kMostDevices> allocated;

aclError copy(const char* call, void* target, size_t room, const void* source, size_t count) {
  if (count > room) {
    return sim::fail(
        ACL_ERROR_RT_PARAM_INVALID, call, std::to_string(count) + " bytes into " + std::to_string(room));
  }
  std::memmove(target, source, count);
  return ACL_SUCCESS;
}

}  // namespace

extern "C" {

aclError aclrtMalloc(void** pointer, size_t size, aclrtMemMallocPolicy) {
  const int32_t device = sim::current_device();
  if (device < 0) {
    return sim::fail(ACL_ERROR_RT_CONTEXT_NULL, __func__, "the thread has no device");
  }
  if (size == 0) {
    return sim::fail(ACL_ERROR_RT_PARAM_INVALID, __func__, "0 bytes");
  }
  std::lock_guard<std::mutex> lock(mutex);
  const size_t memory = sim::machine().memory;
  size = (size + kAlignment - 1) / kAlignment * kAlignment;
  *pointer = allocated[device] + size > memory ? nullptr : std::aligned_alloc(kAlignment, size);
  if (*pointer == nullptr) {
    // EL0004 and these words are what torch_npu knows CANN's report by.
    return sim::fail(
        ACL_ERROR_RT_MEMORY_ALLOCATION, __func__,
        "EL0004: Failed to allocate memory. " + std::to_string(size) + " bytes wanted, " +
            std::to_string(memory - allocated[device]) + " free on device " + std::to_string(device));
  }
  allocated[device] += size;
  blocks.emplace(*pointer, Block{size, device});
  return ACL_SUCCESS;
}

aclError aclrtMallocAlign32(void** pointer, size_t size, aclrtMemMallocPolicy policy) {
  return aclrtMalloc(pointer, size, policy);
}

aclError aclrtFree(void* pointer) {
  std::lock_guard<std::mutex> lock(mutex);
  const auto found = blocks.find(pointer);
  if (found == blocks.end()) {
    return sim::fail(ACL_ERROR_RT_PARAM_INVALID, __func__, "not a pointer of aclrtMalloc");
  }
  allocated[found->second.device] -= found->second.size;
  blocks.erase(found);
  std::free(pointer);
  return ACL_SUCCESS;
}

aclError aclrtGetMemInfo(aclrtMemAttr, size_t* free, size_t* total) {
  const int32_t device = sim::current_device();
  if (device < 0) {
    return sim::fail(ACL_ERROR_RT_CONTEXT_NULL, __func__, "the thread has no device");
  }
  std::lock_guard<std::mutex> lock(mutex);
  *total = sim::machine().memory;
  *free = *total - allocated[device];
  return ACL_SUCCESS;
}

aclError aclrtMallocHost(void** pointer, size_t size) {
  *pointer = std::aligned_alloc(kAlignment, (size + kAlignment - 1) / kAlignment * kAlignment);
  return *pointer != nullptr ? ACL_SUCCESS : sim::fail(ACL_ERROR_BAD_ALLOC, __func__, "the host is out of memory");
}

aclError aclrtFreeHost(void* pointer) {
  std::free(pointer);
  return ACL_SUCCESS;
}

aclError aclrtMemcpy(void* target, size_t room, const void* source, size_t count, aclrtMemcpyKind) {
  return copy(__func__, target, room, source, count);
}

aclError aclrtMemcpyAsync(
    void* target, size_t room, const void* source, size_t count, aclrtMemcpyKind, aclrtStream) {
  return copy(__func__, target, room, source, count);
}

aclError aclrtMemset(void* target, size_t room, int32_t value, size_t count) {
  if (count > room) {
    return sim::fail(ACL_ERROR_RT_PARAM_INVALID, __func__, std::to_string(count) + " bytes of " + std::to_string(room));
  }
  std::memset(target, value, count);
  return ACL_SUCCESS;
}

aclError aclrtMemsetAsync(void* target, size_t room, int32_t value, size_t count, aclrtStream) {
  return aclrtMemset(target, room, value, count);
}

}  // extern "C"
