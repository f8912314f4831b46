"""`spendgate demo`: a month of a team's traffic in half a minute, through the real gateway.

Everything between application and provider is real: Envoy, the three services, their databases. Only the providers are
simulated, and the month is short and small. The demo checks everything that it shows, and fails if something did not
happen. Reading order: `month.yaml` (the configuration), `month` (the traffic), `application` (who calls), `books` (what
must add up), `play` (the script), `stage` (the output), `command` (start and stop).
"""
