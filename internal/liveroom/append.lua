-- Gives events of one room their sequences and remembers them, in one step.
-- Sequences are times, see sequence.go; they are above ARGV floor, which is
-- what the asking node has seen, so they rise even when this memory was lost.
--
-- KEYS  the room: its newest sequence
--       the newest events by sequence
--       the newest messages by sequence
-- ARGV  floor, epoch ms, events kept, ms kept, messages kept,
--       then for each event: 1 for a message, the event
-- returns the sequence before, then one for each event; 0: appended before
--         (an event names its node and its number there, so no two are equal)
local STEP = 1024
local t = redis.call('TIME')
local now = (tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000) - tonumber(ARGV[2])) * STEP
local last = tonumber(redis.call('HGET', KEYS[1], 's') or '0')
local floor = tonumber(ARGV[1])
local answer = {last}
local function text(n) return string.format('%.0f', n) end
for i = 6, #ARGV, 2 do
  if redis.call('ZSCORE', KEYS[2], ARGV[i + 1]) then
    answer[#answer + 1] = 0
  else
    local seq = math.max(last, floor)
    seq = math.max(seq - seq % STEP + STEP, now)
    last = seq
    redis.call('ZADD', KEYS[2], text(seq), ARGV[i + 1])
    if ARGV[i] == '1' and tonumber(ARGV[5]) > 0 then
      redis.call('ZADD', KEYS[3], text(seq), ARGV[i + 1])
    end
    answer[#answer + 1] = seq
  end
end
redis.call('HSET', KEYS[1], 's', text(last))
redis.call('EXPIRE', KEYS[1], 86400)
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[3]))
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. text(now - tonumber(ARGV[4]) * STEP))
redis.call('PEXPIRE', KEYS[2], tonumber(ARGV[4]) + 10000)
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[5]))
redis.call('EXPIRE', KEYS[3], 3600)
return answer
