-- Bodies in transit: how many bytes one worker waits for, in all and for each holder of a key. A body counts with its
-- announced size, from before its first byte until it is complete.

-- Longer numbers are not exact in a double, and no plausible size.
local DIGITS_MAX = 15

local find = string.find

local waiting = {}

-- The size that a request announces, or nil. Chunked and many HTTP/2 requests announce none.
function waiting.announced(headers)
  local length = headers:get("content-length")
  if not length or #length > DIGITS_MAX or not find(length, "^%d+$") then return nil end
  return tonumber(length)
end

-- Room for `bytes_max` in all. One holder may take up to `holder_bytes_max` of it.
function waiting.room(bytes_max, holder_bytes_max)
  local taken, by_holder = 0, {}
  local room = {}

  -- Takes room for a body, or returns nil when there is none. The returned function gives the room back, once. A
  -- request that ends before its body is complete never calls it. Its share goes back when Lua collects the request's
  -- remains, which may be a little late but never early.
  function room.take(bytes, holder)
    holder = holder or ""
    local before = by_holder[holder] or 0
    if taken + bytes > bytes_max or before + bytes > (holder_bytes_max or bytes_max) then return nil end
    taken, by_holder[holder] = taken + bytes, before + bytes
    local share = newproxy(true)
    local function give_back()
      if not share then return end
      share = nil
      local left = by_holder[holder] - bytes
      taken, by_holder[holder] = taken - bytes, left > 0 and left or nil
    end
    getmetatable(share).__gc = give_back
    return give_back
  end

  function room.taken()
    return taken
  end

  return room
end

return waiting
