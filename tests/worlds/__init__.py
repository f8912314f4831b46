"""The worlds that tests stand on: one module each, from a clock turned by hand to the whole gateway.

A module holds no tests. Test files share worlds and nothing else: none imports another test file, and no folder of
tests imports from another.
"""
