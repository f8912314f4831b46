-- A tolerant reader of JSON that arrives in pieces. It takes the few wanted values and skips everything else from quote
-- to quote and from bracket to bracket. Its memory does not depend on the body, because it holds only the current key
-- or value. It never fails: text that is not JSON yields nothing, and spoils nothing beside it.
--
-- `wanted` is a tree by the names of members:
--   name = "figure"   the number there, even in quotes, goes to found.figure
--   name = "$word"    the text there goes to found.word, unless it is long or has escapes
--   name = "#count"   the number of strings in the array there goes to found.count
--   name = { ... }    look inside; an array counts as its elements
--   [1] = function    called with `found` after each object in that place, and after each text where an object belongs,
--                     unless they are empty
-- null, true, false, negative and broken numbers count as absent. A figure keeps its latest value, and no zero replaces
-- another value, because providers' counts only grow within an answer.

local json = require("json")

local reader = {}

local byte, find, sub = string.byte, string.find, string.sub
local floor, huge, min = math.floor, math.huge, math.min
local closing_quote = json.closing_quote

local QUOTE, BACKSLASH, COMMA, COLON, SPACE = 34, 92, 44, 58, 32
local OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET = 123, 125, 91, 93
local HASH, DOLLAR = 35, 36
-- Longer keys and texts are not ours. Deeper objects are skipped.
local PIECE_BYTES_MAX = 128
local DEPTH_MAX = 8
-- The largest integers that a double holds exactly.
local COUNT_MAX = 2 ^ 53
-- The role of a string.
local SKIPPED, KEY, VALUE = 1, 2, 3

-- A reader that puts the `wanted` values into the table `found`.
function reader.new(wanted, found)
  local r = { wanted = wanted, found = found, node_at = {}, is_object_at = {}, is_filled_at = {}, news = false }
  reader.restart(r)
  return r
end

-- Prepares `r` for another text. Its findings stay.
function reader.restart(r)
  r.depth = 0 -- depth of the containers being read
  r.skipping = 0 -- depth inside an unwanted value
  r.keyed = false -- a key was read, but not yet its value
  r.want = nil -- the wanted part of that value
  r.leaf = nil -- where the current value goes
  r.strings = 0 -- strings in the array being counted
  r.string = nil -- the role of the string in which the last piece broke off
  r.escaped = false -- that piece ended with a backslash that escapes what comes
  r.scalar = false -- the last piece broke off in a number or a word
  r.piece = "" -- the current key or value so far
end

-- Byte loops, here and below, although patterns would read better: LuaJIT does not compile patterns.

-- Whether `text` has only the characters of names, and so may go into a log: letters, digits, spaces and + - . / : @ _
local function is_plain(text)
  local length = #text
  if length == 0 or length > PIECE_BYTES_MAX then return false end
  for at = 1, length do
    local code = byte(text, at)
    local plain = (code >= 97 and code <= 122) or (code >= 64 and code <= 90) or (code >= 45 and code <= 58)
    if not (plain or code == 95 or code == SPACE or code == 43) then return false end
  end
  return true
end

-- Parses `text` as a count. `tonumber` alone would accept hexadecimals, "inf" and "nan", and a leading zero.
local function count_of(text)
  local first, second = byte(text, 1, 2)
  if not first or first < 48 or first > 57 then return nil end
  if first == 48 and second and second ~= 46 and second ~= 69 and second ~= 101 then return nil end
  local number = tonumber(text)
  if number and number < COUNT_MAX and floor(number) == number then return number end
  return nil
end

local function take(r, name, text)
  local found = r.found
  if type(name) == "table" then
    if text ~= "" then
      name[1](found)
      r.news = true
    end
    return
  end
  if byte(name) == DOLLAR then
    if is_plain(text) then
      found[sub(name, 2)] = text
      r.news = true
    end
    return
  end
  local number = count_of(text)
  if number and (number > 0 or not found[name]) then
    found[name] = number
    r.news = true
  end
end

-- The wanted part of the value that begins now.
local function want_of_value(r)
  local depth = r.depth
  if depth == 0 then return r.wanted end
  if not r.is_object_at[depth] then return r.node_at[depth] end
  local want = r.keyed and r.want or nil
  r.keyed, r.want = false, nil
  return want
end

local function key_is_read(r, key)
  local node = r.node_at[r.depth]
  r.keyed, r.is_filled_at[r.depth] = true, true
  r.want = type(node) == "table" and #key <= PIECE_BYTES_MAX and node[key] or nil
end

