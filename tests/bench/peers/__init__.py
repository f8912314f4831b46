"""Other gateways beside ours: `make bench-peers`. Same provider, same driver, same core, in turn with a plain Envoy.

peer         what another gateway is, and how its processes are started
postgres     a PostgreSQL server of its own for those that need one
litellm      LiteLLM's proxy
comparison   runs the loads, and writes the part `peers` of docs/benchmarks.md
"""
