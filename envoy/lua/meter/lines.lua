-- Splits server-sent events into lines. A line ends with a line feed, a carriage return or both; an empty line ends the
-- event. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html

local lines = {}

local byte, concat, find, sub = string.byte, table.concat, string.find, string.sub
local huge = math.huge

local LF, CR = 10, 13

-- The first byte after the line that begins at `line`, and the last byte of its content; nil when the line has not
-- ended. `lf` and `cr` are the positions of the next line feed and carriage return.
local function line_end(line, lf, cr)
  local first = lf < cr and lf or cr
  if first == huge then return nil end
  return (first == cr and lf == cr + 1 and lf or first) + 1, first - 1
end

-- The last byte of the event that begins at `from`; nil when it has not ended.
function lines.event_end(text, from)
  local line, lf, cr = from, 0, 0
  while true do
    if lf < line then lf = find(text, "\n", line, true) or huge end
    if cr < line then cr = find(text, "\r", line, true) or huge end
    local after, stop = line_end(line, lf, cr)
    if not after then return nil end
    if stop < line then return after - 1 end
    line = after
  end
end

-- The data of the event from `first` to `last`, with its data lines joined, and its position if it is a single line.
function lines.data_of(text, first, last)
  local parts, count = nil, 0
  local line, lf, cr = first, 0, 0
  local from, to
  while line <= last do
    if lf < line then lf = find(text, "\n", line, true) or huge end
    if cr < line then cr = find(text, "\r", line, true) or huge end
    local after, stop = line_end(line, lf, cr)
    if byte(text, line) == 100 and sub(text, line, line + 4) == "data:" then
      count = count + 1
      if count > 1 then
        parts = parts or { sub(text, from, to) }
        parts[count] = sub(text, line + 5, stop)
      end
      from, to = line + 5, stop
    end
    line = after
  end
  if count > 1 then return concat(parts, "\n") end
  if count == 1 then return sub(text, from, to), from, to end
  return ""
end

-- An event too long to hold. `take` is called with its data, piece by piece.
function lines.new_long(take)
  return {
    take = take,
    begin = "", -- the start of the current line, until its field is known; nil afterwards
    is_data = false,
    half = false, -- the last piece ended with a carriage return; a line feed may follow
  }
end

-- Takes more of a long event. Returns the start of the next event, past the end if this one ends with the piece; nil
-- while the event continues.
function lines.feed_long(long, text)
  local at, lf, cr = 1, 0, 0
  if long.half and byte(text) == LF then at = 2 end
  long.half = false
  while at <= #text do
    if lf < at then lf = find(text, "\n", at, true) or huge end
    if cr < at then cr = find(text, "\r", at, true) or huge end
    local after, stop = line_end(at, lf, cr)
    local piece = sub(text, at, stop or #text)
    local is_blank = false
    if long.begin then
      piece = long.begin .. piece
      if #piece >= 5 or after then
        long.begin, long.is_data, is_blank = nil, sub(piece, 1, 5) == "data:", piece == ""
        piece = sub(piece, 6)
      else
        long.begin = piece
      end
    end
    if long.is_data and not long.begin then long.take(piece) end
    if not after then return nil end
    long.half = after > #text and byte(text, #text) == CR
    at = after
    if is_blank then return at end
    if long.is_data then long.take("\n") end
    long.begin, long.is_data = "", false
  end
  return nil
end

return lines
