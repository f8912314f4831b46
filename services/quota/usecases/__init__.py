"""What quota does, one file for each thing: admit, settle, explain, administer. `domain` does the arithmetic."""
