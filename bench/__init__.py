"""Benchmarks: each figure is a ratio to a ceiling measured in the same run (`make bench`)."""
