-- Takes typed members out of a document, and raises a refusal if one has another type. In a request the refusal is the
-- client's 400; in an answer it means that the provider did not answer in its dialect.

local document = require("translate/document")

local expect = {}

local is_list, is_object, is_string = document.is_list, document.is_object, document.is_string

-- Raises a refusal. `parameter` names the member; nil if there is none.
function expect.refuse(message, parameter)
  error({ message = message, parameter = parameter }, 0)
end

local refuse = expect.refuse

local function typed(is_type, kind)
  -- `where` is the place of the object, as a prefix for names: "" or "messages[0].".
  return function(object, name, where)
    local value = object[name]
    if not is_type(value) then refuse("'" .. where .. name .. "' must be " .. kind .. ".", where .. name) end
    return value
  end
end

local function or_absent(required)
  return function(object, name, where)
    if object[name] == nil then return nil end
    return required(object, name, where)
  end
end

local function is_number(value) return document.number(value) ~= nil end
local function is_boolean(value) return value == "true" or value == "false" end
local function is_object_text(value) return type(value) == "string" and string.byte(value) == 123 end

expect.string = typed(is_string, "a string")
expect.object = typed(is_object, "an object")
expect.list = typed(is_list, "a list")
-- An opaque member that is an object: its whole text.
expect.object_text = typed(is_object_text, "an object")
expect.optional_string = or_absent(expect.string)
expect.optional_object = or_absent(expect.object)
expect.optional_list = or_absent(expect.list)
expect.optional_object_text = or_absent(expect.object_text)
-- Its text, as it was written.
expect.optional_number = or_absent(typed(is_number, "a number"))
expect.optional_boolean = or_absent(typed(is_boolean, "true or false"))

-- The objects of a list, one after the other: for at, object in expect.each(list, "messages") do
function expect.each(list, place)
  local at = 0
  return function()
    at = at + 1
    if at > list[0] then return nil end
    local object = list[at]
    if not is_object(object) then refuse("'" .. place .. "[" .. at - 1 .. "]' must be an object.", place) end
    return at, object
  end
end

return expect
