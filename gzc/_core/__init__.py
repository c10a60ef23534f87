"""What a copy is."""
