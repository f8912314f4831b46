"""The router's adapters to its database, secrets, and Envoy's resources."""
