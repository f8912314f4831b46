"""What quota does, one use case a file: admit, settle, explain, administer. `domain` does the arithmetic."""
