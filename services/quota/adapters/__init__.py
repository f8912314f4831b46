"""The adapters behind `ports`: SQLite and Redis for real gateways, and memory for tests.

The stores in memory also show most plainly what a store must do.
"""
