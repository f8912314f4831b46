"""The adapters behind `ports`: SQLite and Redis for real gateways, and memory for tests.

The stores in memory are also the simplest examples of what a store must do.
"""
