"""Compiles and loads ``half.cpp`` on first use, once a machine, checkout and version of torch.

It takes about 15 seconds; the result lies in torch's extension folder (``TORCH_EXTENSIONS_DIR`` moves it).
"""

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

from workspace.errors import UserError

SOURCE = Path(__file__).with_name("half.cpp")


@cache
def load_extension() -> Any:
    """The operators of ``half.cpp``, as ``torch.ops.half_arithmetic``.

    Raises:
        UserError: there is no C++ compiler, the folder cannot be written, or the compilation failed.
    """
    from torch.utils import cpp_extension

    compiler = shlex.split(cpp_extension.get_cxx_compiler())  # type: ignore[no-untyped-call]
    if not compiler or shutil.which(compiler[0]) is None:
        raise UserError(
            f"half arithmetic on the CPU needs a C++ compiler, and {' '.join(compiler)!r} is not on the PATH: "
            "install g++ (or name a compiler in CXX), or use --device cuda or npu"
        )
    # The path is in the name because ninja compiles anew whenever another checkout has the folder.
    checkout = hashlib.sha256(str(SOURCE).encode()).hexdigest()[:8]
    name = f"half_arithmetic_{torch.__version__}_{checkout}".replace(".", "_").replace("+", "_")
    try:
        folder = Path(cpp_extension._get_build_directory(name, verbose=False))
        with _alone_in(folder), _ninja_on_path():
            cpp_extension.load(
                name, [str(SOURCE)], extra_cflags=["-O3"], build_directory=str(folder), is_python_module=False
            )
    except OSError as error:
        raise UserError(f"half arithmetic: cannot build in torch's extension folder: {error}") from error
    except (RuntimeError, subprocess.SubprocessError) as error:
        cause = next((line for line in str(error).splitlines() if "error" in line.lower()), str(error))
        raise UserError(
            f"half arithmetic: {SOURCE.name} does not compile with {' '.join(compiler)}: {cause}"
        ) from error
    return torch.ops.half_arithmetic


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Holds a lock that dies with its process; torch's own is a file that a killed process leaves behind for ever."""
    with (folder / "process.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "lock").unlink(missing_ok=True)
        yield


@contextmanager
def _ninja_on_path() -> Iterator[None]:
    """torch looks for ninja on the PATH only, where the package's is not unless its environment is activated."""
    if shutil.which("ninja") is not None:
        yield
        return
    import ninja

    path = os.environ["PATH"]
    os.environ["PATH"] = os.pathsep.join([ninja.BIN_DIR, path])
    try:
        yield
    finally:
        os.environ["PATH"] = path
