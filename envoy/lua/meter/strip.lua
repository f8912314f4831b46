-- Removes the usage from one event of an OpenAI stream: the chunk for clients that asked for it, and the `"usage":null`
-- that the provider puts into all other events because of it.

local json = require("json")
local lines = require("meter/lines")
local reader = require("meter/reader")

local strip = {}

local byte, find, sub = string.byte, string.find, string.sub
local skip_space = json.skip_space

local COMMA, QUOTE = 44, 34

-- The last byte of the value that begins at `at`; nil when it has not ended.
local function value_end(text, at)
  local code = byte(text, at)
  if code == QUOTE then return json.closing_quote(text, at + 1) end
  if code == 123 or code == 91 then return reader.closing_bracket(text, at + 1) end
  while code and code > 32 and code ~= COMMA and code ~= 125 do
    at = at + 1
    code = byte(text, at)
  end
  return code and at - 1
end

-- The members "usage" and "choices" of the object in `text`, each as {its key's quote, its value's first and last
-- byte}; nil if `text` is not an object.
local function members_of(text)
  local at, code = skip_space(text, 1)
  if code ~= 123 then return nil end
  local found = {}
  at, code = skip_space(text, at + 1)
  while code == QUOTE do
    local start, key_end = at, json.closing_quote(text, at + 1)
    if not key_end then return nil end
    at, code = skip_space(text, key_end + 1)
    if code ~= 58 then return nil end
    at = skip_space(text, at + 1)
    local last = value_end(text, at)
    if not last or last < at then return nil end
    local key = sub(text, start + 1, key_end - 1)
    if key == "usage" or key == "choices" then found[key] = { start, at, last } end
    at, code = skip_space(text, last + 1)
    if code == COMMA then
      at, code = skip_space(text, at + 1)
    elseif code ~= 125 then
      return nil
    end
  end
  return code == 125 and found or nil
end

-- The bytes to remove from `text` for its member `usage`, including its comma.
local function bounds_of(text, usage)
  local before = usage[1] - 1
  local after, code = skip_space(text, usage[3] + 1)
  if code == COMMA then return usage[1], after end
  while before > 1 and (byte(text, before) == 32 or byte(text, before) == 9) do before = before - 1 end
  if byte(text, before) == COMMA then return before, usage[3] end
  return usage[1], usage[3]
end

-- Returns one complete event, including the empty line, in the form for the client; "" to drop it.
function strip.event(event)
  if not find(event, '"usage"', 1, true) then return event end
  local data, from = lines.data_of(event, 1, #event)
  local members = members_of(data)
  local usage, choices = members and members.usage, members and members.choices
  if not usage then return event end
  if sub(data, usage[2], usage[3]) == "null" then
    -- With several data lines it stays. Nobody writes it that way, and it does no harm.
    if not from then return event end
    local first, last = bounds_of(data, usage)
    return sub(event, 1, from + first - 2) .. sub(event, from + last)
  end
  local is_empty = choices and byte(data, choices[2]) == 91 and skip_space(data, choices[2] + 1) == choices[3]
  return is_empty and "" or event
end

return strip
