-- Adds what is settled in counters, and what was told of them, to what is filed under other names.
-- KEYS: counters, windows, told
-- ARGV: for each counter its name, its new name, the range of what was told of it, and how that begins, before and now
local counters, windows, told = unpack(KEYS)
for at = 1, #ARGV, 6 do
  local old, new, from, to, begins, becomes = unpack(ARGV, at, at + 5)
  local ends_ms = redis.call('ZSCORE', windows, old)
  if ends_ms then
    local sums = redis.call('HMGET', counters, 's' .. old, 'b' .. old)
    redis.call('HDEL', counters, 's' .. old, 'b' .. old)
    for place, kind in ipairs({'s', 'b'}) do
      if sums[place] then
        redis.call('HINCRBY', counters, kind .. new, sums[place])
      end
    end
    redis.call('ZADD', windows, 'GT', ends_ms, new)
    for _, member in ipairs(redis.call('ZRANGEBYLEX', told, from, to)) do
      redis.call('ZREM', told, member)
      redis.call('ZADD', told, 0, becomes .. string.sub(member, #begins + 1))
    end
    -- What is still held under the old name says so until it has ended.
    if (tonumber(redis.call('HGET', counters, 'r' .. old)) or 0) == 0
      and (tonumber(redis.call('HGET', counters, 'd' .. old)) or 0) == 0 then
      redis.call('HDEL', counters, 'r' .. old, 'd' .. old)
      redis.call('ZREM', windows, old)
    end
  end
end
return #ARGV / 6
