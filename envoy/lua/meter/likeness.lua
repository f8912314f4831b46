-- Recognizes events that resemble the previous one of their stream. Most differ only in their text and in numbers
-- after it. Such an event need not be read: its end and its usage are at the same offsets.

local json = require("json")

local likeness = {}

local byte, find, sub = string.byte, string.find, string.sub
local closing_quote = json.closing_quote

local ZERO, NINE = 48, 57

-- Whether `size` bytes of `a` from `from` on and of `b` from `at` on are equal except for their numbers, and no number
-- became zero. Figures only grow, so `b` then carries all of them.
local function is_alike(a, from, b, at, size)
  local before = 0
  for step = 0, size - 1 do
    local first, second = byte(a, from + step), byte(b, at + step)
    if first ~= second then
      if first < ZERO or first > NINE or second < ZERO or second > NINE then return false end
      if second == ZERO and (before < ZERO or before > NINE) then return false end
    end
    before = second
  end
  return true
end

-- State for one stream.
function likeness.new()
  return {
    head = nil, -- the beginning of an event, up to its content
    text = "", -- contains the rest of the latest event, from the quote after its content on
    rest = 0,
    size = 0,
    usage = nil, -- the offset of its usage after that quote, in bytes
    cut_first = nil, -- the bytes removed from it, by the same offset
    cut_last = nil,
  }
end

-- Records an event with content from `content` to just before `quote`. It must carry nothing else, except a usage at
-- `usage`, after `quote`.
function likeness.note(like, event, content, quote, usage)
  like.head = sub(event, 1, content - 1)
  like.text, like.rest, like.size = event, quote, #event - quote + 1
  like.usage = usage and usage - quote
  like.cut_first = nil
end

-- Records what was removed from that event: bytes `first` to `last`, replaced by `instead`. If they are not all after
-- its content, the next event must be read again.
function likeness.note_cut(like, first, last, instead)
  if first <= like.rest or instead ~= "" then like.head = nil end
  like.cut_first, like.cut_last = first - like.rest, last - like.rest
end

-- What to remove from the latest event: the first and last byte, and the replacement; nil if nothing.
function likeness.cut(like)
  if not like.cut_first then return nil end
  return like.rest + like.cut_first, like.rest + like.cut_last, ""
end

function likeness.forget(like)
  like.head = nil
end

-- If the event at `from` resembles the previous one, returns where its content begins, the quote after it, and its
-- last byte, and makes it the latest one. `has_returns` means that `text` contains carriage returns.
function likeness.next(like, text, from, has_returns)
  local head = like.head
  if not head then return nil end
  local content = from + #head
  if sub(text, from, content - 1) ~= head then return nil end
  local quote = closing_quote(text, content)
  if not quote or #text - quote + 1 < like.size then return nil end
  -- A line that ends before the content ends the event's data.
  local line_end = find(text, "\n", content, true)
  if line_end and line_end < quote then return nil end
  line_end = has_returns and find(text, "\r", content, true)
  if line_end and line_end < quote then return nil end
  if not is_alike(like.text, like.rest, text, quote, like.size) then return nil end
  like.text, like.rest = text, quote
  return content, quote, quote + like.size - 1
end

-- Releases the text of the latest event.
function likeness.let_go(like)
  if like.head then like.text, like.rest = sub(like.text, like.rest, like.rest + like.size - 1), 1 end
end

return likeness
