"""How our processes run: settings, gRPC server, pages, database, metrics, start and stop.

The chassis knows grpc, OpenTelemetry and SQLAlchemy, but no budget, provider or entry. A service imports it from its
`main`, `wiring`, `transport` and `adapters`, never from its domain or use cases.
"""
