"""What a call costs: `make bench`. Not a test: nothing here fails because a machine is slow.

driver     sends at a fixed rate, measures from the moment a request was due
upstream   the cheapest provider that still answers as one
gateways   what is measured, started side by side
cases      the requests that are sent
measure    runs the loads, reads CPU time and latencies into samples
targets    what the design promises, and whether a run kept it
figures    the chart and the three figures that come first
report     writes docs/benchmarks.md, part by part (page)
size       what keys, teams, limits, open reservations and past calls cost: `make bench-size`
peers      what other gateways cost: `make bench-peers`
"""
