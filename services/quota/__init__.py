"""May this request spend, and how far along is its budget?

Owns teams, virtual keys, policies, reservations and counters. Read `usecases/admit.py` first: one call, from its
credential to its reservation. Then `domain/decision.py`, the one comparison of spend with limit.
"""
