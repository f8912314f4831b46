-- Holds room in all counters of a reservation or in none of them, once for each id.
-- KEYS: counters, windows, reservations, index, ready, gone, policies
-- ARGV: id, record, its index members by request and by epoch, generation, version of the policies that decided ("":
-- none did), Envoy's id of the request; then for each hold: counter, moment from which nobody needs the counter,
-- amount, the most that settled, reserved and doubt together may reach with it ("": no bound), number of counters that
-- count under the same bound, their names
-- Returns "held", "moved" (a counter has no room any more), "lost" (the counters are not reliable), "gone" (the request
-- was already released, so nobody waits for it) or "changed" (other policies are in force or soon will be).
local counters, windows, reservations, index, ready, gone, policies = unpack(KEYS)
local id, record, by_request, by_epoch, generation, decided_by, request_id = unpack(ARGV, 1, 7)
-- Lua's numbers are exact below this.
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

-- This check comes first. The counters may have been lost without this quota noticing, and another process may have
-- restored the reservation since.
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
