"""The worlds that tests stand on: one module each, from a clock turned by hand to the whole gateway.

A module has no tests. Code that files of several folders share belongs here.
"""
