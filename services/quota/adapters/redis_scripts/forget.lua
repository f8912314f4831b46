-- Drops those of the named counters that nobody needs any more and that hold nothing, and their reports.
-- KEYS: counters, windows, reported
-- ARGV: a moment: counters that somebody needs after it stay; then for each counter: name, range (from, to) of its
-- reports
-- Returns how many it dropped.
local counters, windows, reported = unpack(KEYS)
local ended_before = tonumber(ARGV[1])
local gone = 0
for at = 2, #ARGV, 3 do
  local counter, from, to = unpack(ARGV, at, at + 2)
  local ends = tonumber(redis.call('ZSCORE', windows, counter))
  local kept = redis.call('HMGET', counters, 'r' .. counter, 'd' .. counter)
  local is_idle = (tonumber(kept[1]) or 0) == 0 and (tonumber(kept[2]) or 0) == 0
  if ends and ends <= ended_before and is_idle then
    redis.call('HDEL', counters, 's' .. counter, 'r' .. counter, 'd' .. counter, 'b' .. counter)
    redis.call('ZREMRANGEBYLEX', reported, from, to)
    gone = gone + redis.call('ZREM', windows, counter)
  end
end
return gone
