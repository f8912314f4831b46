"""Counters: reservations, settlements, and the events that counters report to people."""
