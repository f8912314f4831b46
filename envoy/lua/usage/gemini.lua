-- The usage in answers of Gemini's dialect. Every event of a stream has the usage so far. Source:
-- https://ai.google.dev/api/generate-content#UsageMetadata, and Vertex's reference for `trafficType`.
--
-- usage/openai.lua explains the form of this table.

local max = math.max

local MODALITIES = { TEXT = "text", AUDIO = "audio", IMAGE = "image", VIDEO = "video", DOCUMENT = "document" }

-- A list of counts by modality. Each element becomes one figure, under "other" if its modality is unknown.
local function by_modality(side)
  return {
    modality = "$modality",
    tokenCount = "count",
    function(found)
      if found.count then
        local kind = MODALITIES[found.modality] or "other"
        found[side .. "_" .. kind .. "_tokens"] = found.count
      end
      found.modality, found.count = nil, nil
    end,
  }
end

local function settle(found)
  local thoughts, tools = found.reasoning_tokens or 0, found.tool_input_tokens or 0
  local candidates = found.candidates or 0
  if found.prompt then found.input_tokens = found.prompt + tools end
  local output = (found.candidates or found.reasoning_tokens) and candidates + thoughts or nil
  -- Candidates include the thoughts for some models and endpoints. The total shows which.
  if found.prompt and found.total_tokens then
    local rest = max(found.total_tokens - found.prompt - tools, 0)
    if not output or (rest >= max(candidates, thoughts) and rest < output) then output = rest end
  end
  found.output_tokens = output
end

-- Takes the end of one of the answers.
local function finish(found)
  if not found.finished_by then return end
  found.finish, found.finished_by = found.finished_by, nil
  found.finished = (found.finished or 0) + 1
end

return {
  wanted = {
    modelVersion = "$model",
    candidates = {
      finishReason = "$finished_by",
      groundingMetadata = { webSearchQueries = "#web_searches" },
      finish,
    },
    promptFeedback = { blockReason = "$finish" },
    usageMetadata = {
      promptTokenCount = "prompt",
      candidatesTokenCount = "candidates",
      responseTokenCount = "candidates",
      thoughtsTokenCount = "reasoning_tokens",
      totalTokenCount = "total_tokens",
      cachedContentTokenCount = "cached_tokens",
      toolUsePromptTokenCount = "tool_input_tokens",
      promptTokensDetails = by_modality("input"),
      cacheTokensDetails = by_modality("cached"),
      toolUsePromptTokensDetails = by_modality("tool_input"),
      candidatesTokensDetails = by_modality("output"),
      serviceTier = "$service_tier",
      trafficType = "$service_tier",
    },
    error = { status = "$error", function(found) found.error = found.error or "unnamed" end },
  },
  settle = settle,
  -- There is no event that only ends the stream.
  finish_ends = true,
  last = {},
  failures = {},
  ends = { 'finishReason"', 'blockReason"', '"error"' },
  content = { 'text":"', 'text": "' },
  -- An event with content and usage may be read from its usage on, unless it contains one of these words.
  telling = { "Reason", "groundingMetadata", "error" },
}
