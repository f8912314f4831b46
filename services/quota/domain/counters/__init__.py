"""What is spent: counters, reservations, settlements, and what people are told of them."""
