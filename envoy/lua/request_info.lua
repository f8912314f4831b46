-- Publishes what a request asks for, so that quota can decide without ever seeing the body, and refuses what could be
-- read in two ways. Keys of the metadata: RequestKey and ScanKey in services/kernel/envoy_contract.py.

local json = require("json")
local refusal = require("refusal")
local fingerprint = require("fingerprint")
local utf8 = require("utf8")

local REQUEST, SCAN = "spendgate.request", "spendgate.scan"
local MODEL_BYTES_MAX = 256
local CLIENT_REQUEST_ID_BYTES_MAX = 128
-- More digits are not exact in a double.
local INTEGER_DIGITS_MAX = 15
local PREFIXES = { { "prefix_1k", 1024 }, { "prefix_4k", 4096 }, { "prefix_16k", 16384 }, { "prefix_64k", 65536 } }

-- Of a longer body its beginning and its end say enough: conversations grow at their end.
local PRINTED_HEAD_BYTES, PRINTED_TAIL_BYTES = 61440, 4096

local byte, sub, match = string.byte, string.sub, string.match
local find, gsub, lower = string.find, string.gsub, string.lower

-- Raised by the checks below and caught in one place: a refusal with 400.
local function refuse(message, parameter)
  error({ message = message, parameter = parameter }, 0)
end

-- A scanned object: its text and where its members are.
local function scan(text, what, watched, visit)
  local first, last, start, opening = json.scan(text, watched, visit)
  if not first then refuse("The " .. what .. " cannot be read: " .. last .. ".") end
  return { text = text, first = first, last = last, start = start, opening = opening }
end

local function present(object, name)
  local first = object.first[name]
  return first ~= nil and not json.is_null(object.text, first, object.last[name])
end

local function read_string(object, name)
  if not present(object, name) then return nil end
  local text = json.string(object.text, object.first[name], object.last[name])
  if not text then refuse("'" .. name .. "' must be a string.", name) end
  return text
end

local function read_boolean(object, name)
  if not present(object, name) then return nil end
  local word = sub(object.text, object.first[name], object.last[name])
  if word ~= "true" and word ~= "false" then refuse("'" .. name .. "' must be true or false.", name) end
  return word == "true"
end

local function read_count(object, name)
  if not present(object, name) then return nil end
  local digits = sub(object.text, object.first[name], object.last[name])
  if not find(digits, "^[1-9]%d*$") or #digits > INTEGER_DIGITS_MAX then
    refuse("'" .. name .. "' must be a positive integer.", name)
  end
  return tonumber(digits)
end

-- A budget for thinking. 0 turns thinking off and -1 leaves it to the model: neither is a budget.
local function read_budget(object, name)
  if not object or not present(object, name) then return nil end
  local word = sub(object.text, object.first[name], object.last[name])
  if word == "0" or word == "-1" then return nil end
  return read_count(object, name)
end

local function read_object(object, name)
  if not present(object, name) then return nil end
  if byte(object.text, object.first[name]) ~= 123 then refuse("'" .. name .. "' must be an object.", name) end
  return scan(sub(object.text, object.first[name], object.last[name]), "field '" .. name .. "'")
end

local function larger(one, other)
  if one and other then return math.max(one, other) end
  return one or other
end

-- Whether a member is there and neither null nor empty.
local function filled(object, name)
  return present(object, name) and object.last[name] - object.first[name] > 1
end

local function check_model(model)
  if not model or model == "" then refuse("You must name a model.", "model") end
  if not utf8.is_valid(model) then refuse("The name of the model is not UTF-8.", "model") end
  if #model > MODEL_BYTES_MAX then refuse("The name of the model is too long.", "model") end
  if find(model, "[%z\1-\31\127]") then refuse("The name of the model holds control characters.", "model") end
  return model
end

-- What the parts of a conversation are, found on the way through the body.
local WATCHED = {
  type = true, url = true, data = true, file_data = true, cache_control = true, ttl = true, file_id = true,
  inlineData = true, inline_data = true, fileData = true, file_data_uri = true, mimeType = true, mime_type = true,
  id = true,
}
local CONVERSATION = { messages = true, system = true, contents = true, systemInstruction = true,
  system_instruction = true, tools = true }
