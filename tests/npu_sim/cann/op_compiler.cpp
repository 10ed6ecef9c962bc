// The compiler of operators: its options are kept and given back; it compiles nothing, for the kernels are ATen's.

#include "simulation.h"

#include <acl/acl_op_compiler.h>

#include <cstring>
#include <map>
#include <mutex>

namespace {

std::mutex mutex;

// CANN's defaults on the newer chips and on the first generation. Convolutions in HF32, matrix products in FP32 ("10").
std::map<aclCompileOpt, std::string>& options() {
  const bool first = sim::machine().is_first_generation();
  // torch_npu never hands its switches to this compiler on a 950, so HF32 is not simulated there.
  const bool newest = sim::machine().soc.rfind("Ascend950", 0) == 0;
  static std::map<aclCompileOpt, std::string> set{
      {ACL_OP_JIT_COMPILE, first ? "enable" : "disable"},
      {ACL_PRECISION_MODE, first ? "allow_fp32_to_fp16" : "must_keep_origin_dtype"},
      {ACL_ALLOW_HF32, newest ? "00" : "10"},
  };
  return set;
}

aclError refuse(const char* call, const char* op) {
  return sim::fail(
      ACL_ERROR_OP_NOT_FOUND, call,
      std::string("operator ") + op + " is not served by the simulated NPU: its kernels replace ATen's operators");
}

}  // namespace

extern "C" {

// torch_npu sets ACL_PRECISION_MODE to nothing where nobody has chosen one: the chip's default stays.
aclError aclSetCompileopt(aclCompileOpt option, const char* value) {
  std::lock_guard<std::mutex> lock(mutex);
  if (*value != '\0') {
    options()[option] = value;
  }
  return ACL_SUCCESS;
}

size_t aclGetCompileoptSize(aclCompileOpt option) {
  std::lock_guard<std::mutex> lock(mutex);
  return options()[option].size() + 1;
}

aclError aclGetCompileopt(aclCompileOpt option, char* value, size_t length) {
  std::lock_guard<std::mutex> lock(mutex);
  const std::string& set = options()[option];
  if (length < set.size() + 1) {
    return sim::fail(ACL_ERROR_INVALID_PARAM, __func__, "the buffer is too short");
  }
  std::memcpy(value, set.c_str(), set.size() + 1);
  return ACL_SUCCESS;
}

aclError aclopCompileAndExecute(
    const char* op, int, const aclTensorDesc* const[], const aclDataBuffer* const[], int, const aclTensorDesc* const[],
    aclDataBuffer* const[], const aclopAttr*, aclopEngineType, aclopCompileType, const char*, aclrtStream) {
  return refuse(__func__, op);
}

aclError aclopCompileAndExecuteV2(
    const char* op, int, aclTensorDesc*[], aclDataBuffer*[], int, aclTensorDesc*[], aclDataBuffer*[], aclopAttr*,
    aclopEngineType, aclopCompileType, const char*, aclrtStream) {
  return refuse(__func__, op);
}

}  // extern "C"
