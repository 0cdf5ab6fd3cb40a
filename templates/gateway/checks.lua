-- What a field of a request may hold: functions of its value and its name, which refuse or return.
local json = require("json")
local NULL = json.null
local declared, opened, served, tuned = {}, {}, {}, {}

local function names(list, known)
    for name in list:gmatch("[^,]+") do
        known[name] = true
        known[name:gsub(":latest$", "")] = true -- as Ollama reads a name without a tag
    end
end

-- NAME=VALUE each; ``fields``, ``models`` and ``tuned`` are lists with commas.
local function declare(words)
    for _, word in ipairs(words) do
        local name, value = word:match("^([%w_]+)=(.*)$")
        declared[name] = value
    end
    for name in declared.fields:gmatch("[^,]+") do
        opened[name] = true
    end
    names(declared.models, served)
    names(declared.tuned, tuned)
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

local function number(value, name)
    if type(value) ~= "number" or value < -1e6 or value > 1e6 then -- math.abs(mininteger) is below 0
        refuse(400, "%s: is no number from -1000000 to 1000000", name)
    end
end

local function integer(value) -- Lua and JavaScript write 40.0 as well
    return type(value) == "number" and math.tointeger(value)
end

local function whole(least, most)
    return function(value, name)
        if not integer(value) or value < least or value > most then
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

local function fields(value, name)
    if type(value) ~= "table" or not value.fields then
        refuse(400, "%s: is no object", name == "" and "the body" or name)
    end
    return value.fields
end

-- One text, or at most ``most``; ``check`` each.
local function texts(most, check)
    return function(value, name)
        if type(value) == "string" then
            return check(value, name)
        elseif items(value, name) and value.n > most then
            refuse(400, "%s: has more than %d values", name, most)
        end
        for _, item in ipairs(value.items) do
            check(item, name)
        end
    end
end

-- ``checks``: by field, exactly as Ollama's documentation spells it. They are asked in one order: Lua's own
-- differs from process to process, and the same body would be refused in another way.
local function object(checks)
    local order = {}
    for field in pairs(checks) do
        table.insert(order, field)
    end
    table.sort(order)
    return function(value, name)
        local given, before = fields(value, name), name == "" and "" or name .. "."
        for field, value in pairs(given) do
            -- Of a whole body Ollama sets nothing by null; a name in options it logs.
            if not checks[field] and not (value == NULL and name == "") then
                refuse(400, "%s: no such field is taken here, spelt so (docs/door.md)", before .. quoted(field))
            end
        end
        for _, field in ipairs(order) do
            if given[field] ~= nil and given[field] ~= NULL then
                checks[field](given[field], before .. field)
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

-- A model that no deploy has tuned runs as Ollama starts it, whatever is declared.
local function as_it_runs(given)
    local options = (given.options or NULL).fields or {}
    for _, field in ipairs(tuned[given.model] and {} or { "num_ctx", "num_thread" }) do
        if options[field] ~= nil and options[field] ~= NULL then
            fixed(field)(options[field], "options." .. field)
        end
    end
end

local function tokens(value, name)
    local most = math.tointeger(tonumber(declared.longest))
    if opened.num_predict then
        return number(value, name)
    elseif not integer(value) or value < 1 or value > most then
        refuse(400, "%s: is no whole number from 1 to %d (model_num_predict)", name, most)
    end
end

-- Seconds of Go's duration, or of a number; any that is negative is for ever.
local function duration(value)
    if type(value) == "number" then
        return value < 0 and -1 or value
    elseif type(value) ~= "string" or value:find("^-") then
        return type(value) == "string" and value:find("^-0*[1-9]%d*%a*$") and -1 or nil
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
        local message = "%s: '%s' not found; this server has %s (model_name, models, gateway_models)"
        refuse(404, message, name, quoted(value), declared.models)
    end
end

-- A value, unless it is what Go reads and writes for one that is not set.
local function said(value)
    if value ~= NULL and value ~= "" then
        return value
    end
end

local function unset(value, name)
    if said(value) ~= nil then
        refuse(400, "%s: is taken here as an empty text alone (docs/door.md)", name)
    end
end

local function model_if_said(value, name)
    if said(value) ~= nil then
        model(value, name)
    end
end

-- Ollama unloads all models after an error with these words (its llm/status.go), and llama.cpp's repeat a schema's.
local FATAL = {
    "out of memory",
    "out of device memory",
    "cudamalloc failed",
    "hipmalloc failed",
    "failed to allocate",
    "allocation failed",
    "not enough memory",
    "insufficient memory",
    "vk_error_out_of_device_memory",
    "erroroutofmemory",
}

local SHORTEST = 13 -- bytes of the first

local function harmless(value, name)
    if type(value) == "string" and #value >= SHORTEST then
        if #value >= #json.LONG_TEXT then
            refuse(400, "%s: has a text of more than 64 KB", name)
        end
        local meant = #value > json.NAME and json.unescaped(value) or value -- longer ones still have escapes
        local lower = meant:lower():gsub("\u{130}", "i"):gsub("\u{212A}", "k") -- as Go lowers them
        for _, words in ipairs(FATAL) do
            if lower:find(words, 1, true) then
                refuse(400, "%s: Ollama would take the words '%s' for an error of its own", name, words)
            end
        end
    elseif type(value) == "table" then
        for key, given in pairs(value.fields or value.items or {}) do
            harmless(key, name)
            harmless(given, name)
        end
    end
end

-- A word that no model reads.
local LABEL = 1024
local function label(value, name)
    text(value, name)
    if #value > LABEL then
        refuse(400, "%s: has more than %d letters", name, LABEL)
    end
end

-- What Ollama reads little of, or nothing: in any form, as large as a client has reason to send it.
local VALUES, LETTERS = 1000, 16384
local function weight(value)
    local values, letters = 1, type(value) == "string" and #value or 0
    for key, given in pairs(type(value) == "table" and (value.fields or value.items) or {}) do
        local more, longer = weight(given)
        values, letters = values + more, letters + longer + (type(key) == "string" and #key or 0)
    end
    return values, letters
end

local function little(value, name)
    local values, letters = weight(value)
    if values > VALUES or letters > LETTERS then
        refuse(400, "%s: is too large (%d values, %d letters)", name, VALUES, LETTERS)
    end
    harmless(value, name)
end

return {
    as_it_runs = as_it_runs,
    closed = closed,
    declare = declare,
    declared = declared,
    fields = fields,
    fixed = fixed,
    flag = flag,
    harmless = harmless,
    items = items,
    keep_alive = keep_alive,
    label = label,
    little = little,
    model = model,
    model_if_said = model_if_said,
    null = NULL,
    number = number,
    object = object,
    opened = opened,
    quoted = quoted,
    refuse = refuse,
    said = said,
    served = served,
    text = text,
    texts = texts,
    tokens = tokens,
    unset = unset,
    whole = whole,
}
