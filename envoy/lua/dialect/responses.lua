-- The members of a request to OpenAI's Responses API, and those that make it more expensive. Source:
-- https://platform.openai.com/docs/api-reference/responses/create

local shape = require("dialect/shape")
local found = require("dialect/found")
local media = require("dialect/media")
local openai = require("dialect/openai")
local value = require("dialect/value")

local responses = {}

local byte = string.byte

local OPEN_BRACKET, QUOTE = 91, 34

-- Items of the input that are text to the last byte, or whose parts are looked at.
local TEXT_ITEMS = {
  message = true, function_call = true, function_call_output = true, custom_tool_call = true,
  custom_tool_call_output = true, reasoning = true, local_shell_call = true, local_shell_call_output = true,
  apply_patch_call = true, apply_patch_call_output = true,
}
-- Items that stand for something that the provider keeps: results of its own tools, and earlier items.
local STORED_ITEMS = {
  item_reference = true, file_search_call = true, web_search_call = true, image_generation_call = true,
  code_interpreter_call = true, mcp_list_tools = true, mcp_call = true, mcp_approval_request = true,
  mcp_approval_response = true, compaction = true, tool_search_call = true, tool_search_output = true,
  computer_call = true, computer_call_output = true,
}
-- Of these, those that Chat has nothing like.
local CUSTOM_ITEMS = {
  custom_tool_call = true, custom_tool_call_output = true, local_shell_call = true, local_shell_call_output = true,
  apply_patch_call = true, apply_patch_call_output = true,
}
local TEXT_PARTS = { input_text = true, output_text = true, text = true, refusal = true, summary_text = true,
  reasoning_text = true }
local DATA = { "image_url", "input_audio", "file_id", "file_url", "file_data" }
-- Tools that the client runs.
local CLIENT_TOOLS = { ["function"] = true, custom = true, local_shell = true, apply_patch = true, namespace = true }
local TOOL = "type name description parameters strict format defer_loading"
-- The answer is fetched later, past the meter. A stored prompt may bring tools that the provider runs. A compaction is
-- a further call.
local OPTIONS = { "background", "prompt", "context_management" }
-- What the provider has kept.
local STORED = { "previous_response_id", "conversation", "prompt" }
local MEANT = {
  max_tokens = "max_output_tokens", max_completion_tokens = "max_output_tokens", max_new_tokens = "max_output_tokens",
  n_predict = "max_output_tokens", num_predict = "max_output_tokens", max_gen_tokens = "max_output_tokens",
  num_return_sequences = "n", num_generations = "n", candidate_count = "n",
}

local function note_image(part, text, self)
  local first, last = shape.span(part, text, "image_url")
  if first and byte(text, first) == QUOTE then
    media.note_image_url(self, text, first, last)
  else
    self.images = self.images + 1
    self.features.images = true
  end
  if not first or shape.span(part, text, "file_id") then self.features.stored_input = true end
end

local function note_audio(part, text, self)
  local audio = shape.inner(part, "input_audio")
  local first, last
  if audio then first, last = shape.span(audio, text, "data") end
  if first then
    media.note_recording(self, text, first, last)
  else
    self.features.audio, self.features.files = true, true
  end
end

local function settle_part(part, text, self)
  local kind = shape.text(part, text, "type")
  if kind == "input_image" then
    note_image(part, text, self)
  elseif kind == "input_audio" then
    note_audio(part, text, self)
  elseif kind == "input_file" then
    self.features.files, self.features.documents = true, true
    if shape.span(part, text, "file_id") then self.features.stored_input = true end
  elseif not TEXT_PARTS[kind] then
    self.unknown(part, "type=" .. (kind or ""))
  else
    -- A part of one kind with the data of another.
    for _, name in ipairs(DATA) do
      if shape.span(part, text, name) then self.unknown(part, "type=" .. kind) end
    end
  end
end

local function part()
  return shape.object({
    plain = "type text refusal detail image_url file_id file_url file_data filename annotations logprobs",
    objects = { input_audio = shape.object({ plain = "data format" }) },
    settle = settle_part,
  })
end

local function settle_item(item, text, self)
  local kind = shape.text(item, text, "type")
  if not kind and not shape.is_odd(item, text, "type") and shape.span(item, text, "role") then return end
  if STORED_ITEMS[kind] then
    self.features.stored_input = true
  elseif not TEXT_ITEMS[kind] then
    self.unknown(item, "type=" .. (kind or ""))
  elseif CUSTOM_ITEMS[kind] then
    self.features.custom_tools = true
  end
end

local function settle_tool(tool, text, self)
  local kind = shape.text(tool, text, "type")
  if not CLIENT_TOOLS[kind] then
    self.features.server_tools = true
    self.option("tools", kind or "")
  elseif kind ~= "function" then
    self.features.custom_tools = true
  end
end

responses.body = shape.table({
  plain = [[model stream instructions max_output_tokens n best_of max_tool_calls metadata parallel_tool_calls
    temperature top_p top_logprobs tool_choice truncation include store user safety_identifier prompt_cache_key
    prompt_cache_retention service_tier background prompt context_management previous_response_id conversation]],
  objects = {
    stream_options = shape.object({ plain = "include_obfuscation" }),
    reasoning = shape.object({ plain = "effort summary generate_summary" }),
    text = shape.object({ plain = "format verbosity" }),
  },
  lists = {
    input = shape.object({
      plain = [[type role id status phase name namespace call_id arguments action operation encrypted_content]],
      lists = { content = part(), output = part(), summary = part(), input = shape.object({}) },
      settle = settle_item,
    }),
    -- Codex groups tools in namespaces. What is in one is looked at like any other, and no namespace is in another.
    tools = shape.object({
      plain = TOOL,
      lists = { tools = shape.object({ plain = TOOL, settle = settle_tool }) },
      settle = settle_tool,
    }),
  },
  meant = MEANT,
})

responses.conversation = { "instructions", "input" }

-- Fills `request` from the body.
function responses.read(body, text, request, self)
  request.model = value.string(body, text, "model")
  request.stream = value.boolean(body, text, "stream") or false
  request.max_output_tokens = value.count(body, text, "max_output_tokens", 1)
  -- No vendor has more than one answer here. A server of one's own may read these names all the same.
  request.choices = value.larger(value.count(body, text, "n", 1), value.count(body, text, "best_of", 1))
  local first = shape.span(body, text, "input")
  local code = first and byte(text, first)
  if first and code ~= QUOTE and code ~= OPEN_BRACKET then
    value.refuse("'input' must be a text or a list of items.", "input")
  end
  value.check_list(body, text, "tools")
  value.object(body, text, "text")
  local reasoning = value.object(body, text, "reasoning")

  local features = self.features
  features.tools = shape.filled(body, text, "tools")
  local format = shape.inner(body, "text")
  features.response_format = format ~= nil and shape.span(format, text, "format") ~= nil
  features.thinking = reasoning ~= nil and shape.span(reasoning, text, "effort") ~= nil
  for _, name in ipairs(STORED) do
    if shape.filled(body, text, name) then features.stored_input = true end
  end
  features.background = found.is_given(body, text, "background")
  features.compaction = found.is_given(body, text, "context_management")
  found.note_given(self, body, text, OPTIONS)
  found.note_word(self, body, text, "service_tier", openai.base_tiers)
  found.note_word(self, body, text, "prompt_cache_retention", openai.cached_for_minutes)
end

return responses
