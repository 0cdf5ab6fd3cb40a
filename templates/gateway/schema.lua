-- Schemas of answers: llama.cpp makes a grammar of one, and some end it. What is not named here is refused.
local json = require("json")
local is = require("checks")

-- A rule is built for each value and each repetition, and built as deep as they nest.
local NODES, LEVELS, LETTERS, TIMES, KEY = 500, 16, 8192, 5000, 64
local PROPERTIES = 100 -- as OpenAI had it
local TYPES = { string = 1, number = 1, integer = 1, boolean = 1, array = 1, object = 1, null = 1 }

-- ``seen`` is the whole schema's: what it has so far, its definitions, and which refers to which.
local Seen = {}
Seen.__index = Seen

function Seen:count(value, name, level)
    self.nodes = self.nodes + 1
    self.letters = self.letters + (type(value) == "string" and #value or 0)
    if self.nodes > self.most or level > LEVELS or self.letters > LETTERS or self.times > TIMES then
        local message = "%s: its schema is too large (%d values, %d deep, %d letters, %d repetitions)"
        is.refuse(400, message, name, self.most, LEVELS, LETTERS, TIMES)
    end
end

function Seen:plain(value, name, level) -- JSON that is compared, or only kept
    self:count(value, name, level)
    for _, item in ipairs(type(value) == "table" and value.items or {}) do
        self:plain(item, name, level + 1)
    end
    for field, given in pairs(type(value) == "table" and value.fields or {}) do
        self.letters = self.letters + #field
        self:plain(given, name, level + 1)
    end
end

local function list(seen, value, name, level)
    for _, item in ipairs(is.items(value, name)) do
        seen:schema(item, name, level)
    end
end

local function named(seen, value, name, level)
    for key, given in pairs(is.fields(value, name)) do
        seen.letters = seen.letters + #key
        if #key > KEY then
            is.refuse(400, "%s: a name has more than %d letters", name, KEY)
        end
        seen:schema(given, name, level)
    end
end

-- llama.cpp's work grows with the third power of those that may be missing.
local function properties(seen, value, name, level)
    local count = 0
    for _ in pairs(is.fields(value, name)) do
        count = count + 1
    end
    if count > PROPERTIES then
        is.refuse(400, "%s: has more than %d properties", name, PROPERTIES)
    end
    named(seen, value, name, level)
end

local function definitions(seen, value, name, level)
    if level > 1 then
        is.refuse(400, "%s: stands at the schema's top alone", name)
    end
    for key, given in pairs(is.fields(value, name)) do
        seen.within = key
        seen:schema(given, name, level)
    end
    seen.within = nil
end

local function schema_or_list(seen, value, name, level)
    if type(value) == "table" and value.items then
        return list(seen, value, name, level)
    end
    seen:schema(value, name, level)
end

local function schema_or_flag(seen, value, name, level)
    if type(value) ~= "boolean" then
        seen:schema(value, name, level)
    end
end

local function one_of_them(seen, value, name, level)
    if #is.items(value, name) ~= 1 then
        is.refuse(400, "%s: has another number of schemas than one", name)
    end
    list(seen, value, name, level)
end

local function kind(seen, value, name)
    local before = {}
    for place, item in ipairs(type(value) == "table" and value.items or { value }) do
        local own = TYPES[item] and (place == 1 or place == 2 and item == "null")
        local read = seen.tool and type(item) == "string" and place <= 7 -- Ollama's client writes "string, integer"
        if before[item] or not (own or read) then
            is.refuse(400, "%s: is no type, and no type with null", name)
        end
        before[item] = true
    end
end

local function reference(seen, value, name)
    local word, found = tostring(value):match("^#/([%a$]+)/([%w_.-]+)$") -- what ``default`` holds is no schema
    if not found or #found > KEY or not (seen.definitions[word] or {})[found] then
        is.refuse(400, "%s: is no definition of this schema (#/$defs/NAME)", name)
    end
    local from = seen.within or ""
    seen.refers[from] = seen.refers[from] or {}
    table.insert(seen.refers[from], found)
end

local function plain(seen, value, name, level)
    seen:plain(value, name, level)
end

local function number(_, value, name)
    if type(value) ~= "number" or value < -2 ^ 53 or value > 2 ^ 53 then
        is.refuse(400, "%s: is no number of at most 53 bits", name)
    end
end

local function at_most(most)
    local whole = is.whole(0, most)
    return function(seen, value, name)
        whole(value, name)
        seen.times = seen.times + value
    end
end

local function alone(check) -- one that needs no more than the value
    return function(_, value, name)
        check(value, name)
    end
end

local function form(_, value, name)
    if type(value) ~= "string" or not value:find("^[a-z0-9-]*$") or #value > 20 then
        is.refuse(400, "%s: is no format", name)
    end
end

local function pattern(_, value, name)
    is.closed("pattern")(value, name)
    if type(value) ~= "string" or #value > 100 then -- before anything reads it
        is.refuse(400, "%s: is too large (100 letters)", name)
    end
    local times, _, groups = 1, value:gsub("%(", "")
    for least, most in value:gmatch("{(%d*),?(%d*)}") do
        times = times * math.max(tonumber(least) or 0, tonumber(most) or 1000)
        if tonumber(least) and tonumber(most) and tonumber(least) > tonumber(most) then
            is.refuse(400, "%s: repeats something more often than it may", name)
        end
    end
    if groups > 8 or times > 1000 then
        is.refuse(400, "%s: is too large (8 groups, 1000 times)", name)
    elseif value:find("[(|^][*+?{]") or value:find("^[*+?{]") then
        is.refuse(400, "%s: repeats nothing", name)
    end
end

local KEYWORDS = {
    ["type"] = kind,
    properties = properties,
    required = alone(is.texts(NODES, is.text)),
    additionalProperties = schema_or_flag,
    items = schema_or_list,
    prefixItems = list,
    anyOf = list,
    oneOf = list,
    allOf = one_of_them, -- as pydantic writes a reference with a description
    ["$ref"] = reference,
    ["$defs"] = definitions,
    definitions = definitions,
    enum = plain,
    const = plain,
    default = plain,
    examples = plain,
    pattern = pattern,
    format = form,
    minItems = at_most(100),
    maxItems = at_most(100),
    minLength = at_most(1000),
    maxLength = at_most(1000),
    minimum = number,
    maximum = number,
    exclusiveMinimum = number,
    exclusiveMaximum = number,
    multipleOf = number,
    uniqueItems = alone(is.flag),
    nullable = alone(is.flag),
    discriminator = plain, -- as pydantic tells the members of a union apart; llama.cpp knows none of these
    deprecated = alone(is.flag),
    readOnly = alone(is.flag),
    writeOnly = alone(is.flag),
    title = plain,
    description = plain,
    ["$schema"] = plain,
    ["$id"] = plain,
    ["$comment"] = plain,
}

local FOLDED = {}
for word in pairs(KEYWORDS) do
    FOLDED[word:lower()] = true
end

-- What only the model reads of a tool; Go would read some spellings as another word.
local function read_alone(field)
    return field:find("^[%w$_-]+$") and not FOLDED[field:lower()]
end

local function ordered(fields, least, most, name)
    local low, high = fields[least], fields[most]
    if type(low) == "number" and type(high) == "number" and low > high then
        is.refuse(400, "%s: %s is above %s", name, least, most)
    end
end

-- What llama.cpp makes of an integer's bounds; where nothing is between them, no answer would do.
local function bound(fields, with, without, step)
    local value, more = fields[with], 0
    if type(value) ~= "number" then
        value, more = fields[without], step
    end
    return type(value) == "number" and (value < 0 and math.ceil(value) or math.floor(value)) + more
end

local function room(fields, name)
    local low = bound(fields, "minimum", "exclusiveMinimum", 1)
    local high = bound(fields, "maximum", "exclusiveMaximum", -1)
    local given = type(fields.type) == "table" and fields.type.items or { fields.type } -- null has no items
    local whole = given[1] == "integer"
    if whole and low and high and low > high then
        is.refuse(400, "%s: no integer is between its bounds", name)
    elseif whole and not (low and high) and math.abs(low or high or 0) >= 10 ^ 15 then -- {16,15} in the grammar: for ever
        is.refuse(400, "%s: a bound of more than 15 digits needs the other one too", name)
    end
end

function Seen:schema(value, name, level)
    self:count(value, name, level)
    local fields = is.fields(value, name)
    for field, given in pairs(fields) do
        local place = name .. "." .. is.quoted(field:gsub("^%$", ""))
        local check = KEYWORDS[field] or self.tool and read_alone(field) and plain
        if not check then
            is.refuse(400, "%s: no such word of a schema is taken here (docs/door.md)", place)
        elseif given ~= json.null or check == plain then
            check(self, given, place, level + 1)
        end
    end
    ordered(fields, "minItems", "maxItems", name)
    ordered(fields, "minLength", "maxLength", name)
    ordered(fields, "minimum", "maximum", name)
    room(fields, name)
end

-- Definitions that come back to themselves: llama.cpp follows some of them for ever.
function Seen:no_circle(from, name, depth)
    for _, to in ipairs(self.refers[from] or {}) do
        if depth > LEVELS then
            is.refuse(400, "%s: its definitions refer to each other in a circle, or too deep", name)
        end
        self:no_circle(to, name, depth + 1)
    end
    self.refers[from] = nil -- it has been looked at, and ends
end

-- ``seen``: of schemas that become one grammar, what all of them have so far, and the most values.
local function schema(value, name, seen)
    local fields, definitions = is.fields(value, name), { ["$defs"] = {}, definitions = {} }
    for word, keys in pairs(definitions) do
        local defined = fields[word]
        for key in pairs(type(defined) == "table" and defined.fields or {}) do
            keys[key] = true
        end
    end
    seen = setmetatable(seen or { most = NODES, nodes = 0, times = 0 }, Seen)
    seen.letters, seen.definitions, seen.refers = 0, definitions, {}
    seen:schema(value, name, 0)
    seen:count("", name, 0) -- with the last one's repetitions
    is.harmless(value, name)
    seen:no_circle("", name, 0)
    for _, keys in pairs(definitions) do
        for key in pairs(keys) do
            seen:no_circle(key, name, 0)
        end
    end
end

return schema
