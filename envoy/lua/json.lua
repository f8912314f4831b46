-- Walks strictly through a JSON object, along a table of the members that matter.
--
-- The structure is checked completely: every object, array, number and literal. Strings are only followed to their end.
-- An error inside one (a raw control character, a bad escape) cannot change what a member means, so the provider may
-- refuse it. Positions count bytes from 1. All loops are linear in the text.

local json = {}

local byte, char, find, gsub = string.byte, string.char, string.find, string.gsub
local lower, match, sub = string.lower, string.match, string.sub
local floor = math.floor

local QUOTE, BACKSLASH, COMMA, COLON = 34, 92, 44, 58
local OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET = 123, 125, 91, 93
local MINUS, PLUS, DOT, ZERO = 45, 43, 46, 48
local LOWER_E, UPPER_E, LOWER_F, LOWER_N, LOWER_T = 101, 69, 102, 110, 116
local DEPTH_MAX = 128
-- The most names, values, commas and brackets in one text. The largest conversations have a hundredth of it. A text of
-- 16 MiB made only of these would occupy an Envoy worker for as long as thousands of calls.
local STEPS_MAX = 500000

-- The most bytes of a number with an exponent when it is written again: its digits, and a zero for each power of ten.
-- No double exceeds 1e308.
local WRITTEN_BYTES, EXPONENT_MAX = 24, 400
-- This many escaped quotes, each within this many bytes of the previous one, count as dense. The next stretch is then
-- probably dense too.
local DENSE_QUOTES, DENSE_BYTES, STRETCH_BYTES = 8, 8, 1024

-- What the grammar allows next.
local VALUE, VALUE_OR_END, NAME, NAME_OR_END, COMMA_OR_END = 1, 2, 3, 4, 5

-- The position and value of the first byte from `at` on that is not a space; nil past the end.
function json.skip_space(text, at)
  local code = byte(text, at)
  while code == 32 or code == 10 or code == 13 or code == 9 do
    at = at + 1
    code = byte(text, at)
  end
  return at, code
end
local skip_space = json.skip_space

-- The quote that closes the string whose content begins at `from`, if `quote` is the first one from there on.
-- Where one escaped quote follows the other, the bytes of the next stretch are looked at one by one.
local function quote_behind_escapes(text, from, quote)
  local at, dense = from, 0
  while quote do
    local before = quote - 1
    while before >= from and byte(text, before) == BACKSLASH do before = before - 1 end
    if (quote - before) % 2 == 1 then return quote end
    dense = quote - at < DENSE_BYTES and dense + 1 or 0
    at = quote + 1
    if dense == DENSE_QUOTES then
      dense = 0
      local stop = at + STRETCH_BYTES
      while at < stop do
        local code = byte(text, at)
        if code == QUOTE then return at end
        if not code then return nil end
        at = at + (code == BACKSLASH and 2 or 1)
      end
    end
    quote = find(text, '"', at, true)
  end
  return nil
end

-- The quote that closes the string whose content begins at `from`, nil when there is none. Most strings have no escaped
-- quote: for them there is no loop here, so LuaJIT compiles this as a part of its callers.
function json.closing_quote(text, from)
  local quote = find(text, '"', from, true)
  if not quote or quote == from or byte(text, quote - 1) ~= BACKSLASH then return quote end
  return quote_behind_escapes(text, from, quote)
end
local closing_quote = json.closing_quote

local function is_digit(code)
  return code ~= nil and code >= 48 and code <= 57
end

-- The position after the digits that begin at `at`.
local function digits_end(text, at)
  while is_digit(byte(text, at)) do at = at + 1 end
  return at
end

-- The last byte of the number that starts at `at`, or nil if none does. Then how many bytes it may gain when a server
-- writes it again without its exponent, as JavaScript and Go do (1e20) or decimal types (1e300).
local function number_end(text, at)
  if byte(text, at) == MINUS then at = at + 1 end
  if not is_digit(byte(text, at)) then return nil end
  local after = byte(text, at) == ZERO and at + 1 or digits_end(text, at)
  if byte(text, after) == DOT then
    if not is_digit(byte(text, after + 1)) then return nil end
    after = digits_end(text, after + 1)
  end
  local mark = byte(text, after)
  if mark == LOWER_E or mark == UPPER_E then
    local sign = byte(text, after + 1)
    local first = (sign == PLUS or sign == MINUS) and after + 2 or after + 1
    if not is_digit(byte(text, first)) then return nil end
    after = digits_end(text, first)
    return after - 1, WRITTEN_BYTES + math.min(tonumber(sub(text, first, after - 1)), EXPONENT_MAX)
  end
  return after - 1, 0
end

-- The last byte of the string, number, true, false or null that starts at `at`; nil if there is none. A byte that may
-- not follow it, like a second zero, fails as a missing comma. Then how many bytes it may gain.
function json.scalar_end(text, at, code)
  if code == QUOTE then return closing_quote(text, at + 1), 0 end
  if code == LOWER_T then return sub(text, at, at + 3) == "true" and at + 3 or nil, 0 end
  if code == LOWER_F then return sub(text, at, at + 4) == "false" and at + 4 or nil, 0 end
  if code == LOWER_N then return sub(text, at, at + 3) == "null" and at + 3 or nil, 0 end
  return number_end(text, at)
