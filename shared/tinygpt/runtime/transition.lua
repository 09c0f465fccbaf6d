-- Moves a run to a new state, if it is in one of the allowed states and its lease has the right holder.
-- Returns 'ok', or why it changed nothing: 'missing', 'held', 'lost', or the run's state.
--
-- KEYS: run, lease, active set, events.
-- ARGV: run id, new state, lease holder ('' = nobody may hold it, '*' = anybody may), event,
--       number of allowed states, the states, then field, value, field, value, ...
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'missing' end
local holder = redis.call('GET', KEYS[2])
if ARGV[3] == '' then
  if holder then return 'held' end
elseif ARGV[3] ~= '*' and holder ~= ARGV[3] then
  return 'lost'
end
local allowed, count = false, tonumber(ARGV[5])
for i = 6, 5 + count do allowed = allowed or ('"' .. ARGV[i] .. '"' == state) end
if not allowed then return state end
redis.call('HSET', KEYS[1], 'state', '"' .. ARGV[2] .. '"', unpack(ARGV, 6 + count))
redis.call('XADD', KEYS[4], '*', 'event', ARGV[4])
if ARGV[2] == 'running' or ARGV[2] == 'queued' then
  redis.call('SADD', KEYS[3], ARGV[1])
else
  redis.call('SREM', KEYS[3], ARGV[1])
end
if ARGV[2] ~= 'running' then redis.call('DEL', KEYS[2]) end
return 'ok'
