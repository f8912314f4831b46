-- The usage in answers with vectors, of OpenAI's dialect. Source:
-- https://platform.openai.com/docs/api-reference/embeddings/create
--
-- usage/openai.lua explains the form of this table.

-- Vectors are no output. Servers that report only a total report the same number.
local function settle(found)
  found.input_tokens = found.prompt or found.total_tokens
  if found.input_tokens then found.output_tokens = 0 end
end

return {
  wanted = {
    model = "$model",
    usage = {
      prompt_tokens = "prompt",
      total_tokens = "total_tokens",
      prompt_tokens_details = { image_tokens = "input_image_tokens", audio_tokens = "input_audio_tokens" },
    },
    error = { code = "$error", type = "$error" },
  },
  settle = settle,
  -- Such an answer is no stream.
  last = {},
  failures = {},
  ends = {},
  content = { 'embedding":"' },
}
