"""Simulated providers: OpenAI, Anthropic and Gemini with their wire formats, honest usage, and faults on request.

They serve `spendgate demo` and the tests as a process of their own. No service knows that they exist. They identify
themselves as simulated in the `server` header and in every answer. Reading order: `tokens` (what counts as a token),
`conversation` (a request without its dialect), `model` (the answers), `prompt_cache` (what is read from a cache), one
`*_wire` for each dialect, `faults`, `provider` (one vendor), `server` (a listener that can be closed).
"""
