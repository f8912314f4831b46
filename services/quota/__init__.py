"""Quota decides whether a request may spend, and knows how much of each budget is used.

It owns teams, virtual keys, policies, reservations and counters. Read `usecases/admit.py` first: it follows one call
from its credential to its reservation. Then read `domain/admission/decision.py`, the one comparison of spend with a
limit.
"""
