// The runtime of the simulated NPU: initialisation, devices, errors.
//
// Signatures and return codes are those of CANN's public headers (acl/acl_rt.h). A kernel is finished when its call
// returns, so there is nothing to wait for, and no time-out.

#include "simulation.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <sstream>

namespace sim {
namespace {

uint32_t visible(uint32_t present) {
  const char* listed = std::getenv("ASCEND_RT_VISIBLE_DEVICES");
  if (listed == nullptr) {
    return present;
  }
  std::istringstream ids(listed);
  std::string id;
  uint32_t count = 0;
  long before = -1;
  while (std::getline(ids, id, ',')) {
    char* end = nullptr;
    const long number = std::strtol(id.c_str(), &end, 10);
    if (id.empty() || *end != '\0' || number < 0 || number >= static_cast<long>(present)) {
      break;
    }
    if (number <= before) {
      return 0;  // the runtime wants them to ascend
    }
    before = number;
    ++count;
  }
  return count;
}

thread_local int32_t device_of_thread = -1;
int32_t default_device = -1;  // of threads that have set none: "defaultDevice" of aclInit's configuration
thread_local std::string recent_message;
thread_local aclError last_error = ACL_SUCCESS;

}  // namespace

std::string setting(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

const Machine& machine() {
  static const Machine simulated{
      setting("NPU_SIM_SOC", "Ascend910B3"),
      visible(std::min<uint32_t>(std::stoul(setting("NPU_SIM_DEVICES", "8")), kMostDevices)),
      std::stoul(setting("NPU_SIM_MEMORY_MIB", "65536")) << 20,
  };
  return simulated;
}

bool Machine::is_first_generation() const {
  for (const char* name : {"Ascend910A", "Ascend910ProA", "Ascend910PremiumA", "Ascend910B", "Ascend910ProB"}) {
    if (soc == name) {
      return true;
    }
  }
  return soc.rfind("Ascend310P", 0) == 0;
}

bool exists(int32_t device) {
  return device >= 0 && static_cast<uint32_t>(device) < machine().devices;
}

int32_t current_device() {
  return device_of_thread >= 0 ? device_of_thread : default_device;
}

aclError fail(aclError code, const char* call, const std::string& reason) {
  recent_message = std::string(call) + ": " + reason;
  last_error = code;
  return code;
}

aclError no_such_device(const char* call, int32_t device) {
  return fail(
      ACL_ERROR_RT_INVALID_DEVICEID, call,
      "device " + std::to_string(device) + " of " + std::to_string(machine().devices));
}

// Not ACL_ERROR_RT_FEATURE_NOT_SUPPORT, which torch_npu takes for a warning.
aclError unserved(const char* call) {
  return fail(ACL_ERROR_API_NOT_SUPPORT, call, "not served by the simulated NPU");
}

}  // namespace sim

namespace {

std::mutex states;
bool initialised = false;
// One context a device, made by its first aclrtSetDevice; its address is the context.
std::array<char, sim::kMostDevices> contexts;
std::array<bool, sim::kMostDevices> active;

std::string contents(const char* file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

}  // namespace

extern "C" {

// The simulated device's kernels come up with its driver: every process that uses the device has them. torch and
// torch_npu are in the process already, and the kernels replace torch_npu's.
aclError aclInit(const char* configuration) {
  std::lock_guard<std::mutex> lock(states);
  if (initialised) {
    return ACL_ERROR_REPEAT_INITIALIZE;
  }
  void* kernels = dlopen("libnpu_sim_kernels.so", RTLD_NOW);
  if (kernels == nullptr) {
    return sim::fail(ACL_ERROR_INTERNAL_ERROR, __func__, dlerror());
  }
  const auto bring_up = reinterpret_cast<const char* (*)()>(dlsym(kernels, "npu_sim_bring_up"));
  if (const char* complaint = bring_up == nullptr ? dlerror() : bring_up()) {
    return sim::fail(ACL_ERROR_INTERNAL_ERROR, __func__, complaint);
  }
  if (configuration != nullptr && contents(configuration).find("\"default_device\"") != std::string::npos) {
    sim::default_device = 0;  // torch_npu takes no other
  }
  initialised = true;
  return ACL_SUCCESS;
}

aclError aclFinalize() {
  std::lock_guard<std::mutex> lock(states);
  initialised = false;
  return ACL_SUCCESS;
}

const char* aclGetRecentErrMsg() {
  static thread_local std::string handed_out;
  handed_out.swap(sim::recent_message);
  sim::recent_message.clear();
  return handed_out.c_str();
}

aclError aclrtPeekAtLastError(aclrtLastErrLevel) {
  return sim::last_error;
}

aclError aclrtGetLastError(aclrtLastErrLevel) {
  const aclError error = sim::last_error;
  sim::last_error = ACL_SUCCESS;
  return error;
}

const char* aclrtGetSocName() {
  return sim::machine().soc.c_str();
}

aclError aclrtGetDeviceCount(uint32_t* count) {
  *count = sim::machine().devices;
  return *count > 0 ? ACL_SUCCESS : sim::fail(ACL_ERROR_RT_NO_DEVICE, __func__, "no device");
}

aclError aclrtSetDevice(int32_t device) {
  if (!sim::exists(device)) {
    return sim::no_such_device(__func__, device);
  }
  sim::device_of_thread = device;
  active[device] = true;
  return ACL_SUCCESS;
}

aclError aclrtGetDevice(int32_t* device) {
  if (sim::current_device() < 0) {
    return ACL_ERROR_RT_CONTEXT_NULL;
  }
  *device = sim::current_device();
  return ACL_SUCCESS;
}

aclError aclrtResetDevice(int32_t device) {
  if (!sim::exists(device)) {
    return sim::no_such_device(__func__, device);
  }
  active[device] = false;
  if (sim::device_of_thread == device) {
    sim::device_of_thread = -1;
  }
  return ACL_SUCCESS;
}

aclError aclrtGetCurrentContext(aclrtContext* context) {
  if (sim::current_device() < 0) {
    return ACL_ERROR_RT_CONTEXT_NULL;
  }
  *context = &contexts[sim::current_device()];
  return ACL_SUCCESS;
}

aclError aclrtSetCurrentContext(aclrtContext context) {
  const auto device = static_cast<int32_t>(static_cast<char*>(context) - contexts.data());
  return context == nullptr ? ACL_ERROR_INVALID_PARAM : aclrtSetDevice(device);
}

aclError aclrtGetPrimaryCtxState(int32_t device, uint32_t*, int32_t* is_active) {
  if (!sim::exists(device)) {
    return sim::no_such_device(__func__, device);
  }
  *is_active = active[device] ? 1 : 0;
  return ACL_SUCCESS;
}

aclError aclrtSynchronizeDevice() {
  return ACL_SUCCESS;
}

aclError aclrtSynchronizeDeviceWithTimeout(int32_t) {
  return ACL_SUCCESS;
}

aclError aclrtSetOpExecuteTimeOut(uint32_t) {
  return ACL_SUCCESS;
}

aclError aclrtSetOpWaitTimeout(uint32_t) {
  return ACL_SUCCESS;
}

// Whoever asks finds the device idle: its kernels are finished when their calls return.
aclError aclrtGetDeviceUtilizationRate(int32_t device, aclrtUtilizationInfo* utilization) {
  if (!sim::exists(device)) {
    return sim::no_such_device(__func__, device);
  }
  *utilization = aclrtUtilizationInfo{};
  size_t free = 0, total = 0;
  const aclError error = aclrtGetMemInfo(ACL_HBM_MEM, &free, &total);
  utilization->memoryUtilization = total > 0 ? static_cast<int32_t>(100 * (total - free) / total) : 0;
  return error;
}

}  // extern "C"
