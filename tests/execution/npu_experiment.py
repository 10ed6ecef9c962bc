"""``synthetic_experiment.py`` on a machine with eight NPUs, which are pretended."""

import runpy
from pathlib import Path

from workspace import devices
from workspace.devices.cpu import Cpu


class PretendedNpu(Cpu):
    kind = "npu"

    def count(self) -> int:
        return 8

    def torch_name(self, index: int) -> str:
        return f"npu:{index}"


if __name__ == "__main__":
    devices._DEVICES["npu"] = PretendedNpu()
    script = Path(__file__).parents[1] / "orchestrator" / "synthetic_experiment.py"
    runpy.run_path(str(script), run_name="__main__")
