"""Side-by-side measurements: `./run bench NAME` runs bench/NAME.py, which alternates ours and a peer or a physical limit in one run."""
