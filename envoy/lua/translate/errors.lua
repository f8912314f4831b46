-- Writes a provider's error in the other dialect. Both have a message within `error`; only its envelope differs.

local document = require("translate/document")
local readable = require("translate/readable")
local refusal = require("refusal")

local errors = {}

-- By Messages' type of an error: the status that it comes with, and what Chat's clients read in `code`.
local TYPES = {
  invalid_request_error = { 400, "invalid_request" },
  authentication_error = { 401, "invalid_api_key" },
  billing_error = { 402, "insufficient_quota" },
  permission_error = { 403, "permission_denied" },
  not_found_error = { 404, "model_not_found" },
  request_too_large = { 413, "request_too_large" },
  rate_limit_error = { 429, "rate_limit_exceeded" },
  timeout_error = { 504, "timeout" },
  overloaded_error = { 529, "overloaded" },
  api_error = { 500, "upstream_error" },
}
local UNKNOWN = { 500, "upstream_error" }

local function text_of(object, name)
  local value = object[name]
  return document.is_string(value) and document.plain(value) or nil
end

-- What a provider's error says: its message, its type and its code, each nil if it says none.
local function said_in(object)
  local said = object.error
  if not document.is_object(said) then return text_of(object, "error") or text_of(object, "message") end
  return text_of(said, "message"), text_of(said, "type"), text_of(said, "code")
end

local function read(text)
  readable.check(text)
  return document.read(text)
end

-- The body of an answer with this status to a client of `dialect`. `instead` is what it says if nobody can read the
-- provider's text.
function errors.body(dialect, status, text, instead, request_id)
  local readable, object = pcall(read, text)
  local message, kind, code
  if readable and document.is_object(object) then message, kind, code = said_in(object) end
  code = code or (TYPES[kind] or UNKNOWN)[2]
  return refusal.body(dialect, status, code, message or instead, nil, request_id or "")
end

-- The error within a stream, in an event of the provider.
function errors.of_event(dialect, object, request_id)
  local message, kind, code = said_in(object)
  local known = TYPES[kind] or UNKNOWN
  return refusal.body(dialect, known[1], code or known[2], message or "The provider ended the stream with an error.",
    nil, request_id or "")
end

return errors
