"""What the ledger does: book, settle, price, answer questions."""
