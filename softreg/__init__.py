"""What a user holds: the command line, and the service on one machine with embedded servers (`softreg up`)."""

__all__ = ["__version__"]
__version__ = "0.1.0"
