// What the simulated chip can do, and how it is set.

#include "simulation.h"

#include <unistd.h>

#include <map>
#include <mutex>

namespace {

std::mutex mutex;
std::map<int, int64_t> system_parameters;
aclrtFloatOverflowMode overflow_mode = ACL_RT_OVERFLOW_MODE_SATURATION;

}  // namespace

extern "C" {

aclError aclGetCannAttribute(aclCannAttr attribute, int32_t* value) {
  const bool newer = !sim::machine().is_first_generation();
  switch (attribute) {
    case ACL_CANN_ATTR_INF_NAN:
    case ACL_CANN_ATTR_BF16:
      *value = newer;
      return ACL_SUCCESS;
    case ACL_CANN_ATTR_JIT_COMPILE:
      *value = !newer;
      return ACL_SUCCESS;
    default:
      return sim::unserved("aclGetCannAttribute of another attribute");
  }
}

// The cores and the cache that compute here are the host's.
aclError aclGetDeviceCapability(uint32_t, aclDeviceInfo what, int64_t* value) {
  switch (what) {
    case ACL_DEVICE_INFO_AI_CORE_NUM:
    case ACL_DEVICE_INFO_VECTOR_CORE_NUM:
      *value = sysconf(_SC_NPROCESSORS_ONLN);
      return ACL_SUCCESS;
    case ACL_DEVICE_INFO_L2_SIZE:
      *value = sysconf(_SC_LEVEL2_CACHE_SIZE);
      return ACL_SUCCESS;
    default:
      return sim::unserved("aclGetDeviceCapability of something else");
  }
}

aclError aclrtGetDeviceInfo(uint32_t device, aclrtDevAttr attribute, int64_t* value) {
  if (!sim::exists(static_cast<int32_t>(device))) {
    return sim::no_such_device(__func__, static_cast<int32_t>(device));
  }
  if (attribute != ACL_DEV_ATTR_TOTAL_GLOBAL_MEM_SIZE) {
    return sim::unserved("aclrtGetDeviceInfo of another attribute");
  }
  *value = static_cast<int64_t>(sim::machine().memory);
  return ACL_SUCCESS;
}

// torch_npu sets it when it initialises the device, from INF_NAN_MODE_ENABLE and INF_NAN_MODE_FORCE_DISABLE.
aclError aclrtSetDeviceSatMode(aclrtFloatOverflowMode mode) {
  if (mode == ACL_RT_OVERFLOW_MODE_INFNAN && sim::machine().is_first_generation()) {
    return sim::fail(ACL_ERROR_INVALID_PARAM, __func__, sim::machine().soc + " has no inf-nan mode");
  }
  overflow_mode = mode;
  return ACL_SUCCESS;
}

aclError aclrtGetDeviceSatMode(aclrtFloatOverflowMode* mode) {
  *mode = overflow_mode;
  return ACL_SUCCESS;
}

aclError aclrtSetSysParamOpt(aclSysParamOpt option, int64_t value) {
  std::lock_guard<std::mutex> lock(mutex);
  system_parameters[option] = value;
  return ACL_SUCCESS;
}

aclError aclrtCtxSetSysParamOpt(aclSysParamOpt option, int64_t value) {
  return aclrtSetSysParamOpt(option, value);
}

aclError aclrtGetSysParamOpt(aclSysParamOpt option, int64_t* value) {
  std::lock_guard<std::mutex> lock(mutex);
  *value = system_parameters[option];
  return ACL_SUCCESS;
}

aclError aclrtDeviceCanAccessPeer(int32_t* can, int32_t device, int32_t peer) {
  if (!sim::exists(device) || !sim::exists(peer)) {
    return sim::no_such_device(__func__, sim::exists(device) ? peer : device);
  }
  *can = device != peer;
  return ACL_SUCCESS;
}

aclError aclrtDeviceEnablePeerAccess(int32_t peer, uint32_t) {
  return sim::exists(peer) ? ACL_SUCCESS : sim::no_such_device(__func__, peer);
}

}  // extern "C"
