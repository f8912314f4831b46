-- The opening of a stream: everything before its first content. Until that comes, another target can still answer. So
-- nothing passes before the stream has shown content, or something that nobody waits for; see envoy/README.md.

local ending = require("meter/ending")
local lines = require("meter/lines")
local reader = require("meter/reader")
local tables = require("usage/tables")

local opening = {}

local byte, find, sub = string.byte, string.find, string.sub

local QUOTE, LF, CR = 34, 10, 13
-- No opening is longer, in bytes, events or pieces. Somebody who waits for a long one should see that it goes on.
local BYTES_MAX, EVENTS_MAX, PIECES_MAX = 16384, 16, 32

-- What is known of an opening.
opening.PASSES = 200
-- The provider refused before it did anything. The router of calls reads it as any other 502.
opening.REFUSED = 502
-- It broke after the model may have worked. An unexplained error, because it may be billed.
opening.BROKE = 520

-- State for one stream. `name` is that of the meter's table.
function opening.new(name)
  local rules, found = tables[name] or tables.openai, {}
  return {
    rules = rules,
    found = found,
    reader = reader.new(rules.wanted, found),
    held = "",
    from = 1,
    events = 0,
    pieces = 0,
  }
end

-- Whether an event has some of the model's output.
local function has_content(rules, event)
  local markers = rules.content
  for index = 1, #markers do
    local marker = markers[index]
    local at = find(event, marker, 1, true)
    if at and byte(event, at + #marker) ~= QUOTE then return true end
  end
  return false
end

-- The verdict of one event; nil if it has none.
local function judge(state, event)
  local rules, found = state.rules, state.found
  local data = lines.data_of(event, 1, #event)
  -- Comments are no events.
  if data ~= "" then state.events = state.events + 1 end
  reader.restart(state.reader)
  reader.feed(state.reader, data)
  local kind = found.type
  found.type = nil
  if found.error or ending.is_named_error(event) or (kind and rules.failures[kind]) then
    return state.events <= 1 and opening.REFUSED or opening.BROKE
  end
  local has_ended = found.finish or (kind and rules.last[kind]) or data == " [DONE]" or data == "[DONE]"
  if has_ended or state.events >= EVENTS_MAX or has_content(rules, event) then return opening.PASSES end
end

-- The verdict of the complete events that are still unread; nil while there is none.
local function read(state)
  local text = state.held
  while true do
    local from = state.from
    local code = byte(text, from)
    while code == LF or code == CR do
      from = from + 1
      code = byte(text, from)
    end
    state.from = from
    local last = lines.event_end(text, from)
    if not last then return nil end
    state.from = last + 1
    local verdict = judge(state, sub(text, from, last))
    if verdict then return verdict end
  end
end

-- Takes `bytes`, which are empty at the end. Returns what to pass on, and the verdict; nil while there is none.
function opening.feed(state, bytes)
  local held = state.held .. bytes
  state.held = held
  if bytes == "" then return held, opening.BROKE end
  local verdict = read(state)
  state.pieces = state.pieces + 1
  if not verdict and (#held > BYTES_MAX or state.pieces >= PIECES_MAX) then verdict = opening.PASSES end
  if not verdict then return "", nil end
  return held, verdict
end

return opening
