-- Turns a request into what one provider wants, once for each attempt. The header map is shared by all attempts: each
-- run sets everything that an earlier one may have set. Keys of the metadata: AdmissionKey, TargetKey, ScanKey and
-- AttemptKey in services/kernel/envoy_contract.py.

local json = require("json")
local refusal = require("refusal")

local ADMISSION, REQUEST, SCAN = "envoy.filters.http.ext_authz", "spendgate.request", "spendgate.scan"
local ATTEMPT = "spendgate.attempt"
local OUTPUT_CAPS = { "max_tokens", "max_completion_tokens" }

local sub = string.sub

-- Text edits that do not overlap, applied in one pass.
local function apply(text, edits)
  table.sort(edits, function(one, other) return one.first < other.first end)
  local parts, from = {}, 1
  for _, edit in ipairs(edits) do
    parts[#parts + 1] = sub(text, from, edit.first - 1)
    parts[#parts + 1] = edit.text
    from = edit.last + 1
  end
  parts[#parts + 1] = sub(text, from)
  return table.concat(parts)
end

local function replacing(first, last, text)
  return { first = first, last = last, text = text }
end

-- A member at the front of the object that opens at `opening` and is not empty.
local function inserting(opening, name, value)
  return { first = opening + 1, last = opening, text = json.quote(name) .. ":" .. value .. "," }
end

-- `options` (the text of stream_options, nil when there is none) with include_usage true.
function with_usage(options)
  if not options or options == "null" then return '{"include_usage":true}' end
  local first, last, _, opening = json.scan(options)
  if not first then error("stream_options: " .. last) end
  if first.include_usage then
    return apply(options, { replacing(first.include_usage, last.include_usage, "true") })
  end
  if next(first) == nil then return '{"include_usage":true}' end
  return apply(options, { inserting(opening, "include_usage", "true") })
end

-- The bound for a spelling that says something already: a smaller one stays.
local function lowered(text, first, last, cap)
  local own = tonumber(sub(text, first, last))
  return own and own < tonumber(cap) and sub(text, first, last) or cap
end

-- Edits that bound the output of an OpenAI or Anthropic body. Every spelling that is there gets the bound, since a
-- provider may heed any of them; `field` is there afterwards.
local function cap_members(edits, text, field, cap)
  local first, last, start, opening = json.scan(text)
  if not first then error("body: " .. last) end
  local named = false
  for _, name in ipairs(OUTPUT_CAPS) do
    named = named or (name == field and first[name] ~= nil)
  end
  for _, name in ipairs(OUTPUT_CAPS) do
    if first[name] then
      local kept = named and name or field
      local bound = lowered(text, first[name], last[name], cap)
      edits[#edits + 1] = replacing(start[name], last[name], json.quote(kept) .. ":" .. bound)
      named = true
    end
  end
  if not named then edits[#edits + 1] = inserting(opening, field, cap) end
end

-- The same for Gemini, where the bound stands one level deeper: `outer` is generationConfig.
local function cap_nested(edits, text, outer, inner, cap)
  local first, last, _, opening = json.scan(text)
  if not first then error("body: " .. last) end
  local snake_outer, snake_inner = "generation_config", "max_output_tokens"
  local at, till = first[outer] or first[snake_outer], last[outer] or last[snake_outer]
  local fresh = "{" .. json.quote(inner) .. ":" .. cap .. "}"
  if not at then
    edits[#edits + 1] = inserting(opening, outer, fresh)
    return
  end
  local config = sub(text, at, till)
  if config == "null" then
    edits[#edits + 1] = replacing(at, till, fresh)
    return
  end
  local first_in, last_in, _, opening_in = json.scan(config)
  if not first_in then error("generationConfig: " .. last_in) end
  local name = first_in[inner] and inner or (first_in[snake_inner] and snake_inner)
  if name then
    config = apply(config, { replacing(first_in[name], last_in[name], cap) })
  elseif next(first_in) == nil then
    config = fresh
  else
    config = apply(config, { inserting(opening_in, inner, cap) })
  end
  edits[#edits + 1] = replacing(at, till, config)
end

-- The body for one attempt. Pure, for the tests.
function rewrite(text, target, spans, force_usage)
  local edits = {}
  if target.model then
    edits[#edits + 1] = replacing(spans.model_first, spans.model_last, json.quote(target.model))
  end
  if force_usage then
    local at = spans.options_first
    local options = with_usage(at and sub(text, at, spans.options_last))
    edits[#edits + 1] = at and replacing(at, spans.options_last, options)
      or inserting(spans.opening, "stream_options", options)
  end
  if target.output_cap then
    local cap = string.format("%.0f", target.output_cap)
    local outer, inner = string.match(target.output_cap_field, "^([^.]+)%.(.+)$")
    if outer then
      cap_nested(edits, text, outer, inner, cap)
    else
      cap_members(edits, text, target.output_cap_field, cap)
    end
  end
  return apply(text, edits)
end

local function prepare(handle)
  local headers = handle:headers()
  local metadata = handle:streamInfo():dynamicMetadata()
  local admission, request = metadata:get(ADMISSION), metadata:get(REQUEST)
  local spans = metadata:get(SCAN).spans
  local attempt = tonumber(headers:get("x-envoy-attempt-count"))
  local target = admission.targets[attempt]
  headers:replace(":authority", target.host)
  headers:replace(":path", target.path)
  metadata:set(ATTEMPT, "target", target.name)
  metadata:set(ATTEMPT, "number", attempt)
  if admission.decision == "downgrade" then metadata:set(ATTEMPT, "downgraded", "budget") end
  if admission.strip_usage then metadata:set(ATTEMPT, "strip_usage", true) end

  local force_usage = target.include_usage and request.stream and not request.include_usage
  local wanted = {
    model = target.model ~= request.model and target.model or nil,
    output_cap = target.output_cap,
    output_cap_field = target.output_cap_field,
  }
  if not (wanted.model or force_usage or wanted.output_cap) then
    headers:replace("content-length", string.format("%.0f", spans.bytes))
    return
  end
  local buffer = handle:body(true)
  local text = buffer:getBytes(0, buffer:length())
  if #text ~= spans.bytes then error("the body is not the one that was scanned") end
  text = rewrite(text, wanted, spans, force_usage)
  buffer:setBytes(text)
  handle:headers():replace("content-length", tostring(#text))
end

local function dialect_of(handle)
  return handle:streamInfo():dynamicMetadata():get(REQUEST).dialect
end

function envoy_on_request(handle)
  local done, problem = pcall(prepare, handle)
  if done then return end
  handle:logErr("target: " .. tostring(problem))
  local known, dialect = pcall(dialect_of, handle)
  refusal.answer(handle, known and dialect or "openai", 503, "upstream_unavailable", "The gateway cannot reach a provider for this request.")
end

-- A provider that refuses our credential must not look to the client as if its own were wrong, and the text of such a
-- refusal may quote the credential.
local function adjust(handle)
  local headers = handle:headers()
  local status = tonumber(headers:get(":status"))
  if status < 400 then return end
  local metadata = handle:streamInfo():dynamicMetadata()
  local attempt, targets = metadata:get(ATTEMPT), metadata:get(ADMISSION).targets
  if (status >= 500 or status == 429 or status == 401 or status == 403) and #targets > 1 and attempt.number == #targets then
    headers:replace("x-should-retry", "false")
  end
  if status ~= 401 and status ~= 403 then return end
  local dialect = dialect_of(handle)
  local body = refusal.body(dialect, 502, "upstream_unavailable", "The provider refused the gateway's credential.", nil, "")
  headers:replace(":status", "502")
  headers:replace("content-type", "application/json")
  headers:replace("content-length", tostring(#body))
  headers:remove("content-encoding")
  headers:remove("www-authenticate")
  handle:body(true):setBytes(body)
end

function envoy_on_response(handle)
  local done, problem = pcall(adjust, handle)
  if not done then handle:logErr("target: " .. tostring(problem)) end
end
