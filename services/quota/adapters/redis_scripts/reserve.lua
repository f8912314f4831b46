-- Holds room in all counters of a reservation, or in none of them. Once per id.
-- KEYS: counters, windows, reservations, index, ready, gone, policies
-- ARGV: id, record, its place in the index by request, by epoch, generation, version of the policies that
-- decided ("": none did), Envoy's id of the request; then for each hold its counter, when that
-- stops to matter, the amount, the most that may be settled, reserved and in doubt with it ("": unbounded), how many counters add
-- to it under that bound, and those
-- Returns "held", "moved" (a counter has no room for it any more), "lost" (the counters cannot be believed), "gone" (the
-- request was released before: nobody waits for it any more) or "changed" (other policies are in force, or nearly).
local counters, windows, reservations, index, ready, gone, policies = unpack(KEYS)
local id, record, by_request, by_epoch, generation, decided_by, request_id = unpack(ARGV, 1, 7)
-- Numbers of Lua are exact below this.
local limit = 2 ^ 53

local holds = {}
local is_bounded = false
local at = 8
while at <= #ARGV do
  local counter, ends_ms, held, ceiling, trailing = unpack(ARGV, at, at + 4)
  local beside = {unpack(ARGV, at + 5, at + 4 + trailing)}
  holds[#holds + 1] = {counter, ends_ms, held, tonumber(ceiling), beside}
  is_bounded = is_bounded or tonumber(ceiling) ~= nil
  at = at + 5 + trailing
end

-- First of all: it may have been put back meanwhile, whatever the bounds say, after a loss that its quota has not seen.
if is_bounded and redis.call('HGET', ready, 'generation') ~= generation then
  return 'lost'
end

if redis.call('HEXISTS', reservations, id) == 1 then
  return 'held'
end

if redis.call('ZSCORE', gone, request_id) then
  return 'gone'
end

if decided_by ~= '' and redis.call('GET', policies) ~= decided_by then
  return 'changed'
end

local function level_of(counter)
  local level = redis.call('HMGET', counters, 's' .. counter, 'r' .. counter, 'd' .. counter)
  return (tonumber(level[1]) or 0) + (tonumber(level[2]) or 0) + (tonumber(level[3]) or 0)
end

for _, hold in ipairs(holds) do
  local counter, _, held, ceiling, beside = unpack(hold, 1, 5)
  if ceiling then
    local total = level_of(counter) + held
    for _, other in ipairs(beside) do
      total = total + level_of(other)
    end
    if total > ceiling or total >= limit then
      return 'moved'
    end
  end
end

for _, hold in ipairs(holds) do
  local counter, ends_ms, held = unpack(hold)
  redis.call('HINCRBY', counters, 'r' .. counter, held)
  redis.call('ZADD', windows, 'GT', ends_ms, counter)
end
redis.call('HSET', reservations, id, record)
redis.call('ZADD', index, 0, 'i\31' .. id, 0, by_request, 0, by_epoch)
return 'held'
