-- Finds what a body asks for, in one pass along the table of its dialect. Refuses bodies that could be read in two
-- ways.

local json = require("json")
local fingerprint = require("fingerprint")
local paths = require("paths")
local utf8 = require("utf8")
local secret = require("secret")
local shape = require("dialect/shape")
local found = require("dialect/found")
local value = require("dialect/value")
local openai = require("dialect/openai")
local anthropic = require("dialect/anthropic")
local completions = require("dialect/completions")
local counting = require("dialect/counting")
local gemini = require("dialect/gemini")
local gemini_embedding = require("dialect/gemini_embedding")
local gemini_embeddings = require("dialect/gemini_embeddings")
local openai_embeddings = require("dialect/openai_embeddings")
local responses = require("dialect/responses")

local scan = {}

local MODEL_BYTES_MAX = 256
local PREFIXES = { { "prefix_1k", 1024 }, { "prefix_4k", 4096 }, { "prefix_16k", 16384 }, { "prefix_64k", 65536 } }

-- The beginning and end suffice for a longer body, because conversations grow at their end.
local PRINTED_HEAD_BYTES, PRINTED_TAIL_BYTES = 61424, 4096

local refuse = value.refuse
local find = string.find

-- By their names in the table of endpoints.
local TABLES = {
  openai = openai,
  anthropic = anthropic,
  completions = completions,
  counting = counting,
  gemini = gemini,
  gemini_embedding = gemini_embedding,
  gemini_embeddings = gemini_embeddings,
  openai_embeddings = openai_embeddings,
  responses = responses,
}

local function check_model(model)
  if not model or model == "" then refuse("You must name a model.", "model") end
  if not utf8.is_valid(model) then refuse("The name of the model is not UTF-8.", "model") end
  if #model > MODEL_BYTES_MAX then refuse("The name of the model is too long.", "model") end
  if secret.looks_like(model) then refuse("The name of the model holds a key.", "model") end
  if find(model, "[%z\1-\31\127]") then refuse("The name of the model holds control characters.", "model") end
end

local function add_fingerprints(prints, body, text, names)
  fingerprint.clear()
  local size = 0
  for _, name in ipairs(names) do
    local first, last = shape.span(body, text, name)
    if first then size = fingerprint.add(text, first, last) end
  end
  for _, prefix in ipairs(PREFIXES) do
    if size < prefix[2] then return end
    prints[prefix[1]] = fingerprint.of(prefix[2])
  end
end

local function body_print(text)
  fingerprint.clear()
  if #text > PRINTED_HEAD_BYTES + PRINTED_TAIL_BYTES then
    fingerprint.add(text, 1, PRINTED_HEAD_BYTES)
    fingerprint.add(text, #text - PRINTED_TAIL_BYTES + 1, #text)
  else
    fingerprint.add(text, 1, #text)
  end
  -- With the length, so that padding makes no two bodies equal.
  local size = string.format("%16d", #text)
  return fingerprint.of(fingerprint.add(size, 1, #size))
end

local function above(count, least)
  return count and count > least and count or nil
end

-- Returns the request's metadata, what `target.lua` needs of it with the spans for `rewrite.lua`, and the fingerprints
-- by name. Raises like `value.refuse` if the body must be refused.
function scan.body(text, dialect, path)
  if not utf8.is_valid(text) then refuse("The body is not UTF-8, in which JSON is written.") end
  local call, model = paths.call_at(path)
  if not call then refuse("This path names no model, or none is called there.", "model") end
  local rules = TABLES[call.scan]
  local body, seen = rules.body, found.new()
  local opening, problem, parameter = json.walk(text, body, seen)
  if not opening then refuse("The body cannot be read: " .. problem .. ".", parameter) end
  local request = { dialect = dialect, operation = call.operation, body_bytes = #text, stream = call.stream }
  if model then request.model = paths.decoded(model) end
  rules.read(body, text, request, seen)
  -- As at Azure, the deployment decides. `target` writes the name that its provider knows, whatever the body has.
  local written = request.model
  if call.is_deployment then
    if find(text, "^%s*{%s*}%s*$") then refuse("The body is empty.") end
    request.model = paths.decoded(model)
  end
  check_model(request.model)
  request.choices = above(request.choices, 1)
  request.images = above(seen.images, 0)
  request.data_uri_bytes = above(seen.image_bytes, 0)
  request.audio_bytes = above(seen.audio_bytes, 0)
  request.growth_bytes = above(seen.growth, 0)
  request.features = found.features(seen)
  request.unknown_members = found.unknown_members(seen)
  request.price_options = found.price_options(seen)
  local prints = {}
  add_fingerprints(prints, body, text, rules.conversation)
  prints.body_print = body_print(text)
  local scanned = {
    dialect = dialect,
    operation = call.operation,
    meter = call.meter,
    model = written,
    stream = request.stream,
    include_usage = request.include_usage,
    choices = request.choices,
    bytes = #text,
    opening = opening,
  }
  if model and not call.is_deployment then
    -- Where a body may repeat the name of the path.
    scanned.models = call.operation and (seen.models or {})
  else
    local named, options = body.members.model, body.members.stream_options
    if named.seen_in == body.serial then scanned.model_first, scanned.model_last = named.first, named.last end
    if options and options.seen_in == body.serial then
      scanned.options_first, scanned.options_last = options.first, options.last
    end
  end
  return request, scanned, prints
end

return scan
