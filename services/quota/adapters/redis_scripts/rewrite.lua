-- Changes the amounts that calls keep in counters, for each record that nobody has changed since the caller read it.
-- KEYS: counters, windows, records, index, ready
-- ARGV: generation ("*": any), kind of the kept amounts ("r": reserved, "d": doubt); then for each record: id, index
-- member, the record that the caller read, the new record (for both, "": none), number of counters that it moves; for
-- each of these: counter, moment from which nobody needs it, amount
-- Returns "written" and the ids of the written records; or "lost" if the counters are not reliable.
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
