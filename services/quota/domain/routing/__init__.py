"""Routing: the route plan, compiled for each model and dialect."""
