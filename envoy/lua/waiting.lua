-- Bodies that are on their way: how many bytes one worker waits for, in all and for each holder of a key. What is held
-- counts with the size that it was announced with, from before its first byte until it is whole.

-- Longer numbers are not exact in a double, and no size.
local DIGITS_MAX = 15

local find = string.find

local waiting = {}

-- The size that a request announces; nil when it announces none, as chunks and many HTTP/2 requests do.
function waiting.announced(headers)
  local length = headers:get("content-length")
  if not length or #length > DIGITS_MAX or not find(length, "^%d+$") then return nil end
  return tonumber(length)
end

-- Room for `bytes_max` in all, of which one holder may take `holder_bytes_max`.
function waiting.room(bytes_max, holder_bytes_max)
  local taken, by_holder = 0, {}
  local room = {}

  -- Takes room for a body; nil when there is none. What it returns gives the room back, once, when it is called. A
  -- request that ends before its body is whole never comes to that: its share goes back when Lua collects what the
  -- request left behind. That may be a little later, never too early.
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
