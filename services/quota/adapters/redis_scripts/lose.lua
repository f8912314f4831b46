-- Drops counters, reservations and doubts that another run of the server left behind: it may have lost the last of them.
-- KEYS: ready, counters, windows, reservations, doubts, index
-- ARGV: run id of that other run
if redis.call('HGET', KEYS[1], 'run_id') ~= ARGV[1] then
  return 0
end
return redis.call('UNLINK', unpack(KEYS))
