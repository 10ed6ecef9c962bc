// What the files of the simulated runtime share: the machine that is simulated, the calling thread's device, errors.
#pragma once

#include <acl/acl.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace sim {

constexpr uint32_t kMostDevices = 64;

// The machine, from variables of the environment, read once:
//
//   NPU_SIM_SOC         the chip's name as aclrtGetSocName gives it (Ascend910B3)
//   NPU_SIM_DEVICES     how many there are (8)
//   NPU_SIM_MEMORY_MIB  device memory of each (65536)
//
// ASCEND_RT_VISIBLE_DEVICES hides devices as CANN's runtime documents it: ids separated by commas, read up to the first
// one that is not there.
struct Machine {
  std::string soc;
  uint32_t devices;
  size_t memory;  // bytes

  // The family of Ascend 910A, 910ProB and 910B (without a digit): its Cube has no FP32, and FP16 saturates.
  bool is_first_generation() const;
};

const Machine& machine();

// A variable of the environment, where it is set to something.
std::string setting(const char* name, const char* otherwise);

// Whether there is a device of that number.
bool exists(int32_t device);

// The device of the calling thread, -1 where it has none.
int32_t current_device();

// Every call that fails goes through here, so that aclGetRecentErrMsg says which and why. Returns `code`.
aclError fail(aclError code, const char* call, const std::string& reason);

aclError no_such_device(const char* call, int32_t device);

// For a call that the simulation does not serve.
aclError unserved(const char* call);

}  // namespace sim
