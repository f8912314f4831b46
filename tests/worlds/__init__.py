"""The worlds that tests stand on: one module each, from a clock turned by hand to the whole gateway.

A module holds no tests. What the files of several folders share stands here.
"""
