"""The nouns that every service speaks: money, usage, price, window, names, and the contract with Envoy.

Imports the standard library only; does no I/O, reads no clock, writes no log. A module belongs here when two
services need it to mean the same thing.
"""
