"""Policies: their limits, scopes and overrides, and the values that describe a refusal."""
