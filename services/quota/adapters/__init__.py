"""Stores behind `ports`: SQLite for real, memory for tests and as the plainest statement of what a store must do."""
