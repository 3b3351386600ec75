"""What a user holds: the command line, and the service on one machine with embedded servers (`softreg up`)."""

from softreg_core import __version__

__all__ = ["__version__"]
