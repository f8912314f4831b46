"""The ledger's side of files, tables, catalogues and other services."""
