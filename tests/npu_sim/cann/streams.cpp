// Streams and events. Everything on a stream is done when the call that put it there returns.

#include "simulation.h"

#include <atomic>
#include <chrono>

namespace {

using Clock = std::chrono::steady_clock;

struct Stream {
  int32_t id;
  uint32_t overflow_switch;
};

struct Event {
  bool recorded;
  Clock::time_point when;
};

Stream* of(aclrtStream stream) {
  return static_cast<Stream*>(stream);
}

Event* of_event(aclrtEvent event) {
  return static_cast<Event*>(event);
}

}  // namespace

extern "C" {

aclError aclrtCreateStream(aclrtStream* stream) {
  static std::atomic<int32_t> next{0};
  *stream = new Stream{next++, 0};
  return ACL_SUCCESS;
}

aclError aclrtCreateStreamWithConfig(aclrtStream* stream, uint32_t, uint32_t) {
  return aclrtCreateStream(stream);
}

aclError aclrtDestroyStream(aclrtStream stream) {
  delete of(stream);
  return ACL_SUCCESS;
}

aclError aclrtDestroyStreamForce(aclrtStream stream) {
  return aclrtDestroyStream(stream);
}

aclError aclrtStreamGetId(aclrtStream stream, int32_t* id) {
  *id = of(stream)->id;
  return ACL_SUCCESS;
}

aclError aclrtStreamQuery(aclrtStream, aclrtStreamStatus* status) {
  *status = ACL_STREAM_STATUS_COMPLETE;
  return ACL_SUCCESS;
}

aclError aclrtSynchronizeStream(aclrtStream) {
  return ACL_SUCCESS;
}

aclError aclrtSynchronizeStreamWithTimeout(aclrtStream, int32_t) {
  return ACL_SUCCESS;
}

aclError aclrtStreamWaitEvent(aclrtStream, aclrtEvent) {
  return ACL_SUCCESS;
}

// Whether a stream goes on after a kernel failed: here a kernel that fails raises at its call, in either mode.
aclError aclrtSetStreamFailureMode(aclrtStream, uint64_t) {
  return ACL_SUCCESS;
}

aclError aclrtSetStreamOverflowSwitch(aclrtStream stream, uint32_t flag) {
  of(stream)->overflow_switch = flag;
  return ACL_SUCCESS;
}

aclError aclrtGetStreamOverflowSwitch(aclrtStream stream, uint32_t* flag) {
  *flag = of(stream)->overflow_switch;
  return ACL_SUCCESS;
}

aclError aclrtCreateEventWithFlag(aclrtEvent* event, uint32_t) {
  *event = new Event{false, {}};
  return ACL_SUCCESS;
}

aclError aclrtCreateEventExWithFlag(aclrtEvent* event, uint32_t flag) {
  return aclrtCreateEventWithFlag(event, flag);
}

aclError aclrtDestroyEvent(aclrtEvent event) {
  delete of_event(event);
  return ACL_SUCCESS;
}

aclError aclrtRecordEvent(aclrtEvent event, aclrtStream) {
  *of_event(event) = Event{true, Clock::now()};
  return ACL_SUCCESS;
}

aclError aclrtResetEvent(aclrtEvent event, aclrtStream) {
  of_event(event)->recorded = false;
  return ACL_SUCCESS;
}

aclError aclrtQueryEventStatus(aclrtEvent event, aclrtEventRecordedStatus* status) {
  *status = of_event(event)->recorded ? ACL_EVENT_RECORDED_STATUS_COMPLETE : ACL_EVENT_RECORDED_STATUS_NOT_READY;
  return ACL_SUCCESS;
}

aclError aclrtQueryEventWaitStatus(aclrtEvent, aclrtEventWaitStatus* status) {
  *status = ACL_EVENT_WAIT_STATUS_COMPLETE;
  return ACL_SUCCESS;
}

aclError aclrtSynchronizeEvent(aclrtEvent) {
  return ACL_SUCCESS;
}

aclError aclrtEventElapsedTime(float* milliseconds, aclrtEvent start, aclrtEvent end) {
  if (!of_event(start)->recorded || !of_event(end)->recorded) {
    return sim::fail(ACL_ERROR_RT_PARAM_INVALID, __func__, "an event was not recorded");
  }
  using Milliseconds = std::chrono::duration<float, std::milli>;
  *milliseconds = Milliseconds(of_event(end)->when - of_event(start)->when).count();
  return ACL_SUCCESS;
}

aclError aclrtEventGetTimestamp(aclrtEvent event, uint64_t* microseconds) {
  const auto since = of_event(event)->when.time_since_epoch();
  *microseconds = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(since).count());
  return ACL_SUCCESS;
}

}  // extern "C"