local PART_FEATURES = {
  image_url = "images", image = "images", input_audio = "audio", file = "files", document = "files",
}

-- What makes an entry of Gemini's tools one that the provider runs itself.
local SERVER_TOOLS = {}
for _, name in ipairs({
  "googleSearch", "google_search", "googleSearchRetrieval", "google_search_retrieval", "googleMaps", "google_maps",
  "urlContext", "url_context", "codeExecution", "code_execution", "fileSearch", "file_search",
}) do
  SERVER_TOOLS[name], WATCHED[name] = true, true
end
-- Types of the other dialects' tools that the client runs, without their date; any other type the provider runs. The
-- types of JSON schemas are here for parameters that are called "tools" themselves.
local CLIENT_TOOLS = {
  ["function"] = true, custom = true, bash = true, text_editor = true, computer = true, memory = true,
  object = true, array = true, string = true, number = true, integer = true, boolean = true, null = true,
}

local function new_parts(text)
  local parts = { images = 0, data_bytes = 0, features = {} }
  local features = parts.features
  -- A block names its encoding beside its data, in either order; what came first waits here, by object.
  local encodings, pending = {}, {}

  -- A string value as the provider reads it.
  local function word(first, last)
    local raw = sub(text, first, last)
    return find(raw, "\\", 1, true) and json.string(text, first - 1, last + 1) or raw
  end

  local function count_media(kind)
    if find(kind, "^image/") then
      parts.images = parts.images + 1
      features.images = true
    elseif find(kind, "^audio/") then
      features.audio = true
    else
      features.files = true
    end
  end

  -- Base64 is data only where a provider decodes it; anywhere else it is text and counted as such.
  local function settle(object)
    local encoding, bytes = encodings[object], pending[object]
    if encoding and bytes and encoding ~= "text" and not find(encoding, "^text/") then
      parts.data_bytes = parts.data_bytes + bytes
    end
  end

  function parts.visit(top, owner, name, object, first, last)
    if not CONVERSATION[top] then return end
    if name == "cache_control" then
      features.cache_control = true
    elseif not first then
      if name == "fileData" or name == "file_data" then
        features.files = true
        features.stored_input = true
      elseif owner == "tools" and SERVER_TOOLS[name] then
        features.server_tools = true
      end
    elseif name == "type" then
      local kind = word(first, last)
      if owner == "source" then
        encodings[object] = kind
        if kind == "file" then features.stored_input = true end
        settle(object)
      elseif (owner == "content" or owner == "messages") and PART_FEATURES[kind] then
        local feature = PART_FEATURES[kind]
        features[feature] = true
        if feature == "images" then parts.images = parts.images + 1 end
      elseif top == "tools" and owner == "tools" and not CLIENT_TOOLS[gsub(kind, "_%d+$", "")] then
        features.server_tools = true
      end
    elseif name == "url" then
      if owner == "image_url" and sub(text, first, first + 4) == "data:" then
        parts.data_bytes = parts.data_bytes + last - first + 1
      end
    elseif name == "data" then
      if owner == "input_audio" then
        parts.data_bytes = parts.data_bytes + last - first + 1
      elseif owner == "source" or owner == "inlineData" or owner == "inline_data" then
        pending[object] = last - first + 1
        settle(object)
      end
    elseif name == "file_data" then
      if owner == "file" then parts.data_bytes = parts.data_bytes + last - first + 1 end
    elseif name == "file_id" or (name == "id" and owner == "audio") then
      features.stored_input = true
    elseif name == "ttl" then
      if owner == "cache_control" and word(first, last) == "1h" then features.cache_1h = true end
    elseif (name == "mimeType" or name == "mime_type") and (owner == "inlineData" or owner == "inline_data") then
      local kind = word(first, last)
      encodings[object] = kind
      count_media(kind)
      settle(object)
    end
  end

  return parts
end

