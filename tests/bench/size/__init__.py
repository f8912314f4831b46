"""What size costs: `make bench-size`. Keys, teams, limits, open reservations, and a ledger of millions of calls.

quota      a quota of a chosen size, as a process of its own
checks     asks quotas of different sizes in turn
ledger     a ledger of a chosen size, its reports, and the booking of one more batch
tables     writes the part `size` of docs/benchmarks.md
"""
