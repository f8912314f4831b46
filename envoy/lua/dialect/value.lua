-- Reads typed values from a body and refuses other types. One reader may take "5", 5.0 or true for a number, and the
-- next may not.

local json = require("json")
local shape = require("dialect/shape")

local value = {}

local byte, find, match, sub = string.byte, string.find, string.match, string.sub

-- More digits are not exact in a double.
local INTEGER_DIGITS_MAX = 15
local OPEN_BRACE, OPEN_BRACKET = 123, 91

-- A refusal with 400. The checks raise it, and one place catches it.
function value.refuse(message, parameter)
  error({ message = message, parameter = parameter }, 0)
end

local refuse = value.refuse

function value.string(node, text, name)
  local first, last = shape.span(node, text, name)
  if not first then return nil end
  local found = json.string(text, first, last)
  if not found then refuse("'" .. name .. "' must be a string.", name) end
  return found
end

function value.boolean(node, text, name)
  local first, last = shape.span(node, text, name)
  if not first then return nil end
  local word = sub(text, first, last)
  if word ~= "true" and word ~= "false" then refuse("'" .. name .. "' must be true or false.", name) end
  return word == "true"
end

-- A count of at least `least`, which is 0 or 1. Readers that take 4.0 all read 4. About other fractions and exponents
-- they differ, so those do not qualify.
function value.count(node, text, name, least)
  local first, last = shape.span(node, text, name)
  if not first then return nil end
  local number = sub(text, first, last)
  local digits = match(number, "^(%d+)%.0+$") or number
  if digits == "0" and least == 0 then return 0 end
  if not find(digits, "^[1-9]%d*$") or #digits > INTEGER_DIGITS_MAX then
    refuse("'" .. name .. "' must be a positive integer.", name)
  end
  return tonumber(digits)
end

-- The largest of several bounds on one thing. -1 is no bound, and then none of the others is one.
function value.bound(node, text, names)
  local largest, unbounded
  for _, name in ipairs(names) do
    local first, last = shape.span(node, text, name)
    if first and sub(text, first, last) == "-1" then
      unbounded = true
    else
      largest = value.larger(largest, value.count(node, text, name, 1))
    end
  end
  return not unbounded and largest or nil
end

-- A thinking budget. 0 turns thinking off and -1 leaves it to the model, so neither is a budget.
function value.budget(node, text, name)
  local first, last = shape.span(node, text, name)
  if not first then return nil end
  local word = sub(text, first, last)
  if word == "0" or word == "-1" then return nil end
  return value.count(node, text, name, 1)
end

-- The object of a member; nil if it is absent or null.
function value.object(node, text, name)
  local first = shape.span(node, text, name)
  if not first then return nil end
  if byte(text, first) ~= OPEN_BRACE then refuse("'" .. name .. "' must be an object.", name) end
  return shape.inner(node, name)
end

-- Refuses a conversation that is neither a list nor another form that the dialect accepts.
function value.check_list(node, text, name)
  local first = shape.span(node, text, name)
  if first and byte(text, first) ~= OPEN_BRACKET then refuse("'" .. name .. "' must be a list.", name) end
end

function value.larger(one, other)
  if one and other then return math.max(one, other) end
  return one or other
end

return value
