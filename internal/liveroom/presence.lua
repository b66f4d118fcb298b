-- Who is present in a room: by account the last sign of life and the time of
-- coming, both unix ms, and marks.
--
-- KEYS  signs of life; times of coming; marks; the room (its newest sequence)
-- ARGV  'enter', uid, came, alive                    returns {fresh, count}
--       'leave', uid, alive: unless a later sign came  returns {left, count}
--       'renew', deadline, then uid, came, alive, …
--           removes those without a sign since the deadline
--           returns {count, newest sequence as text, uids that were removed …}
local function keep()
  for i = 1, 3 do redis.call('EXPIRE', KEYS[i], 7200) end
end
if ARGV[1] == 'enter' then
  local fresh = redis.call('ZADD', KEYS[1], ARGV[4], ARGV[2])
  if fresh == 1 then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2]) end
  keep()
  return {fresh, redis.call('ZCARD', KEYS[1])}
end
local function remove(uid)
  redis.call('ZREM', KEYS[1], uid)
  redis.call('ZREM', KEYS[2], uid)
  redis.call('HDEL', KEYS[3], uid)
end
if ARGV[1] == 'leave' then
  local at = redis.call('ZSCORE', KEYS[1], ARGV[2])
  local left = 0
  if at and tonumber(at) <= tonumber(ARGV[3]) then
    remove(ARGV[2])
    left = 1
  end
  return {left, redis.call('ZCARD', KEYS[1])}
end
for i = 3, #ARGV, 3 do
  local at = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if not at then
    redis.call('ZADD', KEYS[1], ARGV[i + 2], ARGV[i])
    redis.call('ZADD', KEYS[2], ARGV[i + 1], ARGV[i])
  elseif tonumber(at) < tonumber(ARGV[i + 2]) then
    redis.call('ZADD', KEYS[1], ARGV[i + 2], ARGV[i])
  end
end
if #ARGV > 2 then keep() end
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[2], 'LIMIT', 0, 500)
for _, uid in ipairs(gone) do remove(uid) end
local answer = {redis.call('ZCARD', KEYS[1]), redis.call('HGET', KEYS[4], 's') or '0'}
for _, uid in ipairs(gone) do answer[#answer + 1] = uid end
return answer
