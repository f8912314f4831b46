"""Programs that others wrote and that call the gateway unchanged, and a provider that others wrote: `make test-all`.

    install    each program in an environment of its own, below `.test-all`, in the versions that the tree names
    program    a running program: one job a line on standard input, one answer a line on standard output
    node/      what runs in Node; `package-lock.json` has the versions
    python/    what runs in environments apart from ours; `requirements/` has the versions

The tests are in `tests/e2e/clients`.
"""