end
local scalar_end = json.scalar_end

-- Characters allowed in the names of a watched object. Any other can be spelled in a second way, or look like a name.
local PLAIN_NAME = "^[ !#-Z%[%]^_`a-~]*$"
local SHOWN_BYTES_MAX = 64

-- What is wrong with a name that a watched object does not have; nil if it is merely unknown. Some readers ignore case,
-- or the characters that join words. To them it may be the name of a known member.
local function name_problem(node, name)
  if not find(name, PLAIN_NAME) then
    return "a name in " .. node.where .. " is written with escapes, or with characters that no name there has"
  end
  local known = node.folded[json.fold(name)]
  if not known then return nil end
  return "'" .. sub(name, 1, SHOWN_BYTES_MAX) .. "' in " .. node.where .. " must be written '" .. known .. "'"
end

-- `name` in lower case, without the characters that join words.
function json.fold(name)
  return (gsub(lower(name), "[_%-]", ""))
end

-- The member of `node` whose name is quoted from `at` to `quote`, in the object of that number; nil if there is none.
-- Then what is wrong with the name, and the name to show; nil if nothing is.
local function member_named(node, text, at, quote, number, found)
  local name = sub(text, at + 1, quote - 1)
  local member = node.members[name]
  if not member then
    local problem = name_problem(node, name)
    if problem then return nil, problem, sub(name, 1, SHOWN_BYTES_MAX) end
    found.unknown(node, name)
    return nil
  end
  if member.seen_in == number then return nil, "'" .. name .. "' in " .. node.where .. " appears twice", name end
  member.seen_in, member.start = number, at
  return member
end

-- Reads the name that begins at `at`, in the object of `node` of that number. `node` is nil where nothing is watched.
-- Returns the position of its colon, and its member. On an error: nil, nil, what is wrong, and the offending name.
local function read_name(text, at, node, number, found)
  local quote = closing_quote(text, at + 1)
  if not quote then return nil, nil, "it ends within a string" end
  local member
  if node then
    local problem, name
    member, problem, name = member_named(node, text, at, quote, number, found)
    if problem then return nil, nil, problem, name end
  end
  local colon, code = skip_space(text, quote + 1)
  if code ~= COLON then return nil, nil, "a colon is missing at byte " .. colon end
  return colon, member
end

-- The node of the object or array that opens with `code` as the value of `member` of `node`; nil where nothing is
-- watched.
local function node_inside(node, member, code, found)
  local inner = member.node
  if inner and code == OPEN_BRACKET and not member.many then
    found.unknown(node, member.name)
    return nil
  end
  return inner
end

-- Numbers the objects of watched nodes across all walks, so that a member's earlier mark is never mistaken for one of
-- the current walk.
local serial = 0

-- The body of `json.walk`, from the opening brace at `at` on. Returns the position of the closing brace.
local function walk_object(text, at, root, found)
  -- By depth: whether it is an object, its node (or that of its objects), its number, and the member whose value it is.
  -- The text counts as the only element of a list of `root`.
  local is_object, nodes, serials, owners = {}, {}, {}, {}
  local depth, steps = 0, 0
  -- The node that the walk is in, and the member whose value comes next; nil where nothing is watched.
  local node, member = root, nil
  local code, expected = OPEN_BRACE, VALUE
  while code do
    steps = steps + 1
    if steps > STEPS_MAX then return nil, "it has more than " .. STEPS_MAX .. " names, values, commas and brackets" end
    local closes = false
    if expected == COMMA_OR_END then
      if code == COMMA then
        expected = is_object[depth] and NAME or VALUE
      elseif code == (is_object[depth] and CLOSE_BRACE or CLOSE_BRACKET) then
        closes = true
      else
        return nil, "a comma or a closing bracket is missing at byte " .. at
      end
    elseif expected == NAME or expected == NAME_OR_END then
      if code == QUOTE then
        local colon, problem, name
        colon, member, problem, name = read_name(text, at, node, serials[depth], found)
        if not colon then return nil, problem, name end
        at, expected = colon, VALUE
      elseif code == CLOSE_BRACE and expected == NAME_OR_END then
        closes = true
      else
        return nil, "a name is missing at byte " .. at
      end
    elseif code == OPEN_BRACE or code == OPEN_BRACKET then
      local inner = nil
      if member then
        member.first, inner = at, node_inside(node, member, code, found)
      elseif not is_object[depth] then
        inner = node
      end
      depth = depth + 1
      if depth > DEPTH_MAX then return nil, "it is nested too deeply" end
      if inner and code == OPEN_BRACE then
        serial = serial + 1
        inner.serial, serials[depth] = serial, serial
      end
      is_object[depth], nodes[depth], owners[depth] = code == OPEN_BRACE, inner, member
      node, member = inner, nil
      expected = code == OPEN_BRACE and NAME_OR_END or VALUE_OR_END
    elseif code == CLOSE_BRACKET and expected == VALUE_OR_END then
      closes = true
    else
      local last, growth = scalar_end(text, at, code)
      if not last then return nil, code == QUOTE and "it ends within a string" or "there is no value at byte " .. at end
      if member then member.first, member.last = at, last end
      if growth > 0 then found.growth = found.growth + growth end
      at, expected = last, COMMA_OR_END
    end
    if closes then
      if node and code == CLOSE_BRACE and node.settle then node.settle(node, text, found) end
      if owners[depth] then owners[depth].last = at end
      depth = depth - 1
      if depth == 0 then return at end
      node, member, expected = nodes[depth], nil, COMMA_OR_END
    end
    at, code = skip_space(text, at + 1)
  end
  return nil, "it ends before the object does"
