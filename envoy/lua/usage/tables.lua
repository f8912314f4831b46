-- What an answer says was used, by the name of the reader in the table of endpoints (services/kernel/endpoint.py).
-- usage/openai.lua explains the form of each.

return {
  openai = require("usage/openai"),
  anthropic = require("usage/anthropic"),
  completions = require("usage/completions"),
  counting = require("usage/counting"),
  gemini = require("usage/gemini"),
  gemini_embeddings = require("usage/gemini_embeddings"),
  openai_embeddings = require("usage/openai_embeddings"),
  responses = require("usage/responses"),
}
