"""The ledger: what did it cost?

It tails Envoy's spool, prices each call with the engine that made the estimate, books it once, settles it with quota,
and answers questions about spend. Main path: `adapters/spool` reads lines, `domain/call` parses them, `domain/charge`
decides which usage counts, `usecases/book` commits entries, rollups and the spool offset together, and
`usecases/settle` reports to quota.
"""
