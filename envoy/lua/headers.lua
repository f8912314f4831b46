-- Filters the headers of an attempt. The lists come from services/router/domain/headers.py.

local headers = {}

local byte, find, sub = string.byte, string.find, string.sub
local COLON = 58
-- Limits on the reported names of a call's dropped headers: their number, the length of one, the length of all.
local NAMES_MAX, NAME_BYTES_MAX, DROPPED_BYTES_MAX = 16, 64, 1024

local function is_expected(name, expected)
  if expected.names[name] then return true end
  for _, prefix in ipairs(expected.prefixes) do
    if sub(name, 1, #prefix) == prefix then return true end
  end
  return false
end

-- Removes every header of `map` that `passing` does not name. Before it removes one that is not `expected`, it calls
-- `report(name)`, at most 16 times.
function headers.keep(map, passing, expected, report)
  -- Envoy raises when a map changes during iteration.
  local doomed, count, noted = {}, 0, 0
  for name in pairs(map) do
    if not passing[name] and byte(name) ~= COLON then
      count = count + 1
      doomed[count] = name
    end
  end
  for at = 1, count do
    local name = doomed[at]
    if noted < NAMES_MAX and not is_expected(name, expected) then
      noted = noted + 1
      report(name)
    end
    map:remove(name)
  end
end

-- Appends a dropped header to `text` in the ledger's form: "provider>name" for a request's, "provider<name" for an
-- answer's, joined by commas. Leaves out names that are not plain names, and whatever is too long.
function headers.add_dropped(text, provider, direction, name)
  if #name > NAME_BYTES_MAX or find(name, "[^%w-]") then return text end
  local item = provider .. direction .. name
  if not text or text == "" then return item end
  if #text + #item >= DROPPED_BYTES_MAX or find("," .. text .. ",", "," .. item .. ",", 1, true) then return text end
  return text .. "," .. item
end

return headers
