-- Drops those of the named counters that hold nothing.
-- KEYS: counters, windows, short windows, told
-- ARGV: counters
-- Returns how many.
local counters, windows, short_windows, told = unpack(KEYS)
local gone = 0
for _, counter in ipairs(ARGV) do
  if (tonumber(redis.call('HGET', counters, 'r' .. counter)) or 0) == 0 then
    redis.call('HDEL', counters, 's' .. counter, 'r' .. counter, 'b' .. counter)
    redis.call('ZREM', windows, counter)
    redis.call('HDEL', told, counter)
    gone = gone + redis.call('ZREM', short_windows, counter)
  end
end
return gone
