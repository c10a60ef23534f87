"""Measurements, run from the repository's folder: ``python -m benchmarks NAME``. They test nothing."""
