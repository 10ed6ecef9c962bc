"""Stands for a heavy library: remembers how it was imported."""

import os

IMPORTED_BY = os.getpid()
THREADS = os.environ["OMP_NUM_THREADS"]

print("a library that talks when it is imported")
