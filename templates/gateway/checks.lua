-- What a field of a request may hold: functions of its value and its name, which refuse or return.
local json = require("json")
local NULL = json.null
local declared, opened, served = {}, {}, {}

-- NAME=VALUE each; ``fields`` and ``models`` are lists with commas.
local function declare(words)
    for _, word in ipairs(words) do
        local name, value = word:match("^([%w_]+)=(.*)$")
        declared[name] = value
    end
    for name in declared.fields:gmatch("[^,]+") do
        opened[name] = true
    end
    for name in declared.models:gmatch("[^,]+") do
        served[name] = true
        served[name:gsub(":latest$", "")] = true -- as Ollama reads a name without a tag
    end
end

local function refuse(status, message, ...)
    error({ status = status, message = message:format(...) }, 0)
end

-- A client's word in ours: nothing that breaks a line, or JSON.
local function quoted(word)
    return type(word) == "string" and word:find("^[%w_.:/-]+$") and #word <= 100 and word or "?"
end

local function typed(kind)
    return function(value, name)
        if type(value) ~= kind then
            refuse(400, "%s: is no %s", name, kind)
        end
    end
end

local text, flag = typed("string"), typed("boolean")

local function any() end

local function number(value, name)
    if type(value) ~= "number" or math.abs(value) > 1e6 then
        refuse(400, "%s: is no number from -1000000 to 1000000", name)
    end
end

local function whole(least, most)
    return function(value, name)
        if math.type(value) ~= "integer" or value < least or value > most then
            refuse(400, "%s: is no whole number from %d to %d", name, least, most)
        end
    end
end

local function items(value, name)
    if type(value) ~= "table" or not value.items then
        refuse(400, "%s: is no list", name)
    end
    return value.items
end

local function texts(most)
    return function(value, name)
        if type(value) == "string" then
            return
        elseif items(value, name) and value.n > most then
            refuse(400, "%s: has more than %d values", name, most)
        end
        for _, item in ipairs(value.items) do
            text(item, name)
        end
    end
end

-- ``checks``: by field, exactly as Ollama's documentation spells it.
local function object(checks)
    return function(value, name)
        if type(value) ~= "table" or not value.fields then
            refuse(400, "%s: is no object", name == "" and "the body" or name)
        end
        for field, given in pairs(value.fields) do
            local place = (name == "" and "" or name .. ".") .. quoted(field)
            if not checks[field] then
                refuse(400, "%s: no such field is taken here, spelt so (docs/door.md)", place)
            elseif given ~= NULL then
                checks[field](given, place)
            end
        end
    end
end

-- What only a site's own word opens; ``unset``: what clients send for nothing.
local function closed(field, unset)
    return function(value, name)
        local nothing = value == unset or value == NULL or type(value) == "table" and value.n == 0
        if not nothing and not opened[field] then
            refuse(403, "%s: is closed here; gateway_fields opens it", name)
        end
    end
end

-- What would load the model anew, or otherwise, for everybody; the declared value changes nothing.
local function fixed(field, setting)
    return function(value, name)
        local same = setting and value == math.tointeger(tonumber(declared[setting]))
        if not same and not opened[field] then
            local is = setting and (" (%s = %s)"):format(setting, declared[setting]) or ""
            refuse(403, "%s: is the administrator's to set%s; gateway_fields opens it", name, is)
        end
    end
end

local function tokens(value, name)
    local most = math.tointeger(tonumber(declared.longest))
    if opened.num_predict then
        return number(value, name)
    elseif math.type(value) ~= "integer" or value < 1 or value > most then
        refuse(400, "%s: is no whole number from 1 to %d (model_num_predict)", name, most)
    end
end

-- Seconds of Go's duration, or of a number; any that is negative is for ever.
local function duration(value)
    if type(value) == "number" then
        return value < 0 and -1 or value
    elseif type(value) ~= "string" or value:find("^-") then
        return type(value) == "string" and value:find("^-%d+%a*$") and -1 or nil
    end
    local sum, at = 0, 1
    repeat
        local count, unit, next = value:match("^(%d+)([hms])()", at)
        sum = count and sum + tonumber(count) * ({ h = 3600, m = 60, s = 1 })[unit]
        at = next
    until not at or at > #value
    return sum
end

local function keep_alive(value, name)
    if not opened.keep_alive and duration(value) ~= duration(declared.keep_alive) then
        local message = "%s: holds for everybody and is the administrator's to set "
            .. "(ollama_keep_alive = %s); gateway_fields opens it"
        refuse(403, message, name, declared.keep_alive)
    end
end

local function model(value, name)
    text(value, name)
    if not served[value] then
        local message = "%s: '%s' not found; this server has %s (model_name, gateway_models)"
        refuse(404, message, name, quoted(value), declared.models)
    end
end

-- Grammars ---------------------------------------------------------------------------------------------
-- llama.cpp builds a rule for each node and each repetition, and goes down as deep as they nest.
local NODES, LEVELS, LETTERS, TIMES = 500, 16, 8192, 1000
local counts = { minLength = TIMES, maxLength = TIMES, minItems = 100, maxItems = 100 }

local function pattern(written, name)
    local times = 1
    for most in written:gmatch("{%d*,?(%d*)}") do
        times = times * (tonumber(most) or TIMES)
    end
    local _, groups = written:gsub("%(", "")
    if #written > 100 or groups > 8 or times > TIMES then
        refuse(400, "%s: its pattern is too large (100 letters, 8 groups, %d times)", name, TIMES)
    end
end

local function node(value, name, level, sum)
    sum.nodes, level = sum.nodes + 1, level + 1
    sum.letters = sum.letters + (type(value) == "string" and #value or 0)
    if sum.nodes > NODES or level > LEVELS or sum.letters > LETTERS then
        local message = "%s: its schema is too large (%d values, %d deep, %d letters)"
        refuse(400, message, name, NODES, LEVELS, LETTERS)
    elseif type(value) ~= "table" then
        return
    end
    for _, item in ipairs(value.items or {}) do
        node(item, name, level, sum)
    end
    for field, given in pairs(value.fields or {}) do
        sum.letters = sum.letters + #field
        if field == "pattern" and type(given) == "string" then
            pattern(given, name)
        elseif field == "$ref" and not (type(given) == "string" and given:find("^#/[%w$_/.-]+$")) then
            refuse(400, "%s: a $ref that leaves its schema", name)
        elseif counts[field] and type(given) == "number" and given > counts[field] then
            refuse(400, "%s: %s above %d", name, field, counts[field])
        end
        node(given, name, level, sum)
    end
end

local function schema(value, name)
    node(value, name, 0, { nodes = 0, letters = 0 })
end

local function format(value, name)
    if type(value) == "string" and value ~= "" and value ~= "json" then
        refuse(400, "%s: is neither 'json' nor a schema", name)
    elseif type(value) ~= "string" and not (type(value) == "table" and value.fields) then
        refuse(400, "%s: is neither 'json' nor a schema", name)
    end
    schema(value, name)
end

return {
    any = any,
    closed = closed,
    declare = declare,
    declared = declared,
    fixed = fixed,
    flag = flag,
    format = format,
    items = items,
    keep_alive = keep_alive,
    model = model,
    null = NULL,
    number = number,
    object = object,
    opened = opened,
    quoted = quoted,
    refuse = refuse,
    schema = schema,
    served = served,
    text = text,
    texts = texts,
    tokens = tokens,
    whole = whole,
}
