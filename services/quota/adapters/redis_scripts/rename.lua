-- Moves the settled sums and the reports of counters to new names, and adds them to the sums there.
-- KEYS: counters, windows, reported
-- ARGV: for each counter: name, new name, range (from, to) of its reports, prefix of its reports, their new prefix
local counters, windows, reported = unpack(KEYS)
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
    for _, member in ipairs(redis.call('ZRANGEBYLEX', reported, from, to)) do
      redis.call('ZREM', reported, member)
      redis.call('ZADD', reported, 0, becomes .. string.sub(member, #begins + 1))
    end
    -- Calls that hold room under the old name keep it until they end.
    if (tonumber(redis.call('HGET', counters, 'r' .. old)) or 0) == 0
      and (tonumber(redis.call('HGET', counters, 'd' .. old)) or 0) == 0 then
      redis.call('HDEL', counters, 'r' .. old, 'd' .. old)
      redis.call('ZREM', windows, old)
    end
  end
end
return #ARGV / 6
