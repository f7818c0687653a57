"""Benchmarks: this library against its peers on the same datasets, and how it grows. See README.md."""
