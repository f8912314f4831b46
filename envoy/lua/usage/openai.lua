-- The usage in answers of OpenAI's dialect. Several vendors speak it, each with figures of its own: DeepSeek's cache
-- hits, Groq's `x_groq`, Perplexity's searches, and reasoning that xAI counts outside the completion. Source:
-- https://platform.openai.com/docs/api-reference/chat/object and the vendors' pages.
--
-- `wanted` lists the values for the reader. `settle` computes the totals from them, in place, whenever there is news.
-- Names are those of `UsageKey` in services/kernel/spool_contract.py; other names are only used here.

local INPUT = {
  cached_tokens = "cached_tokens",
  cache_write_tokens = "cache_write_tokens",
  cache_creation_tokens = "cache_write_tokens",
  audio_tokens = "input_audio_tokens",
  image_tokens = "input_image_tokens",
  video_tokens = "input_video_tokens",
}
local OUTPUT = {
  reasoning_tokens = "reasoning_tokens",
  audio_tokens = "output_audio_tokens",
  image_tokens = "output_image_tokens",
  video_tokens = "output_video_tokens",
}
local USAGE = {
  prompt_tokens = "prompt",
  completion_tokens = "completion",
  total_tokens = "total_tokens",
  prompt_tokens_details = INPUT,
  completion_tokens_details = OUTPUT,
  input_tokens_details = INPUT,
  output_tokens_details = OUTPUT,
  prompt_cache_hit_tokens = "cached_tokens",
  cached_tokens = "cached_tokens",
  reasoning_tokens = "reasoning_tokens",
  num_search_queries = "web_searches",
}

-- Takes an error, even one without a name.
local function fail(found)
  found.error = found.error or "unnamed"
end

-- Takes the end of one of the answers.
local function finish(found)
  if not found.finished_by then return end
  found.finish, found.finished_by = found.finished_by, nil
  found.finished = (found.finished or 0) + 1
end

local function settle(found)
  local prompt, completion, total = found.prompt, found.completion, found.total_tokens
  if prompt and total and total >= prompt then
    local rest = total - prompt
    if not completion then
      completion = rest
    elseif found.reasoning_tokens and rest == completion + found.reasoning_tokens then
      -- Reasoning is counted outside the completion, and the total shows it.
      completion = rest
    end
  end
  found.input_tokens, found.output_tokens = prompt, completion
end

return {
  wanted = {
    model = "$model",
    service_tier = "$service_tier",
    usage = USAGE,
    x_groq = { usage = USAGE },
    choices = { finish_reason = "$finished_by", finish },
    error = { code = "$error", type = "$error", fail },
  },
  settle = settle,
  -- Many servers send no `[DONE]`. An answer that says why it ended has ended.
  finish_ends = true,
  -- The types of last events, and of events that are errors. OpenAI's events of chats have none.
  last = {},
  failures = { error = true },
  -- Members of an event with content for which it must be read.
  ends = { 'finish_reason"', '"error"' },
  -- The beginnings of members that hold the model's output, with and without a space after the colon.
  content = {
    'content":"',
    'content": "',
    'arguments":"',
    'arguments": "',
    'reasoning":"',
    'reasoning": "',
    'refusal":"',
    'refusal": "',
  },
}
