-- Reads JSON into tables for the translators, and keeps what is only passed on as it was written.
--
-- A string, number, true or false is its own text, with the quotes and escapes of a string. So a translator passes
-- text on without decoding it, and no digit of a number is lost. An object is a table by name, without members that
-- are null. A list is a table that has its length at 0. The value of an opaque member is its whole text.

local json = require("json")

local document = {}

local byte, gsub, sub = string.byte, string.gsub, string.sub
local closing_quote, scalar_end, skip_space = json.closing_quote, json.scalar_end, json.skip_space

local QUOTE, COMMA, COLON, OPEN_BRACE, OPEN_BRACKET = 34, 44, 58, 123, 91
-- What closes an object or a list stands two places after what opens it, in ASCII.
local TO_CLOSE = 2
local DEPTH_MAX = 128
-- The most values in one text. An answer of 16 MiB made of these would occupy a worker as long as a thousand calls.
local VALUES_MAX = 500000

-- The text that is read, the names of its opaque members, and how many values it may still have. Nothing here yields,
-- so no other text comes between.
local text, opaque, left

local function fail(problem, at)
  error({ message = "The JSON has " .. problem .. " at byte " .. at .. "." }, 0)
end

local read_value

-- The position and first byte of a member's value, and the member's name. `at` and `code` are where the name begins.
local function read_name(at, code)
  local quote = code == QUOTE and closing_quote(text, at + 1) or fail("no name", at)
  local colon, found = skip_space(text, quote + 1)
  if found ~= COLON then fail("no colon", colon) end
  local first, value = skip_space(text, colon + 1)
  return first, value, sub(text, at + 1, quote - 1)
end

-- The object or list that opens at `at`, and the position of its end. Builds nothing unless `keeps`.
local function read_inside(at, opening, depth, keeps)
  if depth > DEPTH_MAX then fail("too many levels", at) end
  local closing, is_object = opening + TO_CLOSE, opening == OPEN_BRACE
  local node, count = keeps and {} or nil, 0
  local first, code = skip_space(text, at + 1)
  if code ~= closing then
    while true do
      local name, value, last
      if is_object then first, code, name = read_name(first, code) end
      value, last = read_value(first, code, depth, keeps and not (name and opaque[name]))
      if keeps then
        count = count + 1
        if not is_object then
          node[count] = value
        else
          if opaque[name] then value = sub(text, first, last) end
          if value ~= "null" then node[name] = value end
        end
      end
      first, code = skip_space(text, last + 1)
      if code == closing then break end
      if code ~= COMMA then fail("no comma or closing bracket", first) end
      first, code = skip_space(text, first + 1)
    end
  end
  if keeps and not is_object then node[0] = count end
  return node, first
end

-- The value that begins at `at` with the byte `code`, and the position of its last byte. Without `keeps` no value.
function read_value(at, code, depth, keeps)
  left = left - 1
  if left < 0 then fail("more than " .. VALUES_MAX .. " values", at) end
  if code == OPEN_BRACE or code == OPEN_BRACKET then return read_inside(at, code, depth + 1, keeps) end
  local last = code and scalar_end(text, at, code) or fail("no value", at)
  return keeps and sub(text, at, last) or nil, last
end

local function read(source, names, keeps)
  text, opaque, left = source, names, VALUES_MAX
  local at, code = skip_space(text, 1)
  local value, last = read_value(at, code, 0, keeps)
  local after, more = skip_space(text, last + 1)
  if more then fail("something behind its end", after) end
  return value, code
end

local NONE = {}

-- The document that `source` is. `names` are the opaque members, as a set; nil if there are none. Raises a table with
-- a `message` if it is not one JSON value.
function document.read(source, names)
  return (read(source, names or NONE, true))
end

-- Whether `source` is one JSON object.
function document.is_object_text(source)
  local valid, _, code = pcall(read, source, NONE, false)
  return valid and code == OPEN_BRACE
end

function document.is_string(value)
  return type(value) == "string" and byte(value) == QUOTE
end

function document.is_object(value)
  return type(value) == "table" and value[0] == nil
end

function document.is_list(value)
  return type(value) == "table" and value[0] ~= nil
end

-- The number that a value is; nil if it is none.
function document.number(value)
  if type(value) ~= "string" or byte(value) == QUOTE then return nil end
  return tonumber(value)
end

-- A string's text between its quotes, as it was written.
function document.inner(value)
  return sub(value, 2, -2)
end

-- A plain text, such as a line of a stream, that is a string of JSON. Nil if it has escapes that JSON does not have.
function document.plain(value)
  return json.string(value, 1, #value)
end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escaped(letter)
  return ESCAPES[letter] or string.format("\\u%04x", byte(letter))
end

-- A plain text as a string of JSON. Arguments of tools are full of quotes, so these take two bytes, and not six.
function document.quote(plain)
  return '"' .. gsub(plain, '[%z\1-\31"\\\127]', escaped) .. '"'
end

return document
