"""The ledger: what did it cost?

Tails Envoy's spool, prices each call with the engine that made the estimate, books it once, settles it with quota, and
answers what was spent on what. Main path: `adapters/spool` reads lines, `domain/call` parses them, `domain/charge`
decides which usage counts, `usecases/book` commits entries, rollups and the spool offset together, `usecases/settle`
tells quota.
"""
