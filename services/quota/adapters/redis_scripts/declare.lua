-- Declares that the counters are reliable, unless another process has done so.
-- KEYS: ready, sequence
-- ARGV: generation, run id of this server
-- Returns 1 if it did, else 0.
local ready, sequence = unpack(KEYS)
local generation, run_id = unpack(ARGV)
if redis.call('EXISTS', ready) == 1 then
  return 0
end
redis.call('HSET', ready, 'generation', generation, 'run_id', run_id)
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
-- Nobody knows the sequence numbers from before the loss. A start at the current time does not give one twice.
local floor = now_ms * 1000
if (tonumber(redis.call('GET', sequence)) or 0) < floor then
  redis.call('SET', sequence, string.format('%.0f', floor))
end
return 1
