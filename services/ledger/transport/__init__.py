"""The ledger's gRPC services."""
