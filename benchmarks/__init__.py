"""How fast spoolmw is, beside ProcessPoolExecutor in the same run: `python -m benchmarks`."""
