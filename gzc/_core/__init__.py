"""What a copy is."""

from .fork import forget_in_children

forget_in_children()
