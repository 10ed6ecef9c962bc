// Versions, logs, and the profiler that is not there.

#include "simulation.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>

extern "C" {

aclError aclsysGetCANNVersion(aclCANNPackageName, aclCANNPackageVersion* version) {
  *version = aclCANNPackageVersion{};
  std::strcpy(version->version, NPU_SIM_CANN);
  return ACL_SUCCESS;
}

aclError aclsysGetVersionStr(char*, char* version) {
  std::strcpy(version, NPU_SIM_CANN);
  return ACL_SUCCESS;
}

// ASCEND_GLOBAL_LOG_LEVEL (0 debug to 3 error) and ASCEND_SLOG_PRINT_TO_STDOUT are CANN's; it writes files otherwise.
void aclAppLog(aclLogLevel level, const char* function, const char*, uint32_t line, const char* format, ...) {
  static const bool prints = sim::setting("ASCEND_SLOG_PRINT_TO_STDOUT", "0") == "1";
  static const int least = std::stoi(sim::setting("ASCEND_GLOBAL_LOG_LEVEL", "3"));
  if (!prints || static_cast<int>(level) < least) {
    return;
  }
  std::va_list arguments;
  va_start(arguments, format);
  std::printf("[%d] %s:%u ", static_cast<int>(level), function, line);
  std::vprintf(format, arguments);
  std::printf("\n");
  va_end(arguments);
}

// No profiler listens: what is reported to it goes nowhere, which is what CANN does without one.
int32_t MsprofRegisterCallback(uint32_t, void*) {
  return 0;
}

int32_t MsprofReportApi(uint32_t, const void*) {
  return 0;
}

int32_t MsprofReportCompactInfo(uint32_t, const void*, uint32_t) {
  return 0;
}

int32_t MsprofReportAdditionalInfo(uint32_t, const void*, uint32_t) {
  return 0;
}

uint64_t MsprofGetHashId(const char* text, size_t length) {
  return std::hash<std::string>{}(std::string(text, length));
}

uint64_t MsprofSysCycleTime() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000U + static_cast<uint64_t>(now.tv_nsec);
}

}  // extern "C"
