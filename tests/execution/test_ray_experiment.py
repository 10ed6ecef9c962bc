"""A whole experiment on a cluster of pretended NPUs, with the synthetic worker."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from executor_waiting import PATIENCE, until

pytest.importorskip("ray", reason="Ray comes with the extra `cluster`")

from pretended_cluster import PretendedCluster

SCRIPT = Path(__file__).with_name("npu_experiment.py")


def start(work: Path, *options: str) -> "subprocess.Popen[str]":
    command = ["fcos_seed_noise", "--device", "npu", "--seeds", "8", "--json", str(work.with_suffix(".json"))]
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *command, "--work-dir", str(work), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(work: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(work.with_suffix(".json").read_text())
    return {key: value for key, value in result.items() if key != "cost"}


@pytest.mark.slow
def test_a_node_that_is_killed_changes_no_result(cluster: PretendedCluster, tmp_path: Path) -> None:
    """Sixteen runs on two nodes of four NPUs each, against the same on one machine."""
    killed, kept = (cluster.add_node(resources={"NPU": 4}) for _ in range(2))
    local, ray = tmp_path / "local", tmp_path / "ray"
    with start(local, "--workers", "2") as process:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    with start(ray, "--executor", "ray", "--address", cluster.address) as process:
        until(lambda: len(list(ray.glob("runs/*/result.json"))) >= 4 and cluster.is_busy(killed))
        cluster.kill(killed)
        output, errors = process.communicate(timeout=2 * PATIENCE)
        assert process.returncode == 0, errors
    cluster.remove(kept)
    assert "was lost" in errors
    assert "raylet" not in output + errors  # Ray's own messages, of which it had some
    assert len(list(ray.glob("runs/*/result.json"))) == 16
    assert answer(ray) == answer(local)
    assert not list(ray.glob(".shared-*"))
