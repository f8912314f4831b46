-- Writes what the line of a call says about its answer: a text for a JSON object, which the log passes on as it is.
-- Keys: UsageKey and SeenKey in services/kernel/spool_contract.py.

local line_text = require("line_text")

local usage_line = {}

local SEEN = "'seen':{'events':%.0f,'content':%.0f,'text':%.0f,'bytes':%.0f}"

-- One figure of the line: a whole number, or a provider's word.
function usage_line.member(name, value)
  local text = type(value) == "number" and string.format("%.0f", value) or line_text.quote(value)
  return "'" .. name .. "':" .. text
end

-- The evidence of a stream.
function usage_line.seen(seen)
  return string.format(SEEN, seen.events, seen.content, seen.text, seen.bytes)
end

-- The line of an answer about which nothing is known but the state of the meter.
function usage_line.state(state)
  return "{'meter':'" .. state .. "'}"
end

return usage_line
