"""``gzc.contrib.metrics`` under its first name."""

from .contrib.metrics import register

__all__ = ["register"]
