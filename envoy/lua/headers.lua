-- Which headers of an attempt pass. The lists come from services/router/domain/headers.py.

local headers = {}

local byte, find, sub = string.byte, string.find, string.sub
local COLON = 58
-- What is told of a call's dropped headers: so many names, none longer, all together.
local NAMES_MAX, NAME_BYTES_MAX, TOLD_BYTES_MAX = 16, 64, 1024

local function is_expected(name, expected)
  if expected.names[name] then return true end
  for _, prefix in ipairs(expected.prefixes) do
    if sub(name, 1, #prefix) == prefix then return true end
  end
  return false
end

-- Removes every header of `map` that `passing` does not name. Calls `told(name)` before it removes one that is not
-- `expected`, for at most 16 of them.
function headers.keep(map, passing, expected, told)
  -- Envoy raises when a map changes while it is walked.
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
      told(name)
    end
    map:remove(name)
  end
end

-- `text` with one more dropped header, as the ledger reads it: "provider>name" for a request's, "provider<name" for an
-- answer's, joined by commas. Names that are no plain names are left out, and so is what is too long.
function headers.tell(text, provider, direction, name)
  if #name > NAME_BYTES_MAX or find(name, "[^%w-]") then return text end
  local item = provider .. direction .. name
  if not text or text == "" then return item end
  if #text + #item >= TOLD_BYTES_MAX or find("," .. text .. ",", "," .. item .. ",", 1, true) then return text end
  return text .. "," .. item
end

return headers
