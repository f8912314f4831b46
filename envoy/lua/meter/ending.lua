-- How a stream ends, and what its client is told if it ends badly. SDKs take the end of a connection for the end of an
-- answer, so a stream that broke must say so.

local refusal = require("refusal")

local ending = {}

local byte, find, sub = string.byte, string.find, string.sub

local LF, CR, SPACE, QUOTE, COLON, SMALL_N = 10, 13, 32, 34, 58, 110

-- The error of an answer that ended without its end mark, or within an event.
ending.EARLY = "ended_early"
-- An error without a name.
ending.UNNAMED = "unnamed"

-- Where the official SDKs of a dialect look for an error: in the name of an event, or at the beginning of its data.
local READ_AT = { anthropic = "^event: ?error", openai = '^data: ?{"error"', gemini = '^data: {"error"' }

-- Whether the SDKs of `dialect` raise at this event, which carries an error.
function ending.is_read(dialect, event)
  if find(event, READ_AT[dialect]) then return true end
  -- OpenAI's Responses say it in an event of their own.
  return dialect == "openai" and find(event, '"type": ?"response%.failed"') ~= nil
end

-- An event that makes the SDKs of the client's dialect raise. `client` is that of `answer.new`.
function ending.event(client)
  local message = "The provider " .. client.provider .. " did not complete its answer: the stream broke off."
  local body = refusal.body(client.dialect, 502, "upstream_error", message, nil, "")
  return (client.dialect == "anthropic" and "event: error\n" or "") .. "data: " .. body .. "\n\n"
end

-- Whether all that was asked for has come. `choices` is how many answers the client asked for.
function ending.is_whole(stream, choices)
  if stream.over then return true end
  if stream.broken or not stream.dialect.finish_ends then return false end
  local found = stream.found
  return found.finish ~= nil and (found.finished or 1) >= choices
end

-- Whether an event calls itself an error, whatever its data is.
function ending.is_named_error(event)
  local at = find(event, "event: ?error")
  local before = at and at > 1 and byte(event, at - 1) or LF
  return at ~= nil and (before == LF or before == CR)
end

-- Whether an event with content also has one of the members `names`, other than null. Each name includes the quote
-- after it, so that no text can fake it.
function ending.has_member(event, names)
  for index = 1, #names do
    local name = names[index]
    local at = find(event, name, 1, true)
    while at do
      local stop = at + #name
      local code = byte(event, stop)
      while code == SPACE or code == COLON do
        stop = stop + 1
        code = byte(event, stop)
      end
      local is_empty = code == QUOTE and byte(event, stop + 1) == QUOTE
      if code ~= SMALL_N and not is_empty then return true end
      at = find(event, name, stop, true)
    end
  end
  return false
end

return ending
