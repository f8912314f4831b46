-- Checks the objects of a request against the table of what a translation carries, so that no member is dropped without
-- a word. The table is services/router/domain/translation.py; it comes as the module `translations`.

local document = require("translate/document")
local expect = require("translate/expect")

local members = {}

-- How many ignored members an answer names.
local IGNORED_MAX = 16
-- How much of a name an error shows.
local NAME_BYTES_MAX = 128

-- Whether a value asks for nothing.
local function is_off(value)
  if value == "false" or value == '""' then return true end
  if document.is_list(value) then return value[0] == 0 end
  return document.number(value) == 0
end

-- Checks for one request. `objects` are the rows of its direction, by place.
function members.new(objects)
  return { objects = objects, ignored = {} }
end

-- Notes that the call is made without a part of the request.
function members.note(checks, name)
  local ignored = checks.ignored
  if ignored[name] or #ignored >= IGNORED_MAX then return end
  ignored[name] = true
  ignored[#ignored + 1] = name
end

-- Refuses a part of the request that the provider's dialect cannot say.
function members.refuse(name)
  expect.refuse("'" .. name .. "' is not possible here: the provider of this model speaks another dialect, which has "
    .. "nothing like it. Leave it out, or call a model whose provider speaks this dialect.", name)
end

-- Checks the members of one object. Refuses the first of those, by name, that must be refused.
function members.check(checks, object, place)
  local rows, refused = checks.objects[place], nil
  for name, value in pairs(object) do
    local outcome = rows[name]
    if outcome ~= "carried" and not is_off(value) then
      if outcome == "ignored" then
        members.note(checks, place == "" and name or place .. "." .. name)
      elseif not refused or name < refused then
        refused = name
      end
    end
  end
  if refused then members.refuse(string.sub(place == "" and refused or place .. "." .. refused, 1, NAME_BYTES_MAX)) end
  return object
end

-- The noted names, sorted and joined by commas; nil if there are none.
function members.ignored(checks)
  if #checks.ignored == 0 then return nil end
  table.sort(checks.ignored)
  return table.concat(checks.ignored, ",")
end

return members
