"""The benchmarks: `make bench`, or `python -m bench --help`. docs/benchmarks.md says what they measure."""
