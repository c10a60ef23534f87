"""What happened: looked at from above."""
