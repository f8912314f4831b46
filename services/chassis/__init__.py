"""How a process of ours runs: settings, gRPC server, pages, database, telemetry, start and stop.

Knows grpc, OpenTelemetry and SQLAlchemy; knows no budget, provider or entry. Every service imports it from its
`main`, `wiring`, `transport` and `adapters`, never from its domain or use cases.
"""
