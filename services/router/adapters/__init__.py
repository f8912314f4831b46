"""What the router reaches outwards: its database, secrets, and Envoy's resources."""
