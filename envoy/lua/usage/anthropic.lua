-- The usage in answers of Anthropic's dialect. The input comes in disjoint parts: fresh, read from the cache, written
-- to it. A stream reports it in `message_start`. `message_delta` brings the output, and may repeat all of the usage.
-- Source: https://docs.anthropic.com/en/api/messages
--
-- usage/openai.lua explains the form of this table.

local max = math.max

local function usage(output)
  return {
    input_tokens = "fresh",
    output_tokens = output,
    cache_read_input_tokens = "cached_tokens",
    cache_creation_input_tokens = "written",
    cache_creation = {
      ephemeral_5m_input_tokens = "written_5m",
      ephemeral_1h_input_tokens = "cache_write_1h_tokens",
    },
    output_tokens_details = { thinking_tokens = "reasoning_tokens" },
    server_tool_use = { web_search_requests = "web_searches", web_fetch_requests = "web_fetches" },
    service_tier = "$service_tier",
  }
end

local function settle(found)
  local split = (found.written_5m or 0) + (found.cache_write_1h_tokens or 0)
  local written = max(found.written or 0, split)
  if found.written or found.written_5m or found.cache_write_1h_tokens then found.cache_write_tokens = written end
  if found.fresh then found.input_tokens = found.fresh + (found.cached_tokens or 0) + written end
  found.output_tokens = found.output or found.output_so_far
end

return {
  wanted = {
    type = "$type",
    model = "$model",
    stop_reason = "$finish",
    delta = { stop_reason = "$finish" },
    usage = usage("output"),
    message = { model = "$model", usage = usage("output_so_far") },
    error = { type = "$error", function(found) found.error = found.error or "unnamed" end },
  },
  settle = settle,
  -- The output in `message_start` is only its beginning.
  is_open = function(found) return found.output == nil end,
  -- The last event comes after the one with `stop_reason`.
  finish_ends = false,
  last = { message_stop = true },
  failures = { error = true },
  ends = { '"error"' },
  content = {
    'text":"',
    'text": "',
    'partial_json":"',
    'partial_json": "',
    'thinking":"',
    'thinking": "',
    'signature":"',
    'signature": "',
  },
}
