-- What the events of one stream have in common. Most differ from the one before in their text, and in numbers behind
-- it: such an event is recognised without a look at what stands in it, and has its end and its usage at the same
-- places.

local json = require("json")

local likeness = {}

local byte, find, sub = string.byte, string.find, string.sub
local closing_quote = json.closing_quote

local ZERO, NINE = 48, 57

-- Whether `size` bytes of `a` from `from` on and of `b` from `at` on say the same but for their numbers, and none of
-- these became a zero: figures that only grow are then all told by `b`.
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
    head = nil, -- of an event, up to its content
    text = "", -- in which the rest of the latest one stands: from the quote behind its content on
    rest = 0,
    size = 0,
    usage = nil, -- where its usage stands, in bytes behind that quote
    cut_first = nil, -- the bytes that were taken out of it, in the same way
    cut_last = nil,
  }
end

-- Notes an event whose content stands from `content` to before `quote`. It must have nothing to tell but at `usage`, if
-- it has one: the place of a usage behind `quote`.
function likeness.note(like, event, content, quote, usage)
  like.head = sub(event, 1, content - 1)
  like.text, like.rest, like.size = event, quote, #event - quote + 1
  like.usage = usage and usage - quote
  like.cut_first = nil
end

-- Notes what was taken out of that event: the bytes from `first` to `last`, with `instead` in their place. Where that
-- is more than bytes behind its content, the next event must be looked at again.
function likeness.note_cut(like, first, last, instead)
  if first <= like.rest or instead ~= "" then like.head = nil end
  like.cut_first, like.cut_last = first - like.rest, last - like.rest
end

-- What is to be taken out of the latest event: the first and the last byte, and what is passed on in their place; nil
-- when nothing is.
function likeness.cut(like)
  if not like.cut_first then return nil end
  return like.rest + like.cut_first, like.rest + like.cut_last, ""
end

function likeness.forget(like)
  like.head = nil
end

-- If the event at `from` is like the one before: where its content begins, the quote behind that, and its last byte.
-- Then it is the latest one. `has_returns`: there are carriage returns in `text`.
function likeness.next(like, text, from, has_returns)
  local head = like.head
  if not head then return nil end
  local content = from + #head
  if sub(text, from, content - 1) ~= head then return nil end
  local quote = closing_quote(text, content)
  if not quote or #text - quote + 1 < like.size then return nil end
  -- A line that ends before the content does ends the event's data.
  local line_end = find(text, "\n", content, true)
  if line_end and line_end < quote then return nil end
  line_end = has_returns and find(text, "\r", content, true)
  if line_end and line_end < quote then return nil end
  if not is_alike(like.text, like.rest, text, quote, like.size) then return nil end
  like.text, like.rest = text, quote
  return content, quote, quote + like.size - 1
end

-- Lets go of the text in which the latest event stands.
function likeness.let_go(like)
  if like.head then like.text, like.rest = sub(like.text, like.rest, like.rest + like.size - 1), 1 end
end

return likeness
