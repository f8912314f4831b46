"""What a call costs: `make bench`. Not a test: nothing here fails because a machine is slow.

driver     sends at a fixed rate, measures from the moment a request was due
upstream   the cheapest provider that still answers as one
gateways   what is measured, started side by side
measure    runs the loads, reads CPU time and latencies
report     writes docs/benchmarks.md
"""
