"""What can go wrong on the machine that runs `softreg`."""

__all__ = ["LocalError"]


class LocalError(RuntimeError):
    """Something on this machine is in the way; the message says what, and what to do, to the person who typed."""
