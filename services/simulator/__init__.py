"""Simulated providers: OpenAI, Anthropic and Gemini as they speak on the wire, with honest usage and faults to order.

They serve `spendgate demo` and the tests, as a process of their own; no service knows that they exist. They say what
they are in the `server` header and in every answer. Reading order: `tokens` (what a token is), `conversation` (a
request without its dialect), `model` (what is answered), `prompt_cache` (what was read from a cache), one `*_wire` for
each dialect, `faults`, `provider` (one vendor), `server` (a listener that can be closed).
"""
