"""What a call, a charge and an entry are. Standard library and kernel only."""
