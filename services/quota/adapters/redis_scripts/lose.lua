-- Drops the counters, reservations and doubts of an earlier run of the server. That run may have lost the last changes
-- to them.
-- KEYS: ready, counters, windows, reservations, doubts, index
-- ARGV: run id of the earlier run
if redis.call('HGET', KEYS[1], 'run_id') ~= ARGV[1] then
  return 0
end
return redis.call('UNLINK', unpack(KEYS))
