-- Holds room in all counters of a reservation, or in none of them. Once per id.
-- KEYS: counters, windows, reservations, index, ready, gone
-- ARGV: id, record, its place in the index by request, by epoch, generation, Envoy's id of the request; then for each hold its counter, when that
-- stops to matter, the amount, the most that may be settled and reserved with it ("": unbounded), how many counters add
-- to it under that bound, and those
-- Returns "held", "moved" (a counter has no room for it any more), "lost" (the counters cannot be believed) or "gone" (the
-- request was released before: nobody waits for it any more).
local counters, windows, reservations, index, ready, gone = unpack(KEYS)
local id, record, by_request, by_epoch, generation, request_id = unpack(ARGV, 1, 6)
-- Numbers of Lua are exact below this.
local limit = 2 ^ 53

if redis.call('HEXISTS', reservations, id) == 1 then
  return 'held'
end

if redis.call('ZSCORE', gone, request_id) then
  return 'gone'
end

local function level_of(counter)
  local level = redis.call('HMGET', counters, 's' .. counter, 'r' .. counter)
  return (tonumber(level[1]) or 0) + (tonumber(level[2]) or 0)
end

local holds = {}
local bounded = false
local at = 7
while at <= #ARGV do
  local counter, ends_ms, held, ceiling, trailing = unpack(ARGV, at, at + 4)
  local next_at = at + 5 + trailing
  if tonumber(ceiling) then
    if not bounded and redis.call('HGET', ready, 'generation') ~= generation then
      return 'lost'
    end
    bounded = true
    local total = level_of(counter) + held
    for beside = at + 5, next_at - 1 do
      total = total + level_of(ARGV[beside])
    end
    if total > tonumber(ceiling) or total >= limit then
      return 'moved'
    end
  end
  holds[#holds + 1] = {counter, ends_ms, held}
  at = next_at
end

for _, hold in ipairs(holds) do
  local counter, ends_ms, held = unpack(hold)
  redis.call('HINCRBY', counters, 'r' .. counter, held)
  redis.call('ZADD', windows, 'GT', ends_ms, counter)
end
redis.call('HSET', reservations, id, record)
redis.call('ZADD', index, 0, 'i\31' .. id, 0, by_request, 0, by_epoch)
return 'held'