-- Reads a string whose content continues at `from`. Returns the next position, past the end if the string continues in
-- the next piece.
local function read_string(r, text, from, use)
  local start = r.escaped and from + 1 or from
  r.escaped = false
  local quote = closing_quote(text, start)
  if use ~= SKIPPED and #r.piece <= PIECE_BYTES_MAX then
    r.piece = r.piece .. sub(text, from, min(quote and quote - 1 or #text, from + PIECE_BYTES_MAX))
  end
  if not quote then
    local last = #text
    while last >= start and byte(text, last) == BACKSLASH do last = last - 1 end
    r.string, r.escaped = use, (#text - last) % 2 == 1
    return #text + 1
  end
  r.string = nil
  if use == KEY then
    key_is_read(r, r.piece)
  elseif use == VALUE then
    take(r, r.leaf, r.piece)
  end
  return quote + 1
end

-- Reads the string whose opening quote is at `at`.
local function open_string(r, text, at)
  r.piece = ""
  if r.depth > 0 and r.is_object_at[r.depth] and not r.keyed then return read_string(r, text, at + 1, KEY) end
  local want = want_of_value(r)
  local kind = type(want) == "string" and byte(want)
  if kind == HASH and r.depth > 0 and not r.is_object_at[r.depth] then
    local name = sub(want, 2)
    r.strings = r.strings + 1
    if r.strings > (r.found[name] or 0) then
      r.found[name], r.news = r.strings, true
    end
  elseif (kind and kind ~= HASH) or (type(want) == "table" and want[1]) then
    r.leaf = want
    return read_string(r, text, at + 1, VALUE)
  end
  return read_string(r, text, at + 1, SKIPPED)
end

-- Continues a number or a word.
local function read_scalar(r, text, at)
  local stop, code = at, byte(text, at)
  while
    code
    and code > SPACE
    and code ~= COMMA
    and code ~= COLON
    and code ~= CLOSE_BRACKET
    and code ~= CLOSE_BRACE
    and code ~= QUOTE
    and code ~= OPEN_BRACKET
    and code ~= OPEN_BRACE
  do
    stop = stop + 1
    code = byte(text, stop)
  end
  if r.leaf and #r.piece <= PIECE_BYTES_MAX then
    r.piece = r.piece .. sub(text, at, min(stop - 1, at + PIECE_BYTES_MAX))
  end
  -- At the end of the piece, the number may continue in the next.
  r.scalar = code == nil
  if code and r.leaf then take(r, r.leaf, r.piece) end
  return stop
end

local function open_scalar(r, text, at)
  local want = want_of_value(r)
  local is_figure = type(want) == "string" and byte(want) ~= HASH and byte(want) ~= DOLLAR
  r.leaf = is_figure and want or nil
  r.piece = ""
  return read_scalar(r, text, at)
end

-- Skips the rest of an unwanted value. Only quotes and brackets matter. Each is searched separately, and again only
-- once it is passed.
local function skip(r, text, at)
  local depth = r.skipping
  local quote, open_brace, close_brace, open_bracket, close_bracket = 0, 0, 0, 0, 0
  while true do
    if quote < at then quote = find(text, '"', at, true) or huge end
    if open_brace < at then open_brace = find(text, "{", at, true) or huge end
    if close_brace < at then close_brace = find(text, "}", at, true) or huge end
    if open_bracket < at then open_bracket = find(text, "[", at, true) or huge end
    if close_bracket < at then close_bracket = find(text, "]", at, true) or huge end
    local opening, closing = min(open_brace, open_bracket), min(close_brace, close_bracket)
    if quote < opening and quote < closing then
      local last = closing_quote(text, quote + 1)
      if not last then
        r.skipping = depth
        return read_string(r, text, quote + 1, SKIPPED)
      end
      at = last + 1
    elseif opening < closing then
      depth = depth + 1
      at = opening + 1
    elseif closing < huge then
      depth = depth - 1
      at = closing + 1
      if depth == 0 then
        r.skipping = 0
        return at
      end
    else
      r.skipping = depth
      return #text + 1
    end
  end
end

-- The bracket that closes the object or array whose content begins at `at`; nil when it has not ended.
function reader.closing_bracket(text, at)
  local within = { skipping = 1, piece = "", escaped = false }
  local after = skip(within, text, at)
  return within.skipping == 0 and after - 1 or nil
end

local function open_container(r, is_object)
  local want = want_of_value(r)
  local counts = type(want) == "string" and byte(want) == HASH and not is_object
  if (type(want) == "table" or counts) and r.depth < DEPTH_MAX then
    local depth = r.depth + 1
    r.depth, r.node_at[depth], r.is_object_at[depth], r.is_filled_at[depth] = depth, want, is_object, false
    r.strings = 0
    r.keyed, r.want = false, nil
  else
    r.skipping = 1
  end
end

local function close_container(r, is_object)
  if r.depth == 0 then return end
  local node, is_filled = r.node_at[r.depth], r.is_filled_at[r.depth]
  r.depth = r.depth - 1
  r.keyed, r.want = false, nil
  if is_object and is_filled and type(node) == "table" and node[1] then node[1](r.found) end
end

-- Whether the text so far ends within an object, an array or a string.
function reader.is_within(r)
  return r.depth > 0 or r.skipping > 0 or r.string ~= nil
end

-- Reads the next piece of the text.
function reader.feed(r, text)
  local at, length = 1, #text
  if length == 0 then return end
  if r.string then
    at = read_string(r, text, 1, r.string)
  elseif r.scalar then
    at = read_scalar(r, text, 1)
  end
  while at <= length do
    local code = byte(text, at)
    if r.skipping > 0 then
      at = skip(r, text, at)
    elseif code == QUOTE then
      at = open_string(r, text, at)
    elseif code == OPEN_BRACE or code == OPEN_BRACKET then
      open_container(r, code == OPEN_BRACE)
      at = at + 1
    elseif code == CLOSE_BRACE or code == CLOSE_BRACKET then
      close_container(r, code == CLOSE_BRACE)
      at = at + 1
    elseif code == COMMA then
      r.keyed, r.want = false, nil
      at = at + 1
    elseif code == COLON or code <= SPACE then
      at = at + 1
    else
      at = open_scalar(r, text, at)
    end
  end
end

return reader
