-- The usage in answers with vectors, of Gemini's dialect. Source: https://ai.google.dev/api/embeddings. Older models
-- report none.
--
-- usage/openai.lua explains the form of this table.

local gemini = require("usage/gemini")

local reported = gemini.wanted.usageMetadata

-- Vectors are no output.
local function settle(found)
  found.input_tokens = found.prompt or found.total_tokens
  if found.input_tokens then found.output_tokens = 0 end
end

return {
  wanted = {
    usageMetadata = {
      promptTokenCount = "prompt",
      totalTokenCount = "total_tokens",
      -- Google writes both.
      promptTokenDetails = reported.promptTokensDetails,
      promptTokensDetails = reported.promptTokensDetails,
    },
    error = gemini.wanted.error,
  },
  settle = settle,
  -- Such an answer is no stream.
  last = {},
  failures = {},
  ends = {},
  content = { 'embedding":"' },
}
