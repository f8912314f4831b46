-- Ends reservations, each once: takes back what they hold and adds what their calls took.
-- KEYS: counters, reservations, index, told, crossings, sequence, ready
-- ARGV: now in ms, generation; how many reservations, then for each its id, its place in the index by request, by epoch,
-- how many holds, and for each hold its counter, what to add to reserved (negative) and to settled; how many counters to
-- watch, then for each its name, how many thresholds, and for each, ascending, its basis points, the smallest amount that
-- reaches it, and what is told then.
-- Returns the ids that were open, after "ended"; or "lost" (the counters cannot be believed).
local counters, reservations, index, told, crossings, sequence, ready = unpack(KEYS)
local most_crossings = 10000

local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end

local now_ms, generation = take(), take()
local known, from_ms = unpack(redis.call('HMGET', ready, 'generation', 'from_ms'))
local now = redis.call('TIME')
if known ~= generation or now[1] * 1000 + now[2] / 1000 < tonumber(from_ms) then
  return {'lost'}
end

local ended, moved = {'ended'}, {}
for _ = 1, tonumber(take()) do
  local id, by_request, by_epoch = take(), take(), take()
  local open = redis.call('HDEL', reservations, id) == 1
  if open then
    redis.call('ZREM', index, 'i\31' .. id, by_request, by_epoch)
    ended[#ended + 1] = id
  end
  for _ = 1, tonumber(take()) do
    local counter, reserved, settled = take(), take(), take()
    if open then
      redis.call('HINCRBY', counters, 'r' .. counter, reserved)
      redis.call('HINCRBY', counters, 's' .. counter, settled)
      moved[counter] = true
    end
  end
end

local function tell(counter, total, basis_points, payload)
  local number = string.format('%.0f', redis.call('INCR', sequence))
  redis.call('ZADD', crossings, number, table.concat({number, total, now_ms, payload}, '\n'))
  redis.call('HSET', told, counter, basis_points)
end

for _ = 1, tonumber(take()) do
  local counter = take()
  local total, restored = unpack(redis.call('HMGET', counters, 's' .. counter, 'b' .. counter))
  local highest = tonumber(redis.call('HGET', told, counter)) or 0
  for _ = 1, tonumber(take()) do
    local basis_points, least, payload = take(), tonumber(take()), take()
    -- What was passed when the counter was restored had been told before it was lost.
    local fresh = moved[counter] and tonumber(basis_points) > highest and (tonumber(restored) or 0) < least
    if fresh and tonumber(total) >= least then
      tell(counter, total, basis_points, payload)
    end
  end
end
redis.call('ZREMRANGEBYRANK', crossings, 0, -most_crossings - 1)
return ended
