-- The events of a stream, as its bytes come in: finds the few that can say something about usage and has the reader
-- read them, counts the others as evidence, and takes out of what is passed on the usage that nobody asked for.
--
-- Most events are never looked into: they are like the one before. In the others "usage" is searched, and counts only
-- as a name: behind a quote that no backslash escapes, which text cannot fake. An event that by its look holds no
-- content is read whole: that finds errors, the model in the first one, and the end. One that grows beyond
-- HELD_BYTES_MAX is not held; the reader walks it as it comes.

local json = require("json")
local likeness = require("meter/likeness")
local lines = require("meter/lines")
local reader = require("meter/reader")
local strip = require("meter/strip")

local events = {}

local byte, concat, find, sub = string.byte, table.concat, string.find, string.sub

-- No usage chunk is as long.
local HELD_BYTES_MAX = 16384
local LF, CR, SPACE, QUOTE, COMMA, BACKSLASH = 10, 13, 32, 34, 44, 92
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
    -- The end of an event, from its usage on, that is still to be read: in which text it stands, and where.
    tail_in = nil,
    tail_first = nil,
    tail_last = nil,
    like = likeness.new(),
    over = false, -- the event came after which there are none
    broken = false, -- it ended within an event
    -- How content was last recognised, and how far into its event.
    marker = dialect.content[1],
    offset = 1,
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
  if not stream.tail_in then return end
  local tail = sub(stream.tail_in, stream.tail_first, stream.tail_last)
  stream.tail_in = nil
  reader.restart(stream.reader)
  reader.feed(stream.reader, "{")
  reader.feed(stream.reader, tail)
  stream.news = true
end

-- The last byte of the event that ends with `last`, without its line ends.
local function content_end(text, last)
  while byte(text, last) == LF or byte(text, last) == CR do last = last - 1 end
  return last
end

