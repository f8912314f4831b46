"""`spendgate demo`: a month of a team's traffic in half a minute, through the real gateway.

Everything between the application and the provider is real: Envoy, the three services, their databases. Only the
providers are simulated, and the month is short and small. What the demo shows it also checks: it fails rather than
showing what did not happen. Reading order: `month.yaml` (the configuration), `month` (the traffic), `application` (who
calls), `books` (what must add up), `play` (the script), `stage` (what is printed), `command` (start and stop).
"""
