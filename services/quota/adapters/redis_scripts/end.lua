-- Ends reservations, each once: subtracts what they hold, and adds what their calls took and left in doubt. Adjusts
-- counters to the ledger if they still have the value that the ledger saw. Reports crossings.
-- KEYS: counters, windows, reservations, doubts, index, reported, crossings, sequence, ready, adjusted
-- ARGV, in this order:
--   now in ms, generation, number of adjustments to keep
--   number of reservations; for each: id, the record that the caller read, its index members by request and by epoch,
--     the index member of its doubt, the record of its doubt ("": none), number of holds; for each hold: counter,
--     moment from which nobody needs the counter, amounts to add to reserved (negative), settled and doubt, the excess
--     over the hold, 1 if the cost of the call is unknown, 1 if it held money for unknown members
--   number of adjustments; for each: counter, moment from which nobody needs it, settled before and after, record
--   number of counters to watch; for each: name, number of counters that add to it, their names, prefix of its reports,
--     range (from, to) of its reports and those of earlier windows, number of thresholds; for each threshold,
--     ascending: basis points, smallest amount that reaches it, crossing to report; then the crossings to report for
--     the first overrun, the first call of unknown cost, and the first with unknown members ("": none)
-- Returns "ended", the number of adjusted counters, and the ids that were open; or "lost" if the counters are not
-- reliable.
local counters, windows, reservations, doubts, index, reported, crossings, sequence, ready, adjusted = unpack(KEYS)
local most_crossings = 10000

local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end

local now_ms, generation, most_adjusted = take(), take(), tonumber(take())
if redis.call('HGET', ready, 'generation') ~= generation then
  return {'lost'}
end

local ended, excess_of, last_of, unpriced_of, unknown_of = {'ended', 0}, {}, {}, {}, {}
for _ = 1, tonumber(take()) do
  local id, read, by_request, by_epoch, by_doubt, doubt = take(), take(), take(), take(), take(), take()
  -- Another process may have rewritten the holds since the caller read them. Then the caller reads them again.
  local open = redis.call('HGET', reservations, id) == read
  if open then
    redis.call('HDEL', reservations, id)
    redis.call('ZREM', index, 'i\31' .. id, by_request, by_epoch)
    ended[#ended + 1] = id
  end
  local leaves_doubt = open and doubt ~= '' and redis.call('HSETNX', doubts, id, doubt) == 1
  if leaves_doubt then
    redis.call('ZADD', index, 0, by_doubt)
  end
  for _ = 1, tonumber(take()) do
    local counter, ends_ms, reserved, settled = take(), take(), take(), take()
    local doubtful, excess, unpriced, unknown = take(), take(), take(), take()
    if open then
      redis.call('HINCRBY', counters, 'r' .. counter, reserved)
      redis.call('HINCRBY', counters, 's' .. counter, settled)
      if leaves_doubt and doubtful ~= '0' then
        redis.call('HINCRBY', counters, 'd' .. counter, doubtful)
      end
      redis.call('ZADD', windows, 'GT', ends_ms, counter)
      excess_of[counter] = (excess_of[counter] or 0) + excess
      last_of[counter] = id
      unpriced_of[counter] = unpriced_of[counter] or (unpriced == '1' and id or nil)
      unknown_of[counter] = unknown_of[counter] or (unknown == '1' and id or nil)
    end
  end
end

local function next_number()
  return string.format('%.0f', redis.call('INCR', sequence))
end

for _ = 1, tonumber(take()) do
  local counter, ends_ms, before, after, record = take(), take(), take(), take(), take()
  if (tonumber(redis.call('HGET', counters, 's' .. counter)) or 0) == tonumber(before) then
    redis.call('HSET', counters, 's' .. counter, after)
    redis.call('ZADD', windows, 'GT', ends_ms, counter)
    local number = next_number()
    redis.call('ZADD', adjusted, number, table.concat({number, now_ms, record}, '\n'))
    excess_of[counter] = excess_of[counter] or 0
    ended[2] = ended[2] + 1
  end
end

-- The settled sum, and the part of it that the restore of the counters brought.
local function sums_of(names)
  local total, restored = 0, 0
  for _, counter in ipairs(names) do
    local sums = redis.call('HMGET', counters, 's' .. counter, 'b' .. counter)
    total, restored = total + (tonumber(sums[1]) or 0), restored + (tonumber(sums[2]) or 0)
  end
  return total, restored
end

-- The highest threshold that was reported, in basis points, and the set of other kinds that were reported.
local function reports_between(from, to)
  local highest, kinds = 0, {}
  for _, member in ipairs(redis.call('ZRANGEBYLEX', reported, from, to)) do
    local what = string.match(member, '[^\31]*$')
    kinds[what] = true
    highest = math.max(highest, tonumber(what) or 0)
  end
  return highest, kinds
end

local function report(prefix, what, total, excess, last, payload)
  local number = next_number()
  local row = {number, string.format('%.0f', total), now_ms, string.format('%.0f', excess), last or '', payload}
  redis.call('ZADD', crossings, number, table.concat(row, '\n'))
  redis.call('ZADD', reported, 0, prefix .. what)
end

for _ = 1, tonumber(take()) do
  local names = {take()}
  for _ = 1, tonumber(take()) do
    names[#names + 1] = take()
  end
  local excess = excess_of[names[1]]
  local prefix, from, to = take(), take(), take()
  local total, restored, highest, kinds = 0, 0, 0, {}
  if excess then
    total, restored = sums_of(names)
    highest, kinds = reports_between(from, to)
  end
  for _ = 1, tonumber(take()) do
    local basis_points, least, payload = take(), tonumber(take()), take()
    -- If the restored sums are past a threshold, it was reported before the loss.
    if excess and tonumber(basis_points) > highest and restored < least and total >= least then
      report(prefix, basis_points, total, 0, last_of[names[1]], payload)
    end
  end
  local overrun, unpriced, unknown = take(), take(), take()
  if excess and excess > 0 and overrun ~= '' and not kinds.overrun then
    report(prefix, 'overrun', total, excess, last_of[names[1]], overrun)
  end
  if unpriced_of[names[1]] and unpriced ~= '' and not kinds.unpriced then
    report(prefix, 'unpriced', total, 0, unpriced_of[names[1]], unpriced)
  end
  if unknown_of[names[1]] and unknown ~= '' and not kinds.unknown_members then
    report(prefix, 'unknown_members', total, 0, unknown_of[names[1]], unknown)
  end
end
redis.call('ZREMRANGEBYRANK', crossings, 0, -most_crossings - 1)
redis.call('ZREMRANGEBYRANK', adjusted, 0, -most_adjusted - 1)
return ended
