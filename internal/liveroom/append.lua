-- Gives events of one room their sequences and remembers them, in one step.
-- Sequences are times, see sequence.go; they are above ARGV floor, which is
-- what the asking node has seen, so they rise even when this memory was lost.
--
-- KEYS  the room: its newest sequence
--       the newest events by sequence
--       the newest messages by sequence
--       what was said, by its sender's numbers, as long as the newest events
-- ARGV  floor, epoch ms, events kept, ms kept, messages kept,
--       then for each event: 1 for a message, its sender's numbers, the event
-- returns the sequence before, then one for each event; 0: appended before
--         (an event names its node and its number there, so no two are equal);
--         below 0: the sender repeats what has that sequence
local STEP = 1024
local t = redis.call('TIME')
local now = (tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000) - tonumber(ARGV[2])) * STEP
local last = tonumber(redis.call('HGET', KEYS[1], 's') or '0')
local floor = tonumber(ARGV[1])
local answer = {last}
local function text(n) return string.format('%.0f', n) end
for i = 6, #ARGV, 3 do
  local said = ARGV[i + 1] ~= '' and redis.call('ZSCORE', KEYS[4], ARGV[i + 1])
  if redis.call('ZSCORE', KEYS[2], ARGV[i + 2]) then
    answer[#answer + 1] = 0
  elseif said then
    answer[#answer + 1] = -tonumber(said)
  else
    local seq = math.max(last, floor)
    seq = math.max(seq - seq % STEP + STEP, now)
    last = seq
    redis.call('ZADD', KEYS[2], text(seq), ARGV[i + 2])
    if ARGV[i] == '1' and tonumber(ARGV[5]) > 0 then
      redis.call('ZADD', KEYS[3], text(seq), ARGV[i + 2])
    end
    if ARGV[i + 1] ~= '' then
      redis.call('ZADD', KEYS[4], text(seq), ARGV[i + 1])
    end
    answer[#answer + 1] = seq
  end
end
redis.call('HSET', KEYS[1], 's', text(last))
redis.call('EXPIRE', KEYS[1], 86400)
for _, key in ipairs({KEYS[2], KEYS[4]}) do
  redis.call('ZREMRANGEBYRANK', key, 0, -1 - tonumber(ARGV[3]))
  redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. text(now - tonumber(ARGV[4]) * STEP))
  redis.call('PEXPIRE', key, tonumber(ARGV[4]) + 10000)
end
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[5]))
redis.call('EXPIRE', KEYS[3], 3600)
return answer
