-- Writes what calls keep in counters anew, each if it is as whoever decided it read it.
-- KEYS: counters, windows, records, index, ready
-- ARGV: generation ("*": whatever it is), the kind of what is kept ("r": reserved, "d": doubt); then for each its id, its
-- place in the index, the record that was read and the one to be ("": none), how many counters it moves, and for each its
-- name, when it stops to matter, and by how much
-- Returns "written" and the ids of those that were; or "lost" (the counters cannot be believed).
local counters, windows, records, index, ready = unpack(KEYS)

local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end

local generation, kind = take(), take()
if generation ~= '*' and redis.call('HGET', ready, 'generation') ~= generation then
  return {'lost'}
end

local written = {'written'}
while at < #ARGV do
  local id, place, before, after = take(), take(), take(), take()
  local is_as_read = (redis.call('HGET', records, id) or '') == before
  for _ = 1, tonumber(take()) do
    local counter, ends_ms, amount = take(), take(), take()
    if is_as_read then
      redis.call('HINCRBY', counters, kind .. counter, amount)
      redis.call('ZADD', windows, 'GT', ends_ms, counter)
    end
  end
  if is_as_read then
    written[#written + 1] = id
    if after == '' then
      redis.call('HDEL', records, id)
      redis.call('ZREM', index, place)
    else
      redis.call('HSET', records, id, after)
      redis.call('ZADD', index, 0, place)
    end
  end
end
return written
