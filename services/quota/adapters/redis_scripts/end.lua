-- Ends reservations, each once: takes back what they hold, adds what their calls took, and keeps what they leave in doubt.
-- Moves counters to what the ledger says, where they are as it saw them.
-- KEYS: counters, windows, reservations, doubts, index, told, crossings, sequence, ready, adjusted
-- ARGV: now in ms, generation, how many records of moved counters are kept; how many reservations, then for each its id, the record of it that was read, its place in the index by request, by epoch,
-- and of what it leaves in doubt, a record of that ("": nothing), how many holds, and for each hold its counter, when that
-- stops to matter, what to add to reserved (negative), to settled and to doubt, what the call took above what it held, 1 where its cost is unknown, and 1 where it held money for members that nobody knows; how many counters to move, and for
-- each its name, when it stops to matter, what is settled before and after, and a record of it; how many counters to
-- watch, then for each its name, how many counters add to it, and those; how what is told of it begins, and the range of
-- what was told of it and of those before it; how many thresholds, and for each, ascending, its basis points, the
-- smallest amount that reaches it, and what is told then; what is told of the first overrun, of the first call whose cost
-- is unknown, and of the first with members that nobody knows ("": nothing).
-- Returns "ended", how many counters were moved, and the ids that were open; or "lost" (the counters cannot be believed).
local counters, windows, reservations, doubts, index, told, crossings, sequence, ready, adjusted = unpack(KEYS)
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
  -- What it holds may have been made anew since it was read: then it is read again.
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

-- Settled, and settled when the counters were restored.
local function sums_of(names)
  local total, restored = 0, 0
  for _, counter in ipairs(names) do
    local sums = redis.call('HMGET', counters, 's' .. counter, 'b' .. counter)
    total, restored = total + (tonumber(sums[1]) or 0), restored + (tonumber(sums[2]) or 0)
  end
  return total, restored
end

-- The highest threshold that was told, in basis points, and which other kinds were.
local function told_between(from, to)
  local highest, kinds = 0, {}
  for _, member in ipairs(redis.call('ZRANGEBYLEX', told, from, to)) do
    local what = string.match(member, '[^\31]*$')
    kinds[what] = true
    highest = math.max(highest, tonumber(what) or 0)
  end
  return highest, kinds
end

local function tell(told_as, what, total, excess, last, payload)
  local number = next_number()
  local row = {number, string.format('%.0f', total), now_ms, string.format('%.0f', excess), last or '', payload}
  redis.call('ZADD', crossings, number, table.concat(row, '\n'))
  redis.call('ZADD', told, 0, told_as .. what)
end

for _ = 1, tonumber(take()) do
  local names = {take()}
  for _ = 1, tonumber(take()) do
    names[#names + 1] = take()
  end
  local excess = excess_of[names[1]]
  local told_as, from, to = take(), take(), take()
  local total, restored, highest, kinds = 0, 0, 0, {}
  if excess then
    total, restored = sums_of(names)
    highest, kinds = told_between(from, to)
  end
  for _ = 1, tonumber(take()) do
    local basis_points, least, payload = take(), tonumber(take()), take()
    -- What was passed when the counters were restored had been told before they were lost.
    if excess and tonumber(basis_points) > highest and restored < least and total >= least then
      tell(told_as, basis_points, total, 0, last_of[names[1]], payload)
    end
  end
  local overrun, unpriced, unknown = take(), take(), take()
  if excess and excess > 0 and overrun ~= '' and not kinds.overrun then
    tell(told_as, 'overrun', total, excess, last_of[names[1]], overrun)
  end
  if unpriced_of[names[1]] and unpriced ~= '' and not kinds.unpriced then
    tell(told_as, 'unpriced', total, 0, unpriced_of[names[1]], unpriced)
  end
  if unknown_of[names[1]] and unknown ~= '' and not kinds.unknown_members then
    tell(told_as, 'unknown_members', total, 0, unknown_of[names[1]], unknown)
  end
end
redis.call('ZREMRANGEBYRANK', crossings, 0, -most_crossings - 1)
redis.call('ZREMRANGEBYRANK', adjusted, 0, -most_adjusted - 1)
return ended
