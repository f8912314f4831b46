-- Writes the usage of an answer in the other dialect, for its client. The bill is made from the provider's own figures,
-- which the meter reads before any translator.
--
-- Messages counts the input in disjoint parts: fresh, read from the cache, written to it. Chat counts it as a whole, of
-- which parts are cached. Chat's `cache_write_tokens` is not OpenAI's; routers of many providers have it.

local document = require("translate/document")

local usage = {}

local format, max, min = string.format, math.max, math.min
local NONE = {}
-- No count is larger: the largest integer that each reader of JSON has.
local COUNT_MAX = 9007199254740991

local function inside(object, name)
  local found = object[name]
  return document.is_object(found) and found or NONE
end

local function count(object, name)
  return min(max(document.number(object[name]) or 0, 0), COUNT_MAX)
end

-- The text of Chat's usage for the object of Messages.
function usage.to_chat(said)
  local split = inside(said, "cache_creation")
  local written = max(
    count(said, "cache_creation_input_tokens"),
    count(split, "ephemeral_5m_input_tokens") + count(split, "ephemeral_1h_input_tokens")
  )
  local cached, output = count(said, "cache_read_input_tokens"), count(said, "output_tokens")
  local prompt = count(said, "input_tokens") + cached + written
  local details = inside(said, "output_tokens_details")
  local thought = details.thinking_tokens and count(details, "thinking_tokens")
  return format(
    '{"prompt_tokens":%.0f,"completion_tokens":%.0f,"total_tokens":%.0f,'
      .. '"prompt_tokens_details":{"cached_tokens":%.0f,"cache_write_tokens":%.0f}',
    prompt, output, prompt + output, cached, written
  ) .. (thought and format(',"completion_tokens_details":{"reasoning_tokens":%.0f}}', thought) or "}")
end

-- What Chat's usage says: input, of it cached, of it written to the cache, and output.
local function of_chat(said)
  local details = inside(said, "prompt_tokens_details")
  local prompt, output = count(said, "prompt_tokens"), count(said, "completion_tokens")
  local cached = max(count(details, "cached_tokens"), count(said, "prompt_cache_hit_tokens"))
  -- Some servers count what the model thought outside the completion; their total shows it.
  return prompt, cached, count(details, "cache_write_tokens"), max(output, count(said, "total_tokens") - prompt)
end

-- The text of Messages' usage for the object of Chat, which is nil if the provider sent none.
function usage.to_messages(said)
  local prompt, cached, written, output = of_chat(said or NONE)
  return format(
    '{"input_tokens":%.0f,"cache_creation_input_tokens":%.0f,"cache_read_input_tokens":%.0f,"output_tokens":%.0f}',
    max(prompt - cached - written, 0), written, cached, output
  )
end

-- The text of Responses' usage for the object of Chat; null if the provider sent none.
function usage.to_responses(said)
  if not said then return "null" end
  local prompt, cached, written, output = of_chat(said)
  local details = inside(said, "completion_tokens_details")
  local thought = max(count(details, "reasoning_tokens"), count(said, "reasoning_tokens"))
  return format(
    '{"input_tokens":%.0f,"input_tokens_details":{"cached_tokens":%.0f,"cache_write_tokens":%.0f},"output_tokens":%.0f,'
      .. '"output_tokens_details":{"reasoning_tokens":%.0f},"total_tokens":%.0f}',
    prompt, cached, written, output, thought, prompt + output
  )
end

return usage
