-- Refusals by our own scripts, each in the envelope of the client's dialect.

local json = require("json")

local refusal = {}

local ANTHROPIC_TYPES = { [400] = "invalid_request_error", [502] = "api_error", [503] = "api_error" }
local GEMINI_STATUSES = { [400] = "INVALID_ARGUMENT", [502] = "UNAVAILABLE", [503] = "UNAVAILABLE" }

-- The dialect in which to answer a request for `path`.
function refusal.dialect_of(path)
  if string.sub(path, 1, 12) == "/v1/messages" then return "anthropic" end
  if string.sub(path, 1, 8) == "/v1beta/" or string.find(path, "^/v1/models/[^?]*:") then return "gemini" end
  return "openai"
end

-- The body of an error. `parameter` names the offending field, nil when there is none.
function refusal.body(dialect, status, code, message, parameter, request_id)
  message = json.quote(message)
  if dialect == "anthropic" then
    return '{"type":"error","error":{"type":"' .. ANTHROPIC_TYPES[status] .. '","message":' .. message
      .. '},"request_id":' .. json.quote(request_id) .. "}"
  end
  if dialect == "gemini" then
    return '{"error":{"code":' .. status .. ',"message":' .. message .. ',"status":"' .. GEMINI_STATUSES[status] .. '"}}'
  end
  return '{"error":{"message":' .. message .. ',"type":"' .. (status < 500 and "invalid_request_error" or "server_error")
    .. '","param":' .. (parameter and json.quote(parameter) or "null") .. ',"code":"' .. code .. '"}}'
end

local function respond(handle, dialect, status, code, message, parameter)
  local request_id = handle:headers():get("x-request-id") or ""
  local headers = { [":status"] = tostring(status), ["content-type"] = "application/json" }
  if status == 503 then headers["retry-after"] = "1" end
  handle:respond(headers, refusal.body(dialect, status, code, message, parameter, request_id))
end

-- Ends the request with an error. Does not return. Should even the words fail, the request still ends: Envoy lets a
-- request pass when a script raises.
function refusal.answer(handle, dialect, status, code, message, parameter)
  pcall(respond, handle, dialect, status, code, message, parameter)
  handle:respond({ [":status"] = tostring(status) }, "")
end

return refusal
