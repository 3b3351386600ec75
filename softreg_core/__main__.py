"""`python -m softreg_core`: training on this machine, without any server."""

from softreg_core.command import app

app(prog_name="python -m softreg_core")
