"""Makes the tables of the notebook ``analysis/where_precision_is_lost``.

  python -m benchmarks.where_precision_is_lost [--data DIR] [--only NAME ...] [--work-dir work]

Three kinds of examples: FCOS and SSDLite as trained in FP32 at demo scale; two of the planted causes
(``benchmarks/planted``), as a run of them begins; and, with ``--data`` in COCO's format, FCOS-R50 and SSDLite at full
size with fresh weights. Each is asked as a user would ask, and the command is printed. The two FP32 runs are trained
first where the work folder does not have them, as `verified_models` leaves them: six minutes of one core.
"""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.planted.causes import CAUSES, register_causes
from benchmarks.planted.runs import Job, conditions, spec_of, task_of
from workspace.datasets import open_dataset
from workspace.detectors import detector
from workspace.exported import TABLES
from workspace.orchestrator.conditions import Conditions
from workspace.precision import FP32
from workspace.spec import run_folder

TRAINED = {
    "fcos": ("fcos",),
    "ssdlite": ("ssdlite", "--steps", "12"),
    "fcos_scale": ("fcos", "--set", "loss_scale=0.001"),
}
PLANTED = ("two_moments_norm", "scene_coordinates")
FULL_SIZE = {"fcos_full": ("fcos",), "ssdlite_full": ("ssdlite", "--batch-size", "8")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*TRAINED, *PLANTED, *FULL_SIZE]
    parser.add_argument("--data", type=Path, help="for those at full size, which are left out without it")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", default=names)
    parser.add_argument("--work-dir", type=Path, default=Path("work"))
    parser.add_argument("--tables", type=Path, default=TABLES / "where_precision_is_lost")
    chosen = parser.parse_args()
    register_causes()
    for name in chosen.only:
        began = time.monotonic()
        tables, places = chosen.tables / name, ["--device", "cpu", "--work-dir", str(chosen.work_dir)]
        if name in TRAINED:
            model, *options = TRAINED[name]
            weights = trained(model, chosen.work_dir, places)
            ask("diagnose", model, "--checkpoint", str(weights), *options, "--tables", str(tables), *places)
        elif name in PLANTED:
            diagnose_planted(name, chosen.work_dir / "planted", tables)
        elif chosen.data is not None:
            model, *options = FULL_SIZE[name]
            options += ["--scale", "full", "--data", str(chosen.data)]
            ask("diagnose", model, *options, "--tables", str(tables), *places)
        else:
            print(f"{name}: left out, for want of --data", flush=True)
            continue
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


def trained(model: str, work_dir: Path, places: list[str]) -> Path:
    """The weights of the demo's FP32 run of seed 0, which is trained unless it is finished."""
    given = Conditions(scale="demo", dataset=open_dataset(None, work_dir), embedded=True, device="cpu")
    spec = given.spec(model, FP32, detector(model).demo.recipe, seed=0)
    weights = run_folder(work_dir, spec) / "model.pth"
    if not weights.exists():
        ask("train", model, "--precision", "fp32", *places)
    return weights


def diagnose_planted(name: str, work_dir: Path, tables: Path) -> None:
    """As ``python -m benchmarks.planted diagnose --causes NAME`` does first."""
    from workspace.diagnosis import diagnose
    from workspace.diagnosis.tables import write_tables

    cause = next(cause for cause in CAUSES if cause.name == name)
    given = conditions(work_dir.resolve())
    losing = spec_of(Job(cause, "default", {}, 1.0, 0, "eval"), given)
    found = diagnose(task_of(losing, given, work_dir.resolve() / "diagnoses" / name))
    tables.mkdir(parents=True, exist_ok=True)
    write_tables(found, tables)


def ask(*arguments: str) -> None:
    """Runs that command of the workspace, and prints it before."""
    print("python -m workspace", shlex.join(arguments), flush=True)
    subprocess.run([sys.executable, "-m", "workspace", *arguments], check=True)


if __name__ == "__main__":
    main()
