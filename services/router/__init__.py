"""The router service: where may a call go? It owns providers, their credentials, and the models that clients ask for.

It decides ahead of traffic: it configures Envoy over ADS and streams a route plan to quota. No request waits for it,
and traffic continues without it.
"""
