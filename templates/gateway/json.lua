-- JSON, stricter than RFC 8259: no key twice, however it is spelt, nothing after the end, no bottomless nest.
-- Texts that may be somebody's name are read without their escapes, longer ones stay as they are written;
-- objects are {fields}, arrays {items, n}, with {from, to} if asked.
local SHORT, LONG, DEPTH = 3000, 20000, 32 -- values of one body
local NULL = setmetatable({}, { __name = "null" })

-- Instead of a longer text, which is not copied: it is nobody's name, and longer than whatever has a length.
local LONG_TEXT = ("\0"):rep(2 ^ 16)

local NAME = 8192 -- bytes as written: longer than the name of anything, or all the words of a schema

-- Texts that are copied, together, and escapes: more of them only what is made for it has, however large a
-- body may be; pictures have neither.
local PIECES, ESCAPES = 2 * 2 ^ 20, 250000

local MARK = "\1" -- no text has it as written
local SHORTHANDS = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", u = MARK }
for letter in ('"\\/'):gmatch(".") do
    SHORTHANDS[letter] = letter
end

-- UTF-16's halves: two are one letter, one alone is none, as Go reads them.
local HIGH, LOW = MARK .. "([dD][89aAbB]%x%x)", MARK .. "([dD][c-fC-F]%x%x)"
local function joined(high, low)
    return utf8.char(0x10000 + (tonumber(high, 16) & 0x3FF) * 0x400 + (tonumber(low, 16) & 0x3FF))
end

local function letter(hex)
    local code = tonumber(hex, 16)
    return code >= 0xD800 and code < 0xE000 and "\u{FFFD}" or utf8.char(code)
end

local PIECE = 2048 -- bytes; nobody else's turn comes while one is replaced

local function unescaped(text)
    local pieces, at = {}, 1
    text = text:gsub("\\(.)", SHORTHANDS)
    while at <= #text do
        local next = at + PIECE
        local cut = text:sub(next - 4, next - 1):find(MARK, 1, true) -- no letter is halved
        next = cut and next - 5 + cut or next
        next = text:find("^" .. HIGH, next - 5) and next - 5 or next -- nor are two halves parted
        local piece = text:sub(at, next - 1):gsub(HIGH .. LOW, joined)
        pieces[#pieces + 1] = piece:gsub(MARK .. "(%x%x%x%x)", letter)
        at = next
    end
    return table.concat(pieces)
end

local WORDS = { t = { "true", true }, f = { "false", false }, n = { "null", NULL } }

local Reader = {}
Reader.__index = Reader

function Reader:wrong(what)
    local message = "the body is not JSON as it is taken here: %s at byte %d"
    error({ status = 400, message = message:format(what, self.at) }, 0)
end

local SPACES = { [" "] = true, ["\t"] = true, ["\r"] = true, ["\n"] = true }

-- The next character that is no space.
function Reader:space()
    local found = self.text:sub(self.at, self.at)
    if SPACES[found] then
        self.at = self.text:match("^[ \t\r\n]*()", self.at)
        found = self.text:sub(self.at, self.at)
    end
    return found
end

function Reader:step()
    self.at = self.at + 1
    return self:space()
end

function Reader:string()
    local text, start, at = self.text, self.at + 1, self.at + 1
    while true do
        local stop = text:match('^[^\0-\31"\\]*()', at) -- find() takes three times as long
        local found = text:sub(stop, stop)
        if found == '"' then
            self.at = stop + 1
            if stop - start > #LONG_TEXT then
                return LONG_TEXT
            end
            self.pieces = self.pieces - (stop - start)
            if self.pieces < 0 then
                self:wrong("too much text in pieces")
            end
            local written = text:sub(start, stop - 1)
            if at == start or #written > NAME then
                return written
            end
            return unescaped(written)
        elseif found ~= "\\" then
            self:wrong(found == "" and "a string without an end" or "a control character")
        end
        self.escapes = self.escapes - 1
        if self.escapes == 0 then
            self:wrong("too many escapes")
        elseif text:find('^["\\/bfnrt]', stop + 1) then
            at = stop + 2
        elseif text:find("^u%x%x%x%x", stop + 1) then
            at = stop + 6
        else
            self:wrong("an unknown escape")
        end
    end
end

function Reader:number()
    local written = self.text:match("^-?%d[%d.eE+-]*", self.at) or ""
    local whole, rest = written:match("^-?(%d+)(.*)$")
    rest = (rest or "x"):gsub("^%.%d+", "", 1):gsub("^[eE][+-]?%d+", "", 1)
    local value = rest == "" and #written <= 32 and not whole:find("^0%d") and tonumber(written)
    if not value or value ~= value or math.abs(value) == math.huge then
        self:wrong("something that is no number")
    end
    self.at = self.at + #written
    return value
end

-- A key without escapes is read at once, with its colon: a conversation has two for each message.
local KEY = '^"()[^\0-\31"\\]*()"[ \t\r\n]*:()'

function Reader:key(first)
    local from, to, after = self.text:match(KEY, self.at)
    if from and to - from <= NAME then
        self.at = after
        return self.text:sub(from, to - 1)
    elseif first ~= '"' then
        self:wrong("no key")
    end
    local key = self:string()
    if key:find('[\0-\31"\\]') then
        self:wrong("a control character, a quote or a backslash in a key")
    elseif self:space() ~= ":" then
        self:wrong("no colon")
    end
    self.at = self.at + 1
    return key
end

function Reader:object(depth)
    local fields, next = {}, self:step()
    local more = next ~= "}"
    while more do
        local key = self:key(next)
        if fields[key] ~= nil then
            self:wrong("a key for the second time")
        end
        fields[key] = self:value(depth)
        next, more = self:after("}")
    end
    self.at = self.at + 1
    return { fields = fields }
end

-- What stands after a value and its comma, and whether there was one.
function Reader:after(close)
    local next = self:space()
    if next == "," then
        return self:step(), true
    elseif next ~= close then
        self:wrong("no comma")
    end
end

function Reader:array(depth)
    local array = { items = {}, n = 0, from = self.places and {}, to = self.places and {} }
    local more = self:step() ~= "]"
    while more do
        array.n = array.n + 1
        local from = self.at
        array.items[array.n] = self:value(depth)
        if self.places then
            array.from[array.n], array.to[array.n] = from, self.at - 1
        end
        _, more = self:after("]")
    end
    self.at = self.at + 1
    return array
end

function Reader:value(depth)
    self.left = self.left - 1
    if depth == 0 or self.left == 0 then
        self:wrong(depth == 0 and "too deep a nest" or "too many values")
    end
    local first = self:space()
    if first == '"' then
        return self:string()
    elseif first == "{" then
        return self:object(depth - 1)
    elseif first == "[" then
        return self:array(depth - 1)
    end
    local word = WORDS[first]
    if word and self.text:find(word[1], self.at, true) == self.at then
        self.at = self.at + #word[1]
        return word[2]
    end
    return self:number()
end

-- ``places``: whether arrays tell where in the text each item is.
local function read(text, values, places)
    local reader = { text = text, at = 1, left = values, places = places, pieces = PIECES, escapes = ESCAPES }
    setmetatable(reader, Reader)
    if not utf8.len(text) then
        reader:wrong("no UTF-8")
    end
    local value = reader:value(DEPTH)
    if reader:space() ~= "" then
        reader:wrong("more after the end")
    end
    return value
end

return {
    null = NULL,
    read = read,
    unescaped = unescaped,
    LONG = LONG,
    LONG_TEXT = LONG_TEXT,
    NAME = NAME,
    PIECES = PIECES,
    SHORT = SHORT,
}
