"""`python -m worker`: the same as `softreg worker`."""

from worker.app import main

main()
