"""Identity: virtual keys, admin tokens, teams, and who may do what."""
