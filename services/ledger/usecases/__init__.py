"""The ledger's use cases: book, settle, price, answer questions."""
