"""`python -m softreg`: the command line, also where the script `softreg` is not on the path."""

from softreg.cli import app

if __name__ == "__main__":
    app(prog_name="softreg")
