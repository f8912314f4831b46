-- The members of a request to OpenAI's chat completions, and those that make it more expensive. The documented members
-- of other servers that speak this dialect are here too.

local shape = require("dialect/shape")
local found = require("dialect/found")
local media = require("dialect/media")
local value = require("dialect/value")

local openai = {}

-- Known types of a content part: understood here, or bounded only by the model's context window.
local PART_TYPES = {
  text = true, refusal = true, thinking = true, image_url = true, input_audio = true, file = true, video_url = true,
  audio_url = true, document_url = true, input_video = true,
}
-- References that a provider fetches and reads, with what it reads there.
local REFERENCES = { video_url = "video", audio_url = "audio", document_url = "documents", input_video = "video" }
-- Tools that the client runs.
local CLIENT_TOOLS = { ["function"] = true, custom = true }
local BASE_TIERS = { auto = true, default = true, standard = true, flex = true, on_demand = true }
-- Servers of one's own take -1 for "as many as fit".
local OUTPUT_BOUNDS = { "max_tokens", "max_completion_tokens" }
local TEXT_ONLY = { text = true }
local CACHED_FOR_MINUTES = { in_memory = true, ["in-memory"] = true }
-- Searches, other models, further calls within the call: the provider reads more than the body.
local READING_OPTIONS = {
  "web_search_options", "search_parameters", "search_options", "enable_search", "enable_code_interpreter", "plugins",
  "models", "route", "provider", "preset", "transforms", "data_sources", "mcp_servers",
}
-- Answers fetched later, more answers than the one shown, sound.
local OPTIONS = { "deferred", "background", "use_beam_search", "audio" }
-- Names that llama.cpp, vLLM and others have for the bound on output, and for the number of choices. Some of them take
-- precedence over the proper name.
local MEANT = {
  n_predict = "max_tokens", num_predict = "max_tokens", max_new_tokens = "max_tokens", max_output_tokens = "max_tokens",
  max_length = "max_tokens", max_gen_len = "max_tokens", max_gen_tokens = "max_tokens",
  max_tokens_to_sample = "max_tokens", max_completion_length = "max_tokens", num_return_sequences = "n",
  num_generations = "n", num_choices = "n", candidate_count = "n",
}

-- Whether it is known how a part is read: it has the member that is called like its type. Some servers take text and
-- images without a type.
local function is_understood(part, text)
  local kind = shape.text(part, text, "type")
  if kind then return PART_TYPES[kind] and shape.span(part, text, kind) ~= nil end
  if shape.is_odd(part, text, "type") then return false end
  return shape.span(part, text, "text") ~= nil or shape.span(part, text, "image_url") ~= nil
end

local function settle_part(part, text, self)
  if not is_understood(part, text) then self.unknown(part, "type=" .. (shape.text(part, text, "type") or "")) end
  if shape.span(part, text, "image_url") then
    local image = shape.inner(part, "image_url")
    local first, last
    if image then
      first, last = shape.span(image, text, "url")
    else
      first, last = shape.span(part, text, "image_url")
    end
    if first then media.note_image_url(self, text, first, last) end
  end
  local audio = shape.inner(part, "input_audio")
  local first, last
  if audio then first, last = shape.span(audio, text, "data") end
  if first then
    media.note_recording(self, text, first, last)
  elseif shape.span(part, text, "input_audio") then
    self.features.audio, self.features.files = true, true
  end
  if shape.span(part, text, "file") then
    self.features.files, self.features.documents = true, true
    local file = shape.inner(part, "file")
    if file and shape.span(file, text, "file_id") then self.features.stored_input = true end
  end
  for name, feature in pairs(REFERENCES) do
    if shape.span(part, text, name) then self.features.files, self.features[feature] = true, true end
  end
end

local function settle_message(message, text, self)
  -- The sound of an earlier answer, which the provider still has.
  if shape.filled(message, text, "audio") then self.features.stored_input = true end
end

-- Whether `response_format` only says what holds without it.
local function asks_for_text(body, text)
  local first, last = shape.span(body, text, "response_format")
  return string.find(string.sub(text, first, last), '^{%s*"type"%s*:%s*"text"%s*}$') ~= nil
end

local function settle_tool(tool, text, self)
  local kind = shape.text(tool, text, "type")
  if not kind and not shape.is_odd(tool, text, "type") then return end
  if not CLIENT_TOOLS[kind] then
    self.features.server_tools = true
    self.option("tools", kind or "")
  end
