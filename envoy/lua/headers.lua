-- Which headers of an attempt pass. The lists come from services/router/domain/headers.py.

local headers = {}

local byte, find, sub = string.byte, string.find, string.sub
local COLON = 58
-- What is told of a call's dropped headers: so many names, none longer, all together.
local NAMES_MAX, NAME_BYTES_MAX, TOLD_BYTES_MAX = 16, 64, 1024

local function begins(name, prefixes)
  for at = 1, #prefixes do
    local prefix = prefixes[at]
    if sub(name, 1, #prefix) == prefix then return true end
  end
  return false
end

-- Removes every header of `map` that `passing` does not name, but for those of `removed_later`, which Envoy itself
-- removes behind this script at a tenth of the cost. Calls `told(name)` before it removes one, for at most 16.
function headers.keep(map, passing, removed_later, told)
  -- Envoy raises when a map changes while it is walked.
  local doomed, count
  for name in pairs(map) do
    if not (passing[name] or removed_later.names[name] or byte(name) == COLON or begins(name, removed_later.prefixes)) then
      doomed, count = doomed or {}, (count or 0) + 1
      doomed[count] = name
    end
  end
  for at = 1, count or 0 do
    if at <= NAMES_MAX then told(doomed[at]) end
    map:remove(doomed[at])
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
