"""``gzc.contrib.status`` under its first name."""

from .contrib.status import status

__all__ = ["status"]
