"""Replay: what would have happened to past calls under other policies."""
