"""Providers, models and plans. Imports only the standard library and the kernel: no I/O, no clock."""
