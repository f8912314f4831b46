-- Adapts a request to one provider, once for each attempt, and its answer to what the client may see. All attempts
-- share the header map, so each run sets everything that an earlier one may have set. Keys of the metadata:
-- AdmissionKey, TargetKey, ScanKey and AttemptKey in services/kernel/envoy_contract.py.
--
-- The builder of clusters puts a table PROVIDER in front of this text, and chooses the module `translator`:
-- services/router/adapters/envoy_resources_headers.py, envoy_resources_scripts.py.

local headers = require("headers")
local mask = require("mask")
local opening = require("opening")
local pieces = require("pieces")
local provider_error = require("provider_error")
local refusal = require("refusal")
local rewrite = require("rewrite")
local traceparent = require("traceparent")
-- What fits the cluster: a module of envoy/lua/translate.
local translator = require("translator")

local ADMISSION, SCAN, ATTEMPT = "envoy.filters.http.ext_authz", "spendgate.scan", "spendgate.attempt"

local find, lower, match = string.find, string.lower, string.match
-- For an answer that the provider may bill although no client can read it: an error that nobody explains.
local UNREADABLE = 520
-- The provider's credentials, the newest first. A cluster has one provider, and each cluster loads its own script.
local credentials = {}

-- Records a dropped header for the log of the call.
local function reporter(handle, direction)
  return function(name)
    local metadata = handle:streamInfo():dynamicMetadata()
    local attempt = metadata:get(ATTEMPT)
    local provider = match(attempt.made.target, "^[^/]+")
    metadata:set(ATTEMPT, "dropped", headers.add_dropped(attempt.dropped, provider, direction, name))
  end
end

-- Keeps only headers that this provider may see. Headers for another provider are set aside for its own attempt.
local function send_allowed(handle, map, metadata)
  local report = reporter(handle, ">")
  headers.keep(map, PROVIDER.to_provider, PROVIDER.expected_from_client, function(name)
    if PROVIDER.others[name] then
      local kept = metadata:get(ATTEMPT).kept or {}
      kept[name] = map:get(name)
      metadata:set(ATTEMPT, "kept", kept)
    else
      report(name)
    end
  end)
  if PROVIDER.added[1] then
    local kept = metadata:get(ATTEMPT).kept or {}
    for _, name in ipairs(PROVIDER.added) do
      if kept[name] and not map:get(name) then map:add(name, kept[name]) end
    end
  end
  for name, value in pairs(PROVIDER.set) do map:replace(name, value) end
end

local function read_body(handle, scanned)
  local buffer = handle:body(true)
  local text = buffer:getBytes(0, buffer:length())
  if #text ~= scanned.bytes then error("the body is not the one that was scanned") end
  return text, buffer
end

