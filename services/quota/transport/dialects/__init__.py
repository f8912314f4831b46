"""Answers to clients in their own dialect: an unchanged SDK must raise the right exception and know what to do next.

`wording` words a refusal once for all dialects; `openai`, `anthropic` and `gemini` put it into their envelopes. Only
the ext_authz server imports this package.
"""
