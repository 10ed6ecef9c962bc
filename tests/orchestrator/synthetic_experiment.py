"""A script of ``experiments/`` with the synthetic worker in place of the real one; its name is the first argument."""

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

if __name__ == "__main__":
    import synthetic_training

    from workspace.cli import main
    from workspace.orchestrator import playing

    playing.train = synthetic_training.train
    playing.preload = lambda kind: ("synthetic_training",)
    name = sys.argv.pop(1)
    spec = importlib.util.spec_from_file_location(name, HERE.parents[1] / "experiments" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main(module.EXPERIMENT if hasattr(module, "EXPERIMENT") else module.COMPARISON)
