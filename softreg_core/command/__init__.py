"""Training from a shell or a script, without any server: `python -m softreg_core train spec.json data.csv --out DIR`.

app.py      the command and its options; what is wrong is said in sentences
source.py   from the name of a file or sample to a table
folder.py   the output folder: spec, history, checkpoints, model
run.py      drives one training run and keeps what it hands out
show.py     the progress bar and the closing table
"""

from softreg_core.command.app import app

__all__ = ["app"]