local function send_body(handle, buffer, text)
  buffer:setBytes(text)
  handle:headers():replace("content-length", tostring(#text))
end

-- Sends the request in the provider's dialect, and leaves what its answer's translation needs.
local function translate(handle, made, target, scanned, request_id)
  local text, buffer = read_body(handle, scanned)
  local facts = target.translation
  facts.model = target.model
  local known
  text, known = translator.write(text, facts)
  for name, value in pairs(known) do made[name] = value end
  made.direction, made.client, made.request_id = translator.direction, scanned.dialect, request_id
  -- The provider's answer is one of its chat.
  made.dialect, made.meter = translator.dialect, nil
  made.stream, made.include_usage = scanned.stream, scanned.include_usage
  handle:streamInfo():dynamicMetadata():set(ATTEMPT, "made", made)
  send_body(handle, buffer, text)
end

local function prepare(handle)
  local map = handle:headers()
  local credential = PROVIDER.credential_header and map:get(PROVIDER.credential_header)
  if credential then mask.remember(credentials, credential) end
  local metadata = handle:streamInfo():dynamicMetadata()
  -- Each look costs a table of all that a namespace holds, and each entry a struct that is merged. So both are few.
  local admission, scanned = metadata:get(ADMISSION), metadata:get(SCAN).scanned
  local attempt = tonumber(map:get("x-envoy-attempt-count"))
  local target = admission.targets[attempt]
  map:replace(":authority", target.host)
  map:replace(":path", target.path)
  -- For the log of attempts. Envoy sends no name with a colon over HTTP/1.1.
  map:replace(":spendgate-target", target.name)
  if scanned.operation then map:replace(":spendgate-operation", scanned.operation) end
  local made = {
    target = target.name,
    number = attempt,
    dialect = scanned.dialect,
    meter = scanned.meter,
    -- Gemini also streams a growing array of JSON.
    events = scanned.stream and (scanned.dialect ~= "gemini" or find(target.path, "alt=sse", 1, true) ~= nil) or nil,
    choices = scanned.choices,
    -- For `hold`: another target can still answer.
    is_held = admission.targets[attempt + 1] ~= nil and scanned.stream or nil,
    downgraded = admission.downgraded,
    strip_usage = admission.strip_usage or nil,
  }
  metadata:set(ATTEMPT, "made", made)
  local request_id = map:get("x-request-id")
  local span = traceparent.of_attempt(admission.traceparent, attempt, request_id)
  if span then map:replace("traceparent", span) end
  send_allowed(handle, map, metadata)
  if translator.write then return translate(handle, made, target, scanned, request_id) end

  local force_usage = target.include_usage and scanned.stream and not scanned.include_usage
  local wanted = {
    model = target.model ~= scanned.model and target.model or nil,
    output_cap = target.output_cap,
    output_cap_field = target.output_cap_field,
  }
  if not (wanted.model or force_usage or wanted.output_cap) then
    map:replace("content-length", string.format("%.0f", scanned.bytes))
    return
  end
  local text, buffer = read_body(handle, scanned)
  send_body(handle, buffer, rewrite.body(text, wanted, scanned, force_usage))
end

local function read_dialect(handle)
  return handle:streamInfo():dynamicMetadata():get(SCAN).scanned.dialect
end

local function dialect_of(handle)
  local known, dialect = pcall(read_dialect, handle)
  return known and dialect or "openai"
end

function envoy_on_request(handle)
  local done, problem = pcall(prepare, handle)
  if done then return end
  if type(problem) == "table" and problem.message then
    -- Only a translator says what is wrong with a request. Quota keeps such targets out of the chain as far as it can.
    refusal.answer(handle, dialect_of(handle), 400, "unsupported_by_provider", problem.message, problem.parameter)
  end
  handle:logErr("target: " .. tostring(problem))
  refusal.answer(handle, dialect_of(handle), 503, "upstream_unavailable",
    "The gateway cannot reach a provider for this request.")
end

-- The gateway's own answer in place of a provider's. The provider's headers are already removed.
local function replace(handle, status, code, message)
  local body = refusal.body(dialect_of(handle), status, code, message, nil, "")
  local map = handle:headers()
  map:replace(":status", tostring(status))
  map:replace("content-type", "application/json")
  map:replace("content-length", tostring(#body))
  map:remove("content-encoding")
  map:remove("transfer-encoding")
  handle:body(true):setBytes(body)
end

-- A provider's own error passes, without the credentials that its text may quote.
local function pass_error(handle, map, status, provider)
  local kind = map:get("content-type") or ""
  local readable = (map:get("content-encoding") or "identity") == "identity"
  local message = "The provider " .. provider .. " answered with status " .. status
    .. "; what it says of it is compressed, or too long to be shown."
  local dialect = dialect_of(handle)
  local envelope = refusal.body(dialect, status, "upstream_error", message, nil, "")
  local translated = translator.error and function(text) return translator.error(dialect, status, text, message) end
  if translated or not readable then
    map:replace("content-type", "application/json")
    map:remove("content-encoding")
  end
  map:remove("content-length")
  -- The head is sent before the body is known, although it describes the body.
  local says_json = translated or not readable or find(kind, "^application/json")
  local state = provider_error.new(readable, says_json and envelope or message, translated)
  pieces.each(handle, function(bytes)
    local done, sent = pcall(provider_error.feed, state, bytes, credentials)
    return done and sent or ""
  end)
end

-- Whether the head says that no body follows.
local function is_empty(map)
  return map:get("content-length") == "0" or map:get(":status") == "204"
end

-- The gateway's own answer in place of one that is no stream although one was asked for. SDKs would see a stream
-- without events. It may be long, so it is not held.
local function refuse_document(handle, map, provider)
  local message = "The provider " .. provider .. " answered without a stream of events, although one was asked for."
  if is_empty(map) then return replace(handle, UNREADABLE, "upstream_error", message) end
  local body = refusal.body(dialect_of(handle), UNREADABLE, "upstream_error", message, nil, "")
  map:replace(":status", tostring(UNREADABLE))
  map:replace("content-type", "application/json")
  map:remove("content-length")
  map:remove("content-encoding")
  for chunk in handle:bodyChunks() do
    chunk:setBytes(body)
    body = ""
  end
end

-- If a provider refuses our credential, the client must not think that its own is wrong. If a provider redirects, the
-- client must not follow: its prompt would go along, past the gateway. Returns whether the answer is a good stream.
local function adjust(handle)
  local map = handle:headers()
  local status = tonumber(map:get(":status"))
  headers.keep(map, PROVIDER.to_client, PROVIDER.expected_from_provider, reporter(handle, "<"))
  local is_answer = status >= 200 and status < 300
  local is_stream = find(lower(map:get("content-type") or ""), "^text/event%-stream") ~= nil
  if is_answer and is_stream and not is_empty(map) then return true end
  local metadata = handle:streamInfo():dynamicMetadata()
  local attempt = metadata:get(ATTEMPT)
  local is_document = is_answer and attempt.made.events
  if is_answer and not is_document then return end
  local targets = metadata:get(ADMISSION).targets
  local provider = match(attempt.made.target, "^[^/]+")
  local elsewhere = not is_document and (status < 400 or status > 599)
  local refused = status == 401 or status == 403
  local next_may_serve = is_document or status >= 500 or status == 429 or refused
  if elsewhere or (next_may_serve and #targets > 1 and attempt.made.number == #targets) then
    map:replace("x-should-retry", "false")
  end
  if elsewhere or refused then map:replace("x-spendgate-provider-status", tostring(status)) end
  if is_document then
    refuse_document(handle, map, provider)
  elseif elsewhere then
    replace(handle, 502, "upstream_unavailable", "The provider " .. provider .. " answered with status " .. status
      .. ", which is neither an answer nor an error. A redirect is not followed: its base_url may be wrong.")
  elseif refused then
    replace(handle, 502, "upstream_unavailable", "The provider " .. provider
      .. " refused the gateway's credential with status " .. status .. ".")
  else
    pass_error(handle, map, status, provider)
  end
end

-- Passes nothing on of a stream before its opening is known, and then says what it is.
local function watch(handle)
  local made = handle:streamInfo():dynamicMetadata():get(ATTEMPT).made
  if not made.is_held then return end
  local state = opening.new(made.meter or made.dialect)
  for chunk in handle:bodyChunks() do
    local length = chunk:length()
    local bytes = length > 0 and chunk:getBytes(0, length) or ""
    local before = state.held
    local done, sent, status = pcall(opening.feed, state, bytes)
    if not done then
      handle:logErr("target: " .. tostring(sent))
      sent, status = before .. bytes, opening.PASSES
    end
    if sent ~= bytes then chunk:setBytes(sent) end
    if status then
      local found = { number = made.number, status = status }
      handle:streamInfo():dynamicMetadata():set(ATTEMPT, "opening", found)
      return
    end
  end
end

-- If the script cannot check an answer, no part of it passes.
local function withhold(handle)
  local map = handle:headers()
  headers.keep(map, {}, { names = {}, prefixes = {} }, function() end)
  replace(handle, 502, "upstream_unavailable", "The gateway cannot pass on the provider's answer.")
end

function envoy_on_response(handle)
  local done, result = pcall(adjust, handle)
  if done and result then done, result = pcall(watch, handle) end
  if done then return end
  handle:logErr("target: " .. tostring(result))
  local withheld, worse = pcall(withhold, handle)
  if not withheld then handle:logErr("target: " .. tostring(worse)) end
end
