"""A Ray cluster of several nodes on this machine; the NPUs that they say they have are pretended."""

import logging
import os
from types import TracebackType
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # on the loopback interface; Ray reads it when it is imported

import ray
from ray._private.state import available_resources_per_node
from ray.cluster_utils import Cluster

# A lost node is noticed within a second, not within half a minute.
_SYSTEM = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
_STORE_BYTES = 80_000_000


class PretendedCluster:
    """A head with two cores, and whatever nodes are added, which import from where this process's children do."""

    def __init__(self) -> None:
        head = {"num_cpus": 2, "include_dashboard": False, "_system_config": _SYSTEM}
        self._cluster = Cluster(initialize_head=True, head_node_args={**head, "object_store_memory": _STORE_BYTES})
        ray.init(self.address, log_to_driver=False, logging_level=logging.CRITICAL)

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add_node(self, **given: Any) -> Any:
        """Adds a node that has what is given, as in ``resources={"NPU": 4}``, and no cores."""
        return self._cluster.add_node(**{"num_cpus": 0, "object_store_memory": _STORE_BYTES, **given})

    def is_busy(self, node: Any) -> bool:
        """Whether jobs have some of its NPUs."""
        npus = next(known["Resources"]["NPU"] for known in ray.nodes() if known["NodeID"] == node.node_id)
        return bool(available_resources_per_node()[node.node_id].get("NPU", 0) < npus)

    def kill(self, node: Any) -> None:
        """Kills a node as a power failure does."""
        self._cluster.remove_node(node, allow_graceful=False)

    def remove(self, node: Any) -> None:
        self._cluster.remove_node(node)

    def __enter__(self) -> "PretendedCluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ray.shutdown()
        self._cluster.shutdown()
