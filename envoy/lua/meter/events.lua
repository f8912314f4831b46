-- The events of a stream, as its bytes come in: finds the few that can say something about usage and has the reader
-- read them, counts the others as evidence, and takes out of what is passed on the usage that nobody asked for.
--
-- Most events are never looked into. "usage" is searched once in what has come, and counts only as a name: behind a
-- quote that no backslash escapes, which text cannot fake. An event that by its look holds no content is read whole:
-- that finds errors, the model in the first one, and the end. One that grows beyond HELD_BYTES_MAX is not held; the
-- reader walks it as it comes.

local lines = require("meter/lines")
local reader = require("meter/reader")
local strip = require("meter/strip")

local events = {}

local byte, concat, find, sub = string.byte, table.concat, string.find, string.sub
local huge = math.huge

-- No usage chunk is as long.
local HELD_BYTES_MAX = 16384
local LF, CR, SPACE, QUOTE, COMMA, BACKSLASH, ZERO, NINE = 10, 13, 32, 34, 44, 92, 48, 57
-- What may follow "usage" in a name that tells it: nothing, or Gemini's "Metadata".
local CAPITAL_M = 77
-- A null usage that ends its object, behind the name.
local NULL_AT_END, SPACED_NULL_AT_END = '":null}', '": null}'

-- State for one answer. `found` gets the figures. `stripping`: the usage chunk was not asked for.
function events.new(dialect, found, stripping)
  return {
    dialect = dialect,
    found = found,
    stripping = stripping,
    reader = reader.new(dialect.wanted, found),
    -- An event that has not ended. Only appended to or replaced, and last of all that a piece does: should anything
    -- fail before, it is all that was held back.
    pieces = {},
    held = 0, -- its bytes
    long = nil, -- an event that is too long to be held
    swallow = false, -- a line feed that comes now belongs to an event that was taken out
    tail = nil, -- the end of an event, from its usage on, that is still to be read
    shape = nil, -- the last such end
    over = false, -- the event came after which there are none
    -- How content was last recognised, and how far into its event.
    marker = dialect.content[1],
    offset = 0,
    -- Evidence: events, those with content, and the bytes of that content as they are written.
    events = 0,
    content = 0,
    text = 0,
    news = false, -- something was read since somebody looked
  }
end

local function after_reading(stream)
  local found = stream.found
  if found.type then
    stream.over = stream.over or found.type == stream.dialect.last
    found.type = nil
  end
  stream.news = true
end

-- Reads the tail that waits, if one does.
local function read_tail(stream)
  local tail = stream.tail
  if not tail then return end
  stream.tail = nil
  reader.restart(stream.reader)
  reader.feed(stream.reader, "{")
  reader.feed(stream.reader, tail)
  stream.news = true
end

-- Whether two texts say the same but for their numbers, and `b` has no zero where `a` has none.
local function is_alike(a, b)
  if #a ~= #b then return false end
  for at = 1, #a do
    local first, second = byte(a, at), byte(b, at)
    if first ~= second then
      local are_digits = first >= ZERO and first <= NINE and second > ZERO and second <= NINE
      if not are_digits then return false end
    end
  end
  return true
end

-- Takes the event from `from` to `last`, which has content and at `usage` a usage, from there on only: what stands
-- before it is not walked through. Of such events that differ in their numbers alone the last is read, once no more of
-- them come. Whether it could be taken so: its usage must be the event's own, and nothing else in it news.
local function take_tail(stream, text, from, last, usage, places)
  local words = stream.dialect.telling
  if not words then return false end
  for index = 1, #words do
    local word = words[index]
    local place = places[word]
    if not place or place < from then
      place = find(text, word, from, true) or huge
      places[word] = place
    end
    if place <= last then return false end
  end
  local start, stop = usage - 1, last
  while byte(text, stop) == LF or byte(text, stop) == CR do stop = stop - 1 end
  local tail = sub(text, start, stop)
  if not (stream.shape and is_alike(stream.shape, tail)) then
    -- The object that is open at the usage is the event's own if the event ends with it, in one line of data.
    local is_one_line = not find(tail, "\n", 1, true) and not find(tail, "\r", 1, true)
    if not is_one_line or reader.closing_bracket(tail, 1) ~= #tail then return false end
    read_tail(stream)
  end
  stream.tail, stream.shape = tail, tail
  return true
end

local function read_event(stream, text, first, last)
  read_tail(stream)
  local data = lines.data_of(text, first, last)
  if data == " [DONE]" or data == "[DONE]" then
    stream.over, stream.news = true, true
  elseif data ~= "" then
    reader.restart(stream.reader)
    reader.feed(stream.reader, data)
    after_reading(stream)
  end
end

-- Where content begins between `first` and `last`; nil when it does not. The events of a stream look alike, so the
-- place of the one before is tried first: a search stops at every letter that a marker begins with. `places` keeps
-- where each marker was found, so that no text is searched twice for it.
local function content_at(stream, text, first, last, places)
  local marker = stream.marker
  local guess = first + stream.offset
  local after = guess + #marker
  if after <= last and sub(text, guess, after - 1) == marker then return after end
  local markers = stream.dialect.content
  for index = 0, #markers do
    local tried = markers[index] or marker
    local place = places[tried]
    if not place or place < first then
      place = find(text, tried, first, true) or huge
      places[tried] = place
    end
    if place <= last then
      stream.marker, stream.offset = tried, place - first
      return place + #tried
    end
  end
end

