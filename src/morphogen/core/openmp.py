"""How the threads of torch wait for each other. It is decided when torch is loaded, by variables of the environment."""

from __future__ import annotations

import os
import sys

# Spinning threads keep the core from those they wait for. Steps/s of six layers of 256 x 256 at 2 threads on 2 cores,
# libgomp: idle 459 spinning, 365 spinning for 1,000 turns, 196 asleep; beside two busy processes .8 to 7, 45, 67. Of
# convolutions, which are longer, idle 12.0, 12.7, 12.7; beside the others 1.0, 2.6, 2.8.
_PATIENT = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
_OTHERS = ("KMP_BLOCKTIME", "KMP_LIBRARY")  # of LLVM's and Intel's runtimes, which read the first one of ours


def wait_asleep() -> None:
    """Let threads that wait leave the core to others, unless the user decided, or torch is loaded already."""
    if "torch" not in sys.modules and not any(name in os.environ for name in (*_PATIENT, *_OTHERS)):
        os.environ.update(_PATIENT)