local function inspect_openai(body, request, features)
  request.model = check_model(read_string(body, "model"))
  request.stream = read_boolean(body, "stream") or false
  local options = read_object(body, "stream_options")
  request.include_usage = options and read_boolean(options, "include_usage") or false
  request.max_output_tokens = larger(read_count(body, "max_tokens"), read_count(body, "max_completion_tokens"))
  request.choices = read_count(body, "n")
  features.tools = filled(body, "tools") or filled(body, "functions")
  features.response_format = present(body, "response_format")
  features.thinking = present(body, "reasoning_effort")
  if present(body, "audio") then features.audio = true end
  if present(body, "web_search_options") then features.server_tools = true end
  return { "messages" }
end

local function inspect_anthropic(body, request, features)
  request.model = check_model(read_string(body, "model"))
  request.stream = read_boolean(body, "stream") or false
  request.max_output_tokens = read_count(body, "max_tokens")
  features.tools = filled(body, "tools")
  features.response_format = present(body, "output_config") or present(body, "output_format")
  features.thinking = present(body, "thinking")
  request.thinking_tokens = read_budget(read_object(body, "thinking"), "budget_tokens")
  if filled(body, "mcp_servers") then features.server_tools = true end
  if present(body, "cache_control") then features.cache_control = true end
  return { "system", "messages" }
end

-- Gemini reads both spellings of each name; a body with both could mean either.
local function either(body, camel, snake)
  if body.first[camel] and body.first[snake] then refuse("'" .. camel .. "' appears twice.", camel) end
  return body.first[snake] and snake or camel
end

local function inspect_gemini(body, request, features, path)
  local model, action = match(path, "^/v1[^/]*/models/(.+):(%a+)$")
  model = model and model:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end)
  request.model = check_model(model)
  request.stream = action == "streamGenerateContent"
  local generation = read_object(body, either(body, "generationConfig", "generation_config"))
  if generation then
    request.max_output_tokens = read_count(generation, either(generation, "maxOutputTokens", "max_output_tokens"))
    request.choices = read_count(generation, either(generation, "candidateCount", "candidate_count"))
    features.response_format = present(generation, either(generation, "responseSchema", "response_schema"))
      or present(generation, either(generation, "responseMimeType", "response_mime_type"))
      or present(generation, either(generation, "responseJsonSchema", "response_json_schema"))
    local thinking = read_object(generation, either(generation, "thinkingConfig", "thinking_config"))
    features.thinking = thinking ~= nil
    request.thinking_tokens = thinking and read_budget(thinking, either(thinking, "thinkingBudget", "thinking_budget"))
  end
  features.tools = filled(body, "tools")
  if present(body, either(body, "cachedContent", "cached_content")) then features.stored_input = true end
  return { either(body, "systemInstruction", "system_instruction"), "contents" }
end

local INSPECT = { openai = inspect_openai, anthropic = inspect_anthropic, gemini = inspect_gemini }

