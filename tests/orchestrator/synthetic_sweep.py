"""`experiments/fcos_fp16_sweep.py` with the synthetic worker in place of the real one."""

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

if __name__ == "__main__":
    import synthetic_training

    from workspace.cli import main
    from workspace.orchestrator import phases

    phases.train = synthetic_training.train
    phases.PRELOAD = ("synthetic_training",)
    script = HERE.parents[1] / "experiments" / "fcos_fp16_sweep.py"
    spec = importlib.util.spec_from_file_location("fcos_fp16_sweep", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main(module.EXPERIMENT)
