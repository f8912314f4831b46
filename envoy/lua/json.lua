-- A strict scan of a JSON object: where the top-level members are, and what stands deeper inside.
--
-- The structure is checked completely: every object, array, number and literal. Strings are only followed to their
-- end; what is wrong inside one (a raw control character, a bad escape) is left for the provider to refuse, since it
-- cannot change what a member means. Positions count bytes from 1. All loops are linear in the text.

local json = {}

local byte, find, sub, match, char = string.byte, string.find, string.sub, string.match, string.char
local floor = math.floor

local QUOTE, BACKSLASH, COMMA, COLON = 34, 92, 44, 58
local OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET = 123, 125, 91, 93
local MINUS, PLUS, DOT, ZERO = 45, 43, 46, 48
local LOWER_E, UPPER_E, LOWER_F, LOWER_N, LOWER_T = 101, 69, 102, 110, 116
local DEPTH_MAX = 128
-- Names, values, commas and brackets of one text. The largest conversations have a hundredth of it; a text of 16 MiB that
-- consists of nothing else would hold a worker of Envoy for as long as thousands of calls.
local STEPS_MAX = 500000

-- What may come next.
local VALUE, VALUE_OR_END, NAME, NAME_OR_END, COMMA_OR_END = 1, 2, 3, 4, 5

local function skip_space(text, at)
  local code = byte(text, at)
  while code == 32 or code == 10 or code == 13 or code == 9 do
    at = at + 1
    code = byte(text, at)
  end
  return at, code
end

-- The closing quote of the string that opens at `open`, nil when there is none.
local function string_end(text, open)
  local from = open + 1
  while true do
    local quote = find(text, '"', from, true)
    if not quote then return nil end
    local before = quote - 1
    while byte(text, before) == BACKSLASH do before = before - 1 end
    if (quote - before) % 2 == 1 then return quote end
    from = quote + 1
  end
end

local function is_digit(code)
  return code ~= nil and code >= 48 and code <= 57
end

-- The position after the digits that begin at `at`.
local function digits_end(text, at)
  while is_digit(byte(text, at)) do at = at + 1 end
  return at
end

-- The last byte of the number that starts at `at`, nil when none does.
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
  end
  return after - 1
end

-- The last byte of the number, true, false or null that starts at `at`, nil when it is none of them. What may not stand
-- right behind it, like a second zero, is no comma either.
local function scalar_end(text, at, code)
  if code == LOWER_T then return sub(text, at, at + 3) == "true" and at + 3 or nil end
  if code == LOWER_F then return sub(text, at, at + 4) == "false" and at + 4 or nil end
  if code == LOWER_N then return sub(text, at, at + 3) == "null" and at + 3 or nil end
  return number_end(text, at)
end

