-- How many bodies are looked at at once: of one owner one after another, of all what fits into memory.
local json = require("json")
local is = require("checks")

local ROOM, VALUE = 12 * 2 ^ 20, 200 -- bytes of `tune.lua.maxmem`, beside the largest body
local reading = setmetatable({}, { __mode = "k" }) -- by reader, bytes; one whose client left is collected

local TURN = 1000 -- ms: longer than the worst look of 10M takes beside others; one whose client left may never end
local turns = {} -- by owner, since when

local function now()
    local time = core.now()
    return 1000 * time.sec + time.usec // 1000
end

-- Whether there is room for one more body; ``leave`` gives it back.
local function enter(owner, size, values)
    while owner and turns[owner] and now() - turns[owner] < TURN do
        core.msleep(2)
    end
    local sum, mine = 0, size + math.min(size, json.PIECES) + VALUE * math.min(size // 2, values)
    for _, bytes in pairs(reading) do
        sum = sum + bytes
    end
    if sum > 0 and sum + mine > ROOM + tonumber(is.declared.max_body) then
        return false
    end
    reading[coroutine.running()] = mine
    if owner then
        turns[owner] = now()
    end
    return true
end

local function leave(owner)
    reading[coroutine.running()] = nil
    if owner then
        turns[owner] = nil
    end
end

return { enter = enter, leave = leave }
