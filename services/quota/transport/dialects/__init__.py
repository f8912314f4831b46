"""Answers to clients in their own dialect: an unchanged SDK must raise the right exception and know what to do next.

`wording` says once, for all dialects, what a refusal is; `openai`, `anthropic` and `gemini` put it into their
envelopes. Imported by the ext_authz server only.
"""