end

-- Walks through `text`, which must be one JSON object, along `root`, a node made by `dialect/shape.lua`. Nodes say
-- which members are watched. An array is transparent: its objects count in its place.
--
-- Leaves in each node the number of its latest object, `node.serial`, and in each of its members the position in that
-- object: `member.seen_in` (the object's number), `start` (its name's opening quote), `first` and `last` (the bytes of
-- its value). No node is inside itself, so at the end of an object these are its own; then `node.settle(node, text,
-- found)` is called. `found.unknown(node, name)` is called for each member of a watched object that its node does not
-- have. `found.growth` increases by the bytes that numbers may gain when a server writes them again.
--
-- Returns the position of the opening brace. On an error: nil, what is wrong, as a clause, and the offending name.
function json.walk(text, root, found)
  local opening, code = skip_space(text, 1)
  if code ~= OPEN_BRACE then return nil, "it is not a JSON object" end
  local closing, problem, name = walk_object(text, opening, root, found)
  if not closing then return nil, problem, name end
  if select(2, skip_space(text, closing + 1)) then return nil, "something follows the object" end
  return opening
end

local function nothing() end

-- Scans `text`, which must be one JSON object. Returns three tables by name of its members: `first` and `last` byte of
-- the value, and `start`, the name's opening quote. Then the position of the opening brace. On an error: nil and what
-- is wrong.
function json.scan(text)
  local first, last, start = {}, {}, {}
  -- A node that has every plain name.
  local members = setmetatable({}, {
    __index = function(members, name)
      if not find(name, PLAIN_NAME) then return nil end
      members[name] = { name = name }
      return members[name]
    end,
  })
  local root = { members = members, folded = {}, where = "it" }
  local opening, problem = json.walk(text, root, { unknown = nothing, growth = 0 })
  if not opening then return nil, problem end
  for name, member in pairs(members) do
    first[name], last[name], start[name] = member.first, member.last, member.start
  end
  return first, last, start, opening
end

local ESCAPES = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function utf8(code)
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40) end
  if code < 0x10000 then
    return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
  end
  return char(
    0xF0 + floor(code / 0x40000),
    0x80 + floor(code / 0x1000) % 0x40,
    0x80 + floor(code / 0x40) % 0x40,
    0x80 + code % 0x40
  )
end

-- The text of the string value from `first` to `last`, including quotes. Nil if it is not a string, or contains an
-- escape that JSON does not have or half of a surrogate pair.
function json.string(text, first, last)
  if byte(text, first) ~= QUOTE then return nil end
  local raw = sub(text, first + 1, last - 1)
  -- Not searched in `text`, whose next backslash may be far past the string.
  if not find(raw, "\\", 1, true) then return raw end
  local parts, at = {}, first + 1
  while at < last do
    local escape = find(text, "\\", at, true)
    if not escape or escape >= last then
      parts[#parts + 1] = sub(text, at, last - 1)
      break
    end
    parts[#parts + 1] = sub(text, at, escape - 1)
    local letter = sub(text, escape + 1, escape + 1)
    if letter == "u" then
      local code = tonumber(match(text, "^%x%x%x%x", escape + 2) or "", 16)
      at = escape + 6
      if not code or (code >= 0xDC00 and code <= 0xDFFF) then return nil end
      if code >= 0xD800 and code <= 0xDBFF then
        local low = tonumber(match(text, "^\\u(%x%x%x%x)", at) or "", 16)
        if not low or low < 0xDC00 or low > 0xDFFF then return nil end
        code = 0x10000 + (code - 0xD800) * 0x400 + (low - 0xDC00)
        at = at + 6
      end
      parts[#parts + 1] = utf8(code)
    else
      if not ESCAPES[letter] then return nil end
      parts[#parts + 1] = ESCAPES[letter]
      at = escape + 2
    end
  end
  return table.concat(parts)
end

-- Whether the value from `first` to `last` is the literal null. An absent value (nil) is not.
function json.is_null(text, first, last)
  return first ~= nil and last - first == 3 and sub(text, first, last) == "null"
end

-- `plain` as a JSON string, including quotes.
function json.quote(plain)
  local escaped = plain:gsub('[%z\1-\31"\\\127]', function(letter)
    return string.format("\\u%04x", byte(letter))
  end)
  return '"' .. escaped .. '"'
end

return json
