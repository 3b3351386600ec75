"""A worker as `python -m worker` starts it, with this folder's runner; with `fake`, of a machine with two CUDA devices.

python worker_program.py fake|real
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from worker import devices, warm

MODE = sys.argv[1]
if MODE == "fake":
    devices.cuda_devices = lambda: 2
# No worker here is being replaced.
devices.hold_device = partial(devices.hold_device, patience_seconds=0.0)
warm.RUNNER = (str(Path(__file__).with_name("runner_program.py")), MODE)

if __name__ == "__main__":
    from worker.app import main

    main()
