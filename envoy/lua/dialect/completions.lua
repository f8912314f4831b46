-- The members of a request to OpenAI's older completions, which servers of one's own still speak. Source:
-- https://platform.openai.com/docs/api-reference/completions/create, and vLLM's and llama.cpp's pages.

local json = require("json")
local openai = require("dialect/openai")
local shape = require("dialect/shape")
local found = require("dialect/found")
local value = require("dialect/value")

local completions = {}

local byte, find = string.byte, string.find

local QUOTE, OPEN_BRACKET, COMMA = 34, 91, 44
local OPTIONS = { "use_beam_search" }

completions.body = shape.table({
  plain = [[model stream n best_of max_tokens max_completion_tokens suffix echo logprobs logit_bias
    temperature top_p top_k min_p typical_p stop stop_token_ids include_stop_str_in_output ignore_eos
    presence_penalty frequency_penalty repetition_penalty repeat_penalty length_penalty no_repeat_ngram_size
    prompt_logprobs return_token_ids seed user guided_json guided_regex guided_choice guided_grammar
    structured_outputs json_schema grammar response_format skip_special_tokens spaces_between_special_tokens
    add_special_tokens truncate_prompt_tokens priority request_id cache_prompt cache_salt service_tier
    use_beam_search]],
  objects = {
    stream_options = shape.object({ plain = "include_usage include_obfuscation continuous_usage_stats" }),
  },
  -- Some servers take objects here. No member of those is known.
  lists = { prompt = shape.object({}) },
  meant = openai.meant,
})

completions.conversation = { "prompt" }

-- How many prompts the list from `first` to `last` may hold: its texts and lists, or one if it holds only tokens. A
-- server that mixes them into one prompt has fewer.
local function prompts_in(text, first, last)
  local count, has_tokens = 0, false
  local at, code = json.skip_space(text, first + 1)
  while at < last do
    if code == QUOTE then
      count, at = count + 1, json.closing_quote(text, at + 1)
    elseif code == OPEN_BRACKET then
      local close, quote = find(text, "]", at, true), find(text, '"', at, true)
      if quote and quote < close then value.refuse("A list within 'prompt' must hold tokens.", "prompt") end
      count, at = count + 1, close
    elseif code ~= COMMA then
      has_tokens = true
    end
    at, code = json.skip_space(text, at + 1)
  end
  return count + (has_tokens and 1 or 0)
end

-- Fills `request` from the body.
function completions.read(body, text, request, self)
  openai.read_answer(body, text, request)
  local first, last = shape.span(body, text, "prompt")
  local code = first and byte(text, first)
  if code ~= QUOTE and code ~= OPEN_BRACKET then
    value.refuse("'prompt' must be a text, tokens, or a list of either.", "prompt")
  end
  local each = value.larger(value.count(body, text, "n", 1), value.count(body, text, "best_of", 1)) or 1
  local prompts = code == OPEN_BRACKET and prompts_in(text, first, last) or 1
  request.choices = each * math.max(prompts, 1)
  self.features.response_format = shape.span(body, text, "response_format") ~= nil
  found.note_given(self, body, text, OPTIONS)
  found.note_word(self, body, text, "service_tier", openai.base_tiers)
end

return completions