-- Scans `text`, which must be one JSON object.
--
-- Returns three tables by name of the top-level member, `first` and `last` byte of its value and the byte `start` of
-- its name's opening quote, then the position of the opening brace. Or nil and what is wrong, as a clause.
--
-- `watched` (optional) is a set of names; for each member with such a name that stands deeper than the top level,
-- visit(top, owner, name, object, first, last) is called, however the name is spelt. `top` is the name of the top-level member that it stands in, `owner` the name under which its object stands
-- (directly or as an element of an array), `object` a number that differs for each object. `first` and `last` are the
-- content of a string value without its quotes, and nil for other values.
function json.scan(text, watched, visit)
  local first, last, start = {}, {}, {}
  local is_object, owners, objects = {}, {}, {}
  local depth, serial = 0, 0
  -- The first backslash that is not behind: names before it need no second look.
  local escape = find(text, "\\", 1, true) or math.huge
  local name, top
  local at, code = skip_space(text, 1)
  local opening = at
  if code ~= OPEN_BRACE then return nil, "it is not a JSON object" end
  local expected = VALUE
  local steps = 0
  while code do
    steps = steps + 1
    if steps > STEPS_MAX then return nil, "it has more than " .. STEPS_MAX .. " names, values, commas and brackets" end
    local value_end
    if expected == COMMA_OR_END then
      if code == COMMA then
        expected = is_object[depth] and NAME or VALUE
      elseif code == (is_object[depth] and CLOSE_BRACE or CLOSE_BRACKET) then
        value_end = at
      else
        return nil, "a comma or a closing bracket is missing at byte " .. at
      end
    elseif expected == NAME or expected == NAME_OR_END then
      if code == QUOTE then
        local quote = string_end(text, at)
        if not quote then return nil, "it ends within a string" end
        local open = at
        name = sub(text, open + 1, quote - 1)
        if depth == 1 then
          if find(name, "\\", 1, true) then return nil, "a top-level name is written with escapes" end
          if start[name] then return nil, "a top-level name appears twice" end
          start[name] = at
          top = name
        elseif watched then
          if escape < open then escape = find(text, "\\", open, true) or math.huge end
          if escape < quote then name = json.string(text, open, quote) or name end
        end
        at, code = skip_space(text, quote + 1)
        if code ~= COLON then return nil, "a colon is missing at byte " .. at end
        expected = VALUE
      elseif code == CLOSE_BRACE and expected == NAME_OR_END then
        value_end = at
      else
        return nil, "a name is missing at byte " .. at
      end
    elseif code == QUOTE then
      local quote = string_end(text, at)
      if not quote then return nil, "it ends within a string" end
      if depth == 1 then
        first[name], last[name] = at, quote
      elseif is_object[depth] and watched and watched[name] then
        visit(top, owners[depth], name, objects[depth], at + 1, quote - 1)
      end
      at = quote
      expected = COMMA_OR_END
    elseif code == OPEN_BRACE or code == OPEN_BRACKET then
      local owner = name
      if depth == 1 then
        first[name] = at
      elseif depth > 1 then
        if not is_object[depth] then
          owner = owners[depth]
        elseif watched and watched[name] then
          visit(top, owners[depth], name, objects[depth], nil, nil)
        end
      end
      depth = depth + 1
      if depth > DEPTH_MAX then return nil, "it is nested too deeply" end
      serial = serial + 1
      is_object[depth], owners[depth], objects[depth] = code == OPEN_BRACE, owner, serial
      expected = code == OPEN_BRACE and NAME_OR_END or VALUE_OR_END
    elseif code == CLOSE_BRACKET and expected == VALUE_OR_END then
      value_end = at
    else
      local word_end = scalar_end(text, at, code)
      if not word_end then return nil, "there is no value at byte " .. at end
      if depth == 1 then
        first[name], last[name] = at, word_end
      elseif is_object[depth] and watched and watched[name] then
        visit(top, owners[depth], name, objects[depth], nil, nil)
      end
      at = word_end
      expected = COMMA_OR_END
    end
    at = at + 1
    if value_end then
      depth = depth - 1
      if depth == 1 then last[top] = value_end end
      if depth == 0 then
        if select(2, skip_space(text, at)) then return nil, "something follows the object" end
        return first, last, start, opening
      end
      expected = COMMA_OR_END
    end
    at, code = skip_space(text, at)
  end
  return nil, "it ends before the object does"
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

-- The text of the string value from `first` to `last`, quotes included. Nil when it is no string, or holds an escape
-- that JSON does not have or half of a surrogate pair.
function json.string(text, first, last)
  if byte(text, first) ~= QUOTE then return nil end
  if not find(text, "\\", first, true) or find(text, "\\", first, true) > last then
    return sub(text, first + 1, last - 1)
  end
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

-- `plain` as a JSON string, quotes included.
function json.quote(plain)
  local escaped = plain:gsub('[%z\1-\31"\\\127]', function(letter)
    return string.format("\\u%04x", byte(letter))
  end)
  return '"' .. escaped .. '"'
end

return json