-- Takes an event that has content, and a usage at `usage`, from there on only: what stands before it is not walked
-- through. Whether it could be taken so: its usage must be the event's own, and nothing else in it news.
local function take_tail(stream, event, usage)
  local words = stream.dialect.telling
  if not words then return false end
  for index = 1, #words do
    if find(event, words[index], 1, true) then return false end
  end
  local first, last = usage - 1, content_end(event, #event)
  -- The object that is open at the usage is the event's own if the event ends with it, in one line of data.
  local tail = sub(event, first, last)
  local is_one_line = not find(tail, "\n", 1, true) and not find(tail, "\r", 1, true)
  if not is_one_line or reader.closing_bracket(tail, 1) ~= #tail then return false end
  read_tail(stream)
  stream.tail_in, stream.tail_first, stream.tail_last = event, first, last
  return true
end

local function read_event(stream, event)
  read_tail(stream)
  local data = lines.data_of(event, 1, #event)
  if data == " [DONE]" or data == "[DONE]" then
    stream.over, stream.news = true, true
  elseif data ~= "" then
    reader.restart(stream.reader)
    reader.feed(stream.reader, data)
    after_reading(stream)
  end
end

-- Where content begins; nil when there is none. The events of a stream look alike, so the place of the one before is
-- tried first, and its marker before all others.
local function content_at(stream, event)
  local marker = stream.marker
  local after = stream.offset + #marker
  if sub(event, stream.offset, after - 1) == marker then return after end
  local markers = stream.dialect.content
  for index = 0, #markers do
    local tried = markers[index] or marker
    local place = find(event, tried, 1, true)
    if place then
      stream.marker, stream.offset = tried, place
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

-- Where the event has a usage of its own, nil when it has none; and the place of one that is null and ends an object.
local function usage_in(event)
  local null_at = nil
  local usage = find(event, "usage", 1, true)
  while usage do
    local is_name, is_usage = names_usage(event, usage)
    if
      is_usage
      and (sub(event, usage + 5, usage + 11) == NULL_AT_END or sub(event, usage + 5, usage + 12) == SPACED_NULL_AT_END)
    then
      null_at = usage
    elseif is_name then
      return usage, null_at
    end
    usage = find(event, "usage", usage + 5, true)
  end
  return nil, null_at
end

-- Counts an event that has content, of so many bytes.
local function count_content(stream, size)
  if size == 0 then return end
  stream.content = stream.content + 1
  stream.text = stream.text + size
end

-- Takes the event at `from` if it is like the one before: its last byte then. Of those that have a usage the last is
-- read, once no more of them come.
local function take_alike(stream, text, from, has_returns)
  local like = stream.like
  local content, quote, last = likeness.next(like, text, from, has_returns)
  if not content then return nil end
  stream.events = stream.events + 1
  count_content(stream, quote - content)
  if like.usage then
    stream.tail_in, stream.tail_first, stream.tail_last = text, quote + like.usage - 1, content_end(text, last)
  end
  return last
end

-- Counts an event, and reads it if it may say something. Where its usage stands, as `usage_in` says it.
local function look(stream, event)
  local usage, null_at = usage_in(event)
  local content = content_at(stream, event)
  local quote = content and json.closing_quote(event, content)
  stream.events = stream.events + 1
  if quote then count_content(stream, quote - content) end
  local is_read = not content or stream.events == 1 or (usage and not take_tail(stream, event, usage))
  if is_read then read_event(stream, event) end
  if is_read or not quote or (usage and usage < quote) then
    likeness.forget(stream.like)
  else
    likeness.note(stream.like, event, content, quote, usage)
  end
  return usage, null_at
end

-- What is left of an event when its usage is taken out, the bytes from `first` to `last`: these two, and what to pass
-- on in their place.
local function cut(event, usage, null_at)
  if null_at and not usage then
    local comma = byte(event, null_at - 2) == SPACE and null_at - 3 or null_at - 2
    local brace = byte(event, null_at + 7) == SPACE and null_at + 12 or null_at + 11
    if byte(event, comma) == COMMA and (brace + 2 == #event or brace + 4 == #event) then
      -- The null ends the event's object: its bytes alone go.
      return comma, brace - 1, ""
    end
  end
  local kept = strip.event(event)
  if kept == event then return nil end
  return 1, #event, kept
end

-- The last byte of the event that begins at `from`; nil when it has not ended.
local function event_end(text, from, has_returns)
  if has_returns then return lines.event_end(text, from) end
  local line_feeds = find(text, "\n\n", from, true)
  return line_feeds and line_feeds + 1
end

-- Takes the event that begins at `from`: its last byte, nil when it has not ended. Then what is to be taken out of it,
-- by its first and last byte and what to pass on in its place; nil when nothing is.
local function take_event(stream, text, from, has_returns)
  local like = stream.like
  local last = take_alike(stream, text, from, has_returns)
  if last then return last, likeness.cut(like) end
  last = event_end(text, from, has_returns)
  if not last then return nil end
  local event = sub(text, from, last)
  local usage, null_at = look(stream, event)
  if not stream.stripping or not (usage or null_at) then return last, nil end
  local cut_first, cut_last, instead = cut(event, usage, null_at)
  if not cut_first then
    -- Its usage could not be taken out, as that of the next one may.
    likeness.forget(like)
    return last, nil
  end
  likeness.note_cut(like, cut_first, cut_last, instead)
  -- The line feed of the last line end may be the next byte.
  stream.swallow = cut_first == 1 and instead == "" and last == #text and byte(text, last) == CR
  return last, from + cut_first - 1, from + cut_last - 1, instead
end

-- Goes through the whole events of `text`. Where the one begins that has not ended, and the others as they are to be
-- passed on; nil when that is as they are.
local function whole_events(stream, text)
  local from, passed, parts = 1, 1, nil
  local has_returns = find(text, "\r", 1, true) ~= nil
  while true do
    local code = byte(text, from)
    while code == LF or code == CR do
      from = from + 1
      code = byte(text, from)
    end
    local last, cut_first, cut_last, instead = take_event(stream, text, from, has_returns)
    if not last then break end
    if cut_first then
      parts = parts or {}
      parts[#parts + 1] = sub(text, passed, cut_first - 1)
      parts[#parts + 1] = instead
      passed = cut_last + 1
    end
    from = last + 1
  end
  read_tail(stream)
  likeness.let_go(stream.like)
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

-- What was held back when no more bytes come. By the rules of server-sent events it is no event; if it would have been
-- one, the stream broke off, however well the connection ended.
function events.finish(stream)
  local rest = concat(stream.pieces)
  local data = lines.data_of(rest .. "\n", 1, #rest)
  stream.broken = stream.long ~= nil or (data ~= "" and data ~= " [DONE]" and data ~= "[DONE]")
  stream.pieces, stream.held = {}, 0
  return stream.stripping and rest or ""
end

return events
