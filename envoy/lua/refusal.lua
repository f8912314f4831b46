-- Refusals by our own scripts, each in the envelope of the client's dialect.

local json = require("json")
local paths = require("paths")

local refusal = {}

-- Any other status is named by its class.
local ANTHROPIC_TYPES = {
  [402] = "billing_error", [404] = "not_found_error", [408] = "timeout_error", [413] = "request_too_large",
  [429] = "rate_limit_error", [504] = "timeout_error", [529] = "overloaded_error",
}
local GEMINI_STATUSES = {
  [404] = "NOT_FOUND", [408] = "DEADLINE_EXCEEDED", [409] = "ABORTED", [429] = "RESOURCE_EXHAUSTED",
  [504] = "DEADLINE_EXCEEDED",
}

local function read_dialect(handle)
  local headers = handle:headers()
  return paths.dialect_of(headers:get(":path"), headers)
end

-- The dialect of the current request. If it is unknown: OpenAI's, which most clients can read.
function refusal.dialect_of_request(handle)
  local known, dialect = pcall(read_dialect, handle)
  return known and dialect or "openai"
end

-- The body of an error. `parameter` names the offending field; nil if there is none.
function refusal.body(dialect, status, code, message, parameter, request_id)
  message = json.quote(message)
  local ours = status >= 500
  if dialect == "anthropic" then
    local kind = ANTHROPIC_TYPES[status] or (ours and "api_error" or "invalid_request_error")
    return '{"type":"error","error":{"type":"' .. kind .. '","message":' .. message
      .. '},"request_id":' .. json.quote(request_id) .. "}"
  end
  if dialect == "gemini" then
    local name = GEMINI_STATUSES[status] or (ours and "UNAVAILABLE" or "INVALID_ARGUMENT")
    return '{"error":{"code":' .. status .. ',"message":' .. message .. ',"status":"' .. name .. '"}}'
  end
  return '{"error":{"message":' .. message .. ',"type":"' .. (ours and "server_error" or "invalid_request_error")
    .. '","param":' .. (parameter and json.quote(parameter) or "null") .. ',"code":"' .. code .. '"}}'
end

local function respond(handle, dialect, status, code, message, parameter)
  local request_id = handle:headers():get("x-request-id") or ""
  local headers = { [":status"] = tostring(status), ["content-type"] = "application/json" }
  if status == 503 then headers["retry-after"] = "1" else headers["x-should-retry"] = "false" end
  handle:respond(headers, refusal.body(dialect, status, code, message, parameter, request_id))
end

-- Ends the request with an error. Does not return. Even if the wording fails, the request ends, because Envoy lets a
-- request pass when a script raises.
function refusal.answer(handle, dialect, status, code, message, parameter)
  pcall(respond, handle, dialect, status, code, message, parameter)
  handle:respond({ [":status"] = tostring(status) }, "")
end

-- Ends a request after a script failed, in the client's dialect if that is known. Does not return.
function refusal.answer_unreadable(handle)
  refusal.answer(handle, refusal.dialect_of_request(handle), 503, "policy_unavailable",
    "The gateway cannot read this request now.")
end

return refusal
