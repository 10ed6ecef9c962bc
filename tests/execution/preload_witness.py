"""Stands for a heavy library: remembers which process imported it."""

import os

IMPORTED_BY = os.getpid()