local function add_fingerprints(request, body, names)
  local conversation = ""
  for _, name in ipairs(names) do
    local first = body.first[name]
    if first then
      local room = PREFIXES[#PREFIXES][2] - #conversation
      conversation = conversation .. sub(body.text, first, math.min(body.last[name], first + room - 1))
    end
  end
  for _, prefix in ipairs(PREFIXES) do
    if #conversation < prefix[2] then return end
    request[prefix[1]] = fingerprint.of(conversation, prefix[2])
  end
end

local function body_print(text)
  local printed = text
  if #text > PRINTED_HEAD_BYTES + PRINTED_TAIL_BYTES then
    printed = sub(text, 1, PRINTED_HEAD_BYTES) .. sub(text, -PRINTED_TAIL_BYTES)
  end
  -- In whole words, and with the length, so that the filling makes no two bodies alike.
  local whole = printed .. string.rep(" ", -#printed % 8) .. string.format("%16d", #text)
  return fingerprint.of(whole, #whole)
end

local function join(features)
  local names = {}
  for name, used in pairs(features) do
    if used then names[#names + 1] = name end
  end
  if #names == 0 then return nil end
  table.sort(names)
  return table.concat(names, ",")
end

-- What the body says: the request's metadata, and the spans for `target.lua`. Pure, for the tests.
function inspect_body(text, dialect, path)
  if not utf8.is_valid(text) then refuse("The body is not UTF-8, in which JSON is written.") end
  local parts = new_parts(text)
  local body = scan(text, "body", WATCHED, parts.visit)
  local request = { dialect = dialect, body_bytes = #text }
  local conversation = INSPECT[dialect](body, request, parts.features, path)
  if request.choices == 1 then request.choices = nil end
  if parts.images > 0 then request.images = parts.images end
  if parts.data_bytes > 0 then request.data_uri_bytes = parts.data_bytes end
  request.features = join(parts.features)
  add_fingerprints(request, body, conversation)
  request.body_print = body_print(text)
  local spans = { bytes = #text, opening = body.opening }
  if dialect ~= "gemini" then
    spans.model_first, spans.model_last = body.first.model, body.last.model
    spans.options_first, spans.options_last = body.first.stream_options, body.last.stream_options
  end
  return request, spans
end

-- What may stand behind the media type, without its spaces.
local CONTENT_PARAMETERS = {
  [""] = true, ["charset=utf-8"] = true, ["charset=utf8"] = true, ['charset="utf-8"'] = true, ['charset="utf8"'] = true,
}

-- What is wrong with a content type, nil when it can only mean JSON in UTF-8. Pure, for the tests.
function content_type_problem(value)
  local media_type, parameters = match(lower(value), "^%s*([^%s;]*)%s*;?%s*([^;]-)%s*;?%s*$")
  if media_type ~= "application/json" then return "The content-type must be application/json." end
  if CONTENT_PARAMETERS[parameters] then return nil end
  return "The content-type must be application/json, with no parameter but charset=utf-8."
end

local function read_text(handle, headers)
  if (headers:get("content-encoding") or "identity") ~= "identity" then refuse("Compressed bodies are not supported.") end
  local problem = content_type_problem(headers:get("content-type") or "")
  if problem then refuse(problem) end
  -- What was checked is what is sent: no provider gets to read a spelling in its own way.
  headers:replace("content-type", "application/json")
  local buffer = handle:body(true)
  return buffer:getBytes(0, buffer:length())
end

local function publish(handle, dialect)
  local headers = handle:headers()
  local path = match(headers:get(":path"), "^[^?]*")
  local metadata = handle:streamInfo():dynamicMetadata()
  local client_request_id = headers:get("x-spendgate-client-request-id")
  if client_request_id then
    headers:remove("x-spendgate-client-request-id")
    metadata:set(SCAN, "client_request_id", sub(client_request_id, 1, CLIENT_REQUEST_ID_BYTES_MAX))
  end
  if headers:get(":method") ~= "POST" then
    -- The list of models, of which Anthropic's clients want a form of their own.
    metadata:set(REQUEST, "dialect", headers:get("anthropic-version") and "anthropic" or dialect)
    return
  end
  metadata:set(REQUEST, "dialect", dialect)
  local request, spans = inspect_body(read_text(handle, headers), dialect, path)
  -- The body arrived in between: what was fetched before is gone.
  metadata = handle:streamInfo():dynamicMetadata()
  for key, value in pairs(request) do metadata:set(REQUEST, key, value) end
  metadata:set(SCAN, "spans", spans)
end

local function dialect_of(handle)
  return refusal.dialect_of(handle:headers():get(":path"))
end

function envoy_on_request(handle)
  local known, dialect = pcall(dialect_of, handle)
  if not known then dialect = "openai" end
  local done, problem = pcall(publish, handle, dialect)
  if done then return end
  if type(problem) == "table" and problem.message then
    refusal.answer(handle, dialect, 400, "invalid_request", problem.message, problem.parameter)
  else
    handle:logErr("request_info: " .. tostring(problem))
    refusal.answer(handle, dialect, 503, "policy_unavailable", "The gateway cannot read this request now.")
  end
end
