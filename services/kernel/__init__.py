"""Concepts that all services share: money, usage, price, window, names, and the contract with Envoy.

It imports only the standard library, does no I/O, reads no clock and writes no log. A module belongs here when two
services need it to mean the same thing.
"""
