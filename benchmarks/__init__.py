"""How fast QuasiQueue is, next to its peers. `make bench` runs it; docs/performance.md tells how figures are taken."""
