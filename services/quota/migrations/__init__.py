"""The history of quota's tables."""
