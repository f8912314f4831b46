-- The usage in answers of OpenAI's Responses API. A stream reports it in its last event, beside the whole answer.
-- Source: https://platform.openai.com/docs/api-reference/responses/object and .../responses-streaming
--
-- usage/openai.lua explains the form of this table.

local openai = require("usage/openai")

local USAGE = { input_tokens = "prompt", output_tokens = "completion" }
for name, figure in pairs(openai.wanted.usage) do USAGE[name] = figure end

local ANSWER = {
  model = "$model",
  service_tier = "$service_tier",
  usage = USAGE,
  incomplete_details = { reason = "$finish" },
  error = openai.wanted.error,
}

return {
  wanted = {
    type = "$type",
    model = ANSWER.model,
    service_tier = ANSWER.service_tier,
    usage = USAGE,
    incomplete_details = ANSWER.incomplete_details,
    error = ANSWER.error,
    response = ANSWER,
  },
  settle = openai.settle,
  -- Each stream ends with one of these, or fails with one of those.
  finish_ends = false,
  last = { ["response.completed"] = true, ["response.incomplete"] = true },
  failures = { ["response.failed"] = true, error = true },
  ends = {},
  content = { 'delta":"', 'delta": "' },
}
