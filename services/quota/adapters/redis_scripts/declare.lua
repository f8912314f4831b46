-- Declares that the counters can be believed, unless somebody has.
-- KEYS: ready, sequence
-- ARGV: generation, run id of this server
-- Returns whether it did.
local ready, sequence = unpack(KEYS)
local generation, run_id = unpack(ARGV)
if redis.call('EXISTS', ready) == 1 then
  return 0
end
redis.call('HSET', ready, 'generation', generation, 'run_id', run_id)
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
-- Numbers that were given before are not given again, although nobody knows them any more.
local floor = now_ms * 1000
if (tonumber(redis.call('GET', sequence)) or 0) < floor then
  redis.call('SET', sequence, string.format('%.0f', floor))
end
return 1
