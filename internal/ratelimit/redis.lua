-- The rule of window.go over one group's state in Redis. One call is one
-- decision; the time is Redis', so that nodes need no common clock.
--
-- KEYS[1]  the group's state
-- ARGV     limit, time in ms or '' for Redis' own, then either
--          'a', priority (0 = High .. 3 = Lowest)             an arrival
--          's', second, held High, Normal, Low, Lowest        a settlement
-- returns  arrival:    {action (0 drop, 1 pass, 2 hold), second, wait in ms}
--          settlement: {wait in ms, granted High, Normal, Low, Lowest}
local SECOND, DECIDE, FACTOR, GUARDED_FOR, STEP_BACK = 1000, 850, 20, 2, 3
local limit = tonumber(ARGV[1])
local now = tonumber(ARGV[2])
if not now then
  local t = redis.call('TIME')
  now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local sec = math.floor(now / SECOND)

local state = redis.call('GET', KEYS[1])
local w = state and cmsgpack.unpack(state)
if not w or sec < w.sec - STEP_BACK then
  w = {sec = 0, demand = 0, high = 0, before = 0, passed = 0, over = 0, guarded = false, decided = false,
       waiting = {0, 0, 0, 0}, due = {0, 0, 0, 0}, next = {0, 0, 0, 0}}
end

local function save()
  redis.call('SET', KEYS[1], cmsgpack.pack(w), 'PX', 5000)
end

if sec > w.sec then
  if w.demand > limit then w.over = w.sec end
  local follows = sec == w.sec + 1
  w.guarded = follows and (w.over == w.sec or (w.over >= w.sec - GUARDED_FOR and w.demand * 5 >= limit * 4))
  w.waiting, w.due, w.passed = {0, 0, 0, 0}, {0, 0, 0, 0}, 0
  if follows then
    w.waiting = w.next
    w.due[1] = math.min(w.next[1], limit)
    w.passed = w.due[1]
  end
  w.before = follows and w.high or 0
  w.sec, w.demand, w.high, w.decided, w.next = sec, 0, 0, false, {0, 0, 0, 0}
end

local function decide()
  w.decided = true
  for p = 2, 4 do
    w.due[p] = math.max(0, math.min(w.waiting[p], limit - w.passed))
    w.passed = w.passed + w.due[p]
  end
end

if ARGV[3] == 'a' then
  local p = tonumber(ARGV[4]) + 1
  local ms = math.max(0, now - w.sec * SECOND)
  w.demand = w.demand + 1
  if p == 1 then w.high = w.high + 1 end
  if w.guarded and not w.decided and ms >= DECIDE then decide() end
  local waits = w.guarded and not w.decided and p ~= 1
  local answer = {0, 0, 0}
  if w.passed < limit and not waits then
    w.passed = w.passed + 1
    answer = {1, 0, 0}
  elseif ms >= DECIDE and p == 1 then
    if w.next[p] < limit then
      w.next[p] = w.next[p] + 1
      answer = {2, w.sec + 1, SECOND - math.min(ms, SECOND)}
    end
  elseif ms >= DECIDE then
    if w.next[p] < FACTOR * limit then
      w.next[p] = w.next[p] + 1
      answer = {2, w.sec + 1, SECOND - math.min(ms, SECOND) + DECIDE}
    end
  elseif waits then
    if w.waiting[p] < FACTOR * limit then
      w.waiting[p] = w.waiting[p] + 1
      answer = {2, w.sec, DECIDE - ms}
    end
  end
  save()
  return answer
end

local of = tonumber(ARGV[4])
local own = {tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])}
local answer = {0, 0, 0, 0, 0}
if of > w.sec then
  answer[1] = math.max(1, of * SECOND - now)
elseif of < w.sec then
  for p = 1, 4 do
    local room = limit - w.passed
    if p ~= 1 and w.guarded and not w.decided then room = room - math.max(0, w.before - w.high) end
    answer[p + 1] = math.max(0, math.min(own[p], room))
    w.passed = w.passed + answer[p + 1]
  end
else
  if own[1] == 0 and not w.decided then decide() end
  for p = 1, 4 do
    local n = 0
    if w.waiting[p] > 0 then
      if own[p] >= w.waiting[p] then
        n = w.due[p]
      else
        n = math.min(own[p], w.due[p], math.floor((w.due[p] * own[p] + math.floor(w.waiting[p] / 2)) / w.waiting[p]))
      end
    end
    w.due[p] = w.due[p] - n
    w.waiting[p] = w.waiting[p] - math.min(own[p], w.waiting[p])
    answer[p + 1] = n
  end
end
save()
return answer
