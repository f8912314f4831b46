"""What may be spent: policies, their limits and scopes, overrides, and the words for a refusal."""
