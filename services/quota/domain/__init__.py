"""What a key, a policy, an estimate, a reservation and a refusal are. Pure: no I/O, no clock, no randomness."""
