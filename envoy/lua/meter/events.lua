-- Handles the events of a stream as its bytes come in. The few that may carry usage go to the reader; the others are
-- counted as evidence. Removes usage that the client did not ask for from the bytes passed on.
--
-- Most events are never read, because they resemble the previous one. The others are searched for "usage", which counts
-- only as a name: after a quote that no backslash escapes, which text cannot fake. An event that seems to hold no
-- content is read as a whole. That finds errors, the model in the first event, and the end. An event beyond
-- HELD_BYTES_MAX is not held; the reader reads it as it comes.

local ending = require("meter/ending")
local json = require("json")
local likeness = require("meter/likeness")
local lines = require("meter/lines")
local reader = require("meter/reader")
local strip = require("meter/strip")

local events = {}

local byte, concat, find, sub = string.byte, table.concat, string.find, string.sub

-- No usage chunk is this long.
local HELD_BYTES_MAX = 16384
local LF, CR, SPACE, QUOTE, COMMA, BACKSLASH = 10, 13, 32, 34, 44, 92
-- Endings of a name that begins with "usage": nothing, or Gemini's "Metadata".
local CAPITAL_M = 77
-- A null usage at the end of its object, after the name.
local NULL_AT_END, SPACED_NULL_AT_END = '":null}', '": null}'

-- State for one answer. `found` gets the figures. `stripping` means that the usage chunk was not requested. `client` is
-- nil if the stream may pass as it is; otherwise nothing passes after an error, nor part of an event that never ended.
function events.new(dialect, found, stripping, client)
  return {
    dialect = dialect,
    found = found,
    stripping = stripping,
    client = client,
    holds = stripping or client ~= nil,
    failed = false, -- an event carried an error; nothing passes after it
    unsaid = false, -- the client must still be told
    owed = false, -- a line feed that comes now still belongs to that event
    reader = reader.new(dialect.wanted, found),
    -- An event that has not ended. Handling a piece changes it last, and only appends or replaces. So if anything fails
    -- before, it is exactly what was held back.
    pieces = {},
    held = 0, -- its size in bytes
    long = nil, -- an event too long to hold
    swallow = false, -- a line feed that comes now belongs to a removed event
    -- The end of an event, from its usage on, that is still unread: its text, and its position there.
    tail_in = nil,
    tail_first = nil,
    tail_last = nil,
    like = likeness.new(),
    over = false, -- the last event came
    broken = false, -- it ended within an event
    -- The marker of the last content, and its offset in the event.
    marker = dialect.content[1],
    offset = 1,
    -- Evidence: events, events with content, and the bytes of that content as written.
    events = 0,
    content = 0,
    text = 0,
    news = false, -- something was read since the last report
  }
end

local function after_reading(stream)
  local found = stream.found
  local kind = found.type
  if kind then
    local dialect = stream.dialect
    stream.over = stream.over or dialect.last[kind] == true
    if dialect.failures[kind] then found.error = found.error or kind end
    found.type = nil
  end
  stream.news = true
end

-- Reads the waiting tail, if there is one.
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

