"""Quota's rules about keys, policies, estimates, reservations and denials. Pure: no I/O, no clock, no randomness."""
