"""Calls, charges and entries. Imports only the standard library and the kernel."""
