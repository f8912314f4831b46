"""The ledger's adapters to files, tables, catalogues and other services."""