-- Reads an event with content and a usage at `usage` from there on only, skipping everything before. Returns whether
-- that was possible: the usage must be the event's own, and the event may contain nothing else that is new.
local function take_tail(stream, event, usage)
  local words = stream.dialect.telling
  if not words then return false end
  for index = 1, #words do
    if find(event, words[index], 1, true) then return false end
  end
  local first, last = usage - 1, content_end(event, #event)
  -- The object that is open at the usage is the event's own if the event ends with it, in a single data line.
  local tail = sub(event, first, last)
  local is_one_line = not find(tail, "\n", 1, true) and not find(tail, "\r", 1, true)
  if not is_one_line or reader.closing_bracket(tail, 1) ~= #tail then return false end
  read_tail(stream)
  stream.tail_in, stream.tail_first, stream.tail_last = event, first, last
  return true
end

local function read_event(stream, event)
  read_tail(stream)
  if ending.is_named_error(event) then
    stream.found.error, stream.news = stream.found.error or ending.UNNAMED, true
  end
  local data = lines.data_of(event, 1, #event)
  if data == " [DONE]" or data == "[DONE]" then
    stream.over, stream.news = true, true
  elseif data ~= "" then
    reader.restart(stream.reader)
    reader.feed(stream.reader, data)
    after_reading(stream)
  end
end

-- The position where content begins; nil if there is none. Events of a stream look alike, so this tries the previous
-- event's offset first, and its marker before the others.
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

-- Whether the "usage" at `place` is a name, judging by the bytes beside it, and whether the whole name is "usage".
local function names_usage(text, place)
  if byte(text, place - 1) ~= QUOTE or byte(text, place - 2) == BACKSLASH then return false, false end
  local code = byte(text, place + 5)
  return code == QUOTE or code == CAPITAL_M, code == QUOTE
end

-- The position of the event's own usage; nil if it has none. Then the position of a null usage that ends an object.
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

-- Counts an event with content of this many bytes.
local function count_content(stream, size)
  if size == 0 then return end
  stream.content = stream.content + 1
  stream.text = stream.text + size
end

-- Handles the event at `from` if it resembles the previous one, and returns its last byte. Of such events with usage
-- only the last is read, once no more of them come.
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

-- Counts an event, and reads it if it may carry something. Returns the position of its usage, like `usage_in`.
local function look(stream, event)
  local usage, null_at = usage_in(event)
  local content = content_at(stream, event)
  local quote = content and json.closing_quote(event, content)
  stream.events = stream.events + 1
  if quote then count_content(stream, quote - content) end
  local is_read = not content
    or stream.events == 1
    or ending.has_member(event, stream.dialect.ends)
    or (usage and not take_tail(stream, event, usage))
  if is_read then read_event(stream, event) end
  if is_read or not quote or (usage and usage < quote) then
    likeness.forget(stream.like)
  else
    likeness.note(stream.like, event, content, quote, usage)
  end
  return usage, null_at
end

-- Removes the usage from the event in bytes `first` to `last`. Returns these two, and what to pass on in their place.
local function cut(event, usage, null_at)
  if null_at and not usage then
    local comma = byte(event, null_at - 2) == SPACE and null_at - 3 or null_at - 2
    local brace = byte(event, null_at + 7) == SPACE and null_at + 12 or null_at + 11
    if byte(event, comma) == COMMA and brace == content_end(event, #event) then
      -- The null ends the event's object, so only its own bytes go.
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

-- Handles the event that begins at `from`. Returns its last byte, or nil if it has not ended. Then the first and last
-- byte to remove from it, and what to pass on instead; nil if nothing changes.
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
    -- Its usage could not be removed, although the next event's may be.
    likeness.forget(like)
    return last, nil
  end
  likeness.note_cut(like, cut_first, cut_last, instead)
  -- The next byte may be the line feed of the last line end.
  stream.swallow = cut_first == 1 and instead == "" and last == #text and byte(text, last) == CR
  return last, from + cut_first - 1, from + cut_last - 1, instead
end

-- Whether the stream failed with the event in bytes `first` to `last` of `text`. Notes then whether the client must
-- still be told.
local function fails(stream, text, first, last)
  if stream.failed or not stream.client or not stream.found.error then return false end
  stream.failed = true
  stream.unsaid = not ending.is_read(stream.client.dialect, sub(text, first, last))
  return true
end

-- Handles the complete events of `text`. Returns where the incomplete one begins, and what to pass on for the others;
-- nil if they are unchanged.
local function whole_events(stream, text)
  local from, passed, parts = 1, 1, nil
  -- The last byte that passes; nil if all do.
  local stop = stream.failed and 0 or nil
  local has_returns = find(text, "\r", 1, true) ~= nil
  while true do
    local code = byte(text, from)
    while code == LF or code == CR do
      from = from + 1
      code = byte(text, from)
    end
    local last, cut_first, cut_last, instead = take_event(stream, text, from, has_returns)
    if not last then break end
    if fails(stream, text, from, last) then stop = last end
    if cut_first and not stop then
      parts = parts or {}
      parts[#parts + 1] = sub(text, passed, cut_first - 1)
      parts[#parts + 1] = instead
      passed = cut_last + 1
    end
    from = last + 1
  end
  read_tail(stream)
  likeness.let_go(stream.like)
  if not parts and not stop then return from, nil end
  parts = parts or {}
  parts[#parts + 1] = sub(text, passed, stop or from - 1)
  return from, concat(parts)
end

local function begin_long(stream, text)
  reader.restart(stream.reader)
  local long = lines.new_long(function(data) reader.feed(stream.reader, data) end)
  -- It has not ended, or it would have been read as a whole.
  lines.feed_long(long, text)
  return long
end

local function end_long(stream)
  stream.long = nil
  stream.events = stream.events + 1
  stream.content = stream.content + 1
  after_reading(stream)
  fails(stream, "", 1, 0)
end

-- Returns what to pass on of `bytes` and of the held bytes.
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
    sent, rest = stream.failed and sent or sent .. rest, ""
  end
  if rest ~= "" then
    stream.pieces, stream.held = { rest }, #rest
  elseif held > 0 then
    stream.pieces, stream.held = {}, 0
  end
  return sent
end

-- Returns what to pass on for `bytes`.
function events.feed(stream, bytes)
  local sent
  local had_failed, owed = stream.failed, stream.owed
  if stream.long then
    local from = lines.feed_long(stream.long, bytes)
    if from then end_long(stream) end
    local passed = from and sub(bytes, 1, from - 1) or bytes
    local rest = from and advance(stream, sub(bytes, from)) or ""
    sent = (had_failed and "" or passed) .. rest
  else
    sent = advance(stream, bytes)
  end
  if owed and byte(bytes) == LF then sent = "\n" end
  stream.owed = stream.failed and not had_failed and byte(bytes, #bytes) == CR and byte(sent, #sent) == CR
  return stream.holds and sent or bytes
end

-- Returns the held bytes when no more come. By the rules of server-sent events they are not an event. If they began
-- one, the stream broke off, however cleanly the connection ended. `choices` is how many answers the client asked for.
function events.finish(stream, choices)
  local rest = concat(stream.pieces)
  local data = lines.data_of(rest .. "\n", 1, #rest)
  stream.broken = stream.long ~= nil or (data ~= "" and data ~= " [DONE]" and data ~= "[DONE]")
  stream.pieces, stream.held = {}, 0
  local found = stream.found
  if not found.error and not ending.is_whole(stream, choices) then
    found.error = ending.EARLY
    stream.news = true
  end
  if stream.client and found.error then
    -- Of an event that was too long to hold, a part has passed.
    rest = stream.long and not stream.failed and "\n\n" or ""
    fails(stream, "", 1, 0)
  end
  return stream.holds and rest or ""
end

return events