end

local part = shape.object({
  plain = "type text refusal thinking reference_ids uuid video_url audio_url document_url document_name input_video",
  objects = {
    image_url = shape.object({ plain = "url detail" }),
    input_audio = shape.object({ plain = "data format" }),
    file = shape.object({ plain = "file_data file_id filename" }),
    cache_control = found.cache_control(),
  },
  settle = settle_part,
})

local message = shape.object({
  plain = [[role content name tool_calls tool_call_id tool_name function_call refusal annotations audio id index
    reasoning reasoning_content reasoning_details thinking_blocks provider_specific_fields extra_content prefix partial
    weight]],
  objects = { cache_control = found.cache_control() },
  lists = { content = part },
  settle = settle_message,
})

local tool = shape.object({
  plain = "type function custom name description parameters strict format",
  objects = { cache_control = found.cache_control() },
  settle = settle_tool,
})

openai.body = shape.table({
  plain = [[model stream n best_of max_tokens max_completion_tokens
    functions function_call tool_choice parallel_tool_calls response_format reasoning_effort reasoning thinking
    verbosity include_reasoning reasoning_format reasoning_split
    temperature top_p top_k top_a min_p typical_p stop stop_token_ids include_stop_str_in_output ignore_eos
    presence_penalty frequency_penalty repetition_penalty repeat_penalty length_penalty no_repeat_ngram_size
    logit_bias logprobs top_logprobs prompt_logprobs return_token_ids seed random_seed
    guided_json guided_regex guided_choice guided_grammar guided_decoding_backend structured_outputs json_schema regex
    grammar skip_special_tokens spaces_between_special_tokens add_generation_prompt continue_final_message
    add_special_tokens echo truncate_prompt_tokens priority request_id session_id cache_salt
    result_format incremental_output usage trace keep_alive
    user user_id safety_identifier prompt_cache_key prompt_cache_retention metadata store service_tier
    modalities audio prediction
    web_search_options search_parameters search_options enable_search enable_code_interpreter plugins models route
    provider preset transforms data_sources mcp_servers deferred background use_beam_search]],
  objects = {
    stream_options = shape.object({ plain = "include_usage include_obfuscation continuous_usage_stats" }),
    -- Any other value could make a server's template write more than it was given.
    chat_template_kwargs = shape.object({
      plain = "enable_thinking thinking thinking_budget preserve_thinking clear_thinking reasoning_effort",
    }),
    cache_control = found.cache_control(),
  },
  lists = { messages = message, tools = tool },
  meant = MEANT,
})

openai.meant, openai.base_tiers, openai.cached_for_minutes = MEANT, BASE_TIERS, CACHED_FOR_MINUTES

-- The parts of the conversation, in order.
openai.conversation = { "messages" }

-- Fills `request` with what completions say as chats do: the model, how the answer comes, and its bound.
function openai.read_answer(body, text, request)
  request.model = value.string(body, text, "model")
  request.stream = value.boolean(body, text, "stream") or false
  local options = value.object(body, text, "stream_options")
  request.include_usage = options and value.boolean(options, text, "include_usage") or false
  request.max_output_tokens = value.bound(body, text, OUTPUT_BOUNDS)
end

-- Fills `request` from the body.
function openai.read(body, text, request, self)
  openai.read_answer(body, text, request)
  request.choices = value.larger(value.count(body, text, "n", 1), value.count(body, text, "best_of", 1))
  value.check_list(body, text, "messages")
  value.check_list(body, text, "tools")

  local features = self.features
  features.tools = shape.filled(body, text, "tools") or shape.filled(body, text, "functions")
  features.response_format = shape.span(body, text, "response_format") ~= nil and not asks_for_text(body, text)
  features.thinking = shape.span(body, text, "reasoning_effort") ~= nil

  if found.note_given(self, body, text, READING_OPTIONS) then features.server_tools = true end
  found.note_given(self, body, text, OPTIONS)
  found.note_word(self, body, text, "service_tier", BASE_TIERS)
  found.note_words(self, body, text, "modalities", TEXT_ONLY)
  found.note_word(self, body, text, "prompt_cache_retention", CACHED_FOR_MINUTES)
  -- Rejected parts of a prediction are billed as output, besides the answer.
  local first, last = shape.span(body, text, "prediction")
  if first then self.option("prediction", string.format("%.0f", last - first + 1)) end
end

return openai
