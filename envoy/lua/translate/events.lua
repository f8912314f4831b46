-- Takes the events out of a stream that arrives in pieces. Source:
-- https://html.spec.whatwg.org/multipage/server-sent-events.html
--
-- Only the data of an event matters here. It is one JSON text, so its lines may be joined by a space.

local events = {}

local byte, find, sub = string.byte, string.find, string.sub

local RETURN, SPACE, COLON = 13, 32, 58
-- A larger event is no event of these dialects. An image within one has a few megabytes.
local BYTES_MAX = 8 * 1024 * 1024
-- JSON has none of these within a string, and a line break in one would end the event that is written from it.
local CONTROLS = "[%z\1-\8\10-\31]"

function events.new()
  -- The pieces of a line that is not complete, with their bytes; the lines of data of the current event, with theirs.
  return { pieces = {}, held = 0, lines = {}, size = 0 }
end

local function fail(problem)
  error({ message = problem }, 0)
end

-- Handles one line, without what ends it.
local function read_line(stream, text, first, last, take, comment)
  if last < first then
    local lines = stream.lines
    if #lines == 0 then return end
    stream.lines, stream.size = {}, 0
    take(#lines == 1 and lines[1] or table.concat(lines, " "))
  elseif byte(text, first) == COLON then
    comment()
  elseif sub(text, first, first + 4) == "data:" then
    local from = byte(text, first + 5) == SPACE and first + 6 or first + 5
    local data = sub(text, from, last)
    if find(data, CONTROLS) then fail("An event holds a control character.") end
    -- With the line itself, so that empty ones have a bound, too.
    stream.size = stream.size + #data + 1
    if stream.size > BYTES_MAX then fail("An event is too large.") end
    stream.lines[#stream.lines + 1] = data
  end
end

-- Calls `take(data)` for each event that `bytes` complete, and `comment()` for each comment.
function events.feed(stream, bytes, take, comment)
  local pieces = stream.pieces
  if not find(bytes, "\n", 1, true) then
    pieces[#pieces + 1] = bytes
    stream.held = stream.held + #bytes
    if stream.held > BYTES_MAX then fail("An event is too large.") end
    return
  end
  if #pieces > 0 then
    bytes = table.concat(pieces) .. bytes
  end
  local at, ending = 1, find(bytes, "\n", 1, true)
  while ending do
    local last = ending - 1
    if last >= at and byte(bytes, last) == RETURN then last = last - 1 end
    read_line(stream, bytes, at, last, take, comment)
    at = ending + 1
    ending = find(bytes, "\n", at, true)
  end
  local rest = sub(bytes, at)
  stream.pieces, stream.held = rest ~= "" and { rest } or {}, #rest
end

return events