-- Whether the "usage" at `place` is a name, as far as the bytes beside it tell, and whether the whole name is "usage".
local function names_usage(text, place)
  if byte(text, place - 1) ~= QUOTE or byte(text, place - 2) == BACKSLASH then return false, false end
  local code = byte(text, place + 5)
  return code == QUOTE or code == CAPITAL_M, code == QUOTE
end

-- Counts the event from `from` to `last`, and reads it if it may say something. `usage` is where that word comes next.
-- Where it comes next behind what was looked at, whether the event has a usage of its own, and the place of one that
-- is null and ends an object.
local function look(stream, text, from, last, usage, places)
  local named, null_at = false, nil
  while usage <= last and not named do
    local is_name, is_usage = names_usage(text, usage)
    if
      is_usage
      and (sub(text, usage + 5, usage + 11) == NULL_AT_END or sub(text, usage + 5, usage + 12) == SPACED_NULL_AT_END)
    then
      null_at = usage
    else
      named = is_name
    end
    if not named then usage = find(text, "usage", usage + 5, true) or huge end
  end
  stream.events = stream.events + 1
  local content = content_at(stream, text, from, last, places)
  if content then
    local quote = reader.closing_quote(text, content)
    if quote and quote > content and quote < last then
      stream.content = stream.content + 1
      stream.text = stream.text + quote - content
    end
  end
  if not content or stream.events == 1 or (named and not take_tail(stream, text, from, last, usage, places)) then
    read_event(stream, text, from, last)
  end
  return usage, named, null_at
end

-- What is left of the event from `from` to `last` when its usage is taken out: the first and the last byte to leave
-- out, and what to pass on in their place.
local function cut(stream, text, from, last, null_at, named)
  if null_at and not named then
    local comma = byte(text, null_at - 2) == SPACE and null_at - 3 or null_at - 2
    local brace = byte(text, null_at + 7) == SPACE and null_at + 12 or null_at + 11
    if byte(text, comma) == COMMA and (brace + 2 == last or brace + 4 == last) then
      -- The null ends the event's object: its bytes alone go.
      return comma, brace - 1, ""
    end
  end
  local event = sub(text, from, last)
  local kept = strip.event(event)
  if kept == event then return nil end
  -- The line feed of the last line end may be the next byte.
  stream.swallow = kept == "" and last == #text and byte(text, last) == CR
  return from, last, kept
end

-- Goes through the whole events of `text`. Where the one begins that has not ended, and the others as they are to be
-- passed on; nil when that is as they are.
local function whole_events(stream, text)
  local from, passed, parts = 1, 1, nil
  local places = {}
  local has_returns = find(text, "\r", 1, true)
  local usage = find(text, "usage", 1, true) or huge
  while true do
    local code = byte(text, from)
    while code == LF or code == CR do
      from = from + 1
      code = byte(text, from)
    end
    local last
    if has_returns then
      last = lines.event_end(text, from)
    else
      last = find(text, "\n\n", from, true)
      last = last and last + 1
    end
    if not last then break end
    if usage < from then usage = find(text, "usage", from, true) or huge end
    local named, null_at
    usage, named, null_at = look(stream, text, from, last, usage, places)
    if stream.stripping and (named or null_at) then
      local first, stop, instead = cut(stream, text, from, last, null_at, named)
      if first then
        parts = parts or {}
        parts[#parts + 1] = sub(text, passed, first - 1)
        parts[#parts + 1] = instead
        passed = stop + 1
      end
    end
    from = last + 1
  end
  read_tail(stream)
  if not parts then return from, nil end
  parts[#parts + 1] = sub(text, passed, from - 1)
  return from, concat(parts)
end

local function begin_long(stream, text)
  reader.restart(stream.reader)
  local long = lines.new_long(function(data) reader.feed(stream.reader, data) end)
  -- It has not ended, or it would have been read whole.
  lines.feed_long(long, text)
  return long
end

local function end_long(stream)
  stream.long = nil
  stream.events = stream.events + 1
  stream.content = stream.content + 1
  after_reading(stream)
end

-- What to pass on of `bytes` and of what was held.
local function advance(stream, bytes)
  if stream.swallow then
    stream.swallow = false
    if byte(bytes) == LF then bytes = sub(bytes, 2) end
  end
  local pieces, held = stream.pieces, stream.held
  local ends = find(bytes, "\n", 1, true) or find(bytes, "\r", 1, true)
  if not ends and held + #bytes <= HELD_BYTES_MAX then
    pieces[#pieces + 1] = bytes
    stream.held = held + #bytes
    return ""
  end
  local text = held > 0 and concat(pieces) .. bytes or bytes
  local from, kept = whole_events(stream, text)
  local rest = from == 1 and text or sub(text, from)
  local sent = kept or (rest == "" and text or sub(text, 1, from - 1))
  if #rest > HELD_BYTES_MAX then
    stream.long = begin_long(stream, rest)
    sent, rest = sent .. rest, ""
  end
  if rest ~= "" then
    stream.pieces, stream.held = { rest }, #rest
  elseif held > 0 then
    stream.pieces, stream.held = {}, 0
  end
  return sent
end

-- What to pass on for `bytes`, now that they have come.
function events.feed(stream, bytes)
  local sent
  if stream.long then
    local from = lines.feed_long(stream.long, bytes)
    if not from then return bytes end
    end_long(stream)
    sent = sub(bytes, 1, from - 1) .. advance(stream, sub(bytes, from))
  else
    sent = advance(stream, bytes)
  end
  return stream.stripping and sent or bytes
end

-- What was held back when no more bytes come. By the rules of server-sent events it is no event.
function events.finish(stream)
  local rest = stream.stripping and concat(stream.pieces) or ""
  stream.pieces, stream.held = {}, 0
  return rest
end

return events
