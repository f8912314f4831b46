-- Holds room in all counters of a reservation, or in none of them. Once per id.
-- KEYS: counters, windows, short windows, reservations, index, ready
-- ARGV: id, record, its place in the index by request, by epoch, generation; then for each hold its counter, the end of
-- its window, "1" if that is short, the amount, and the most that may be settled and reserved with it ("": unbounded)
-- Returns "held", "moved" (a counter has no room for it any more) or "lost" (the counters cannot be believed).
local counters, windows, short_windows, reservations, index, ready = unpack(KEYS)
local id, record, by_request, by_epoch, generation = unpack(ARGV, 1, 5)
-- Numbers of Lua are exact below this.
local limit = 2 ^ 53

if redis.call('HEXISTS', reservations, id) == 1 then
  return 'held'
end

local function can_be_believed()
  local known, from_ms = unpack(redis.call('HMGET', ready, 'generation', 'from_ms'))
  local now = redis.call('TIME')
  return known == generation and now[1] * 1000 + now[2] / 1000 >= tonumber(from_ms)
end

local bounded = false
for at = 6, #ARGV, 5 do
  local counter, held, ceiling = ARGV[at], tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  if ceiling then
    if not bounded and not can_be_believed() then
      return 'lost'
    end
    bounded = true
    local level = redis.call('HMGET', counters, 's' .. counter, 'r' .. counter)
    local total = (tonumber(level[1]) or 0) + (tonumber(level[2]) or 0) + held
    if total > ceiling or total >= limit then
      return 'moved'
    end
  end
end

for at = 6, #ARGV, 5 do
  local counter, window_end_ms, short, held = unpack(ARGV, at, at + 3)
  if redis.call('HINCRBY', counters, 'r' .. counter, held) == tonumber(held) then
    -- Perhaps its first use.
    redis.call('ZADD', windows, window_end_ms, counter)
    if short == '1' then
      redis.call('ZADD', short_windows, window_end_ms, counter)
    end
  end
end
redis.call('HSET', reservations, id, record)
redis.call('ZADD', index, 0, 'i\31' .. id, 0, by_request, 0, by_epoch)
return 'held'
