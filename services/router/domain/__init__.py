"""What the router knows of providers, models and plans. Standard library and kernel only: no I/O, no clock."""
