"""Spendgate: three services and two shared packages.

Read in this order: `kernel` (the nouns), `quota` (may this request spend?), `router` (where may it go?),
`ledger` (what did it cost?), `chassis` (how a process of ours runs), `cli` (the `spendgate` command). `simulator` plays
the providers in `spendgate demo` and the tests.
The services import nothing of each other: they meet in `protos/`.
"""
