-- What is said to a model: conversations, the tools that it may ask for, and the form of its answer.
local json = require("json")
local is = require("checks")
local schema = require("schema")

-- A part of a conversation that is no text has to be decoded, which takes memory nobody has counted.
local MEDIA = {
    image_url = 1,
    images = 1,
    input_audio = 1,
    audio = 1,
    source = 1,
    video_url = 1,
    file = 1,
    file_data = 1,
    file_id = 1,
    file_url = 1,
}
-- Templates of models repeat a role that they do not know; the others' words no error is known to repeat.
local LABELS =
    { role = 1, type = 1, id = 1, name = 1, tool_name = 1, tool_call_id = 1, call_id = 1, tool_use_id = 1 }
local ROLES = { user = 1, assistant = 1, system = 1, tool = 1 }
local FREE = { arguments = 1, input = 1, parameters = 1, input_schema = 1 } -- a tool's own words

-- Arguments as a text are JSON that Ollama reads, which takes 10,000 levels, and llama.cpp walks.
local function shallow(text, name)
    local depth, meant = 0, #text > json.NAME and json.unescaped(text) or text
    for found in meant:gsub("\\.", ""):gsub('"[^"]*"', ""):gmatch("[%[%]{}]") do
        depth = depth + ((found == "[" or found == "{") and 1 or -1)
        if depth > 32 then
            is.refuse(400, "%s: too deep a nest (32)", name)
        end
    end
    if #text >= #json.LONG_TEXT then
        is.refuse(400, "%s: has a text of more than 64 KB", name)
    end
end

local function conversation(value, name)
    if type(value) ~= "table" then
        return
    end
    for _, item in ipairs(value.items or {}) do
        conversation(item, name)
    end
    for field, given in pairs(value.fields or {}) do
        if field == "content" and type(given) == "string" or field == "role" and ROLES[given] then
            -- as nearly all are: there is nothing to look at
        elseif not field:find("^[a-z_]+$") then
            is.refuse(400, "%s: no field is spelt %s", name, is.quoted(field))
        elseif MEDIA[field] then
            is.closed("images")(given, name .. "." .. field)
        elseif LABELS[field] and type(given) == "string" then
            is.harmless(given, name .. "." .. field)
        elseif field == "arguments" and type(given) == "string" then
            shallow(given, name .. ".arguments")
        elseif not FREE[field] then
            conversation(given, name)
        end
    end
end

local function messages(value, name)
    is.items(value, name)
    conversation(value, name)
end

local OWN = { ["function"] = 1, custom = 1 } -- the client's; the server's, as web_search, ask others for him

local function tool_name(value, name) -- it stands in the grammar
    if type(value) ~= "string" or #value > 128 or value:find("[^%w_.:/\128-\255-]") then
        is.refuse(400, "%s: is no name (128 letters, digits and _ . : / -)", name)
    end
end

local function set(value)
    return value ~= nil and value ~= is.null
end

-- A tool, or the ``function`` in it.
local function declaration(tool, name, seen)
    local fields = is.fields(tool, name)
    for field in pairs(fields) do
        if not field:find("^[a-z_]+$") then
            is.refuse(400, "%s: no field is spelt %s", name, is.quoted(field))
        end
    end
    if set(fields.name) then
        tool_name(fields.name, name .. ".name")
    end
    for _, field in ipairs({ "parameters", "input_schema" }) do
        if set(fields[field]) then
            schema(fields[field], name .. "." .. field, seen)
        end
    end
    if set(fields["function"]) then
        declaration(fields["function"], name .. ".function", seen)
    end
end

local function tools(value, name)
    local seen = { tool = true, most = 1500, nodes = 0, times = 0 } -- of all together: llama.cpp makes one grammar of them
    for _, tool in ipairs(is.items(value, name)) do
        declaration(tool, name, seen)
        local kind = tool.fields.type
        if set(kind) and not OWN[kind] then
            is.refuse(403, "%s.type: is closed here, but for function and custom", name)
        end
    end
    is.harmless(value, name)
end

local function spoken(value, name) -- a text, or a conversation
    if type(value) ~= "string" then
        messages(value, name)
    end
end

-- Ollama shortens a conversation message by message, and reads all that is left of it each time. Of a part of
-- a message it makes a message, below /v1/.
local function short_enough(fields, size)
    local list, count = fields.messages or fields.input, 0
    for _, item in ipairs(type(list) == "table" and list.items or {}) do
        local parts = type(item) == "table" and item.fields and item.fields.content
        count = count + math.max(1, type(parts) == "table" and parts.n or 1)
    end
    local most = 128 * tonumber(is.declared.max_body) // size
    if count > 128 and count > most then
        is.refuse(400, "%s: a body of %d bytes has at most %d", fields.messages and "messages" or "input", size, most)
    end
end

local function format(value, name)
    if value ~= "" and value ~= "json" then
        if type(value) ~= "table" or not value.fields then
            is.refuse(400, "%s: is neither 'json' nor a schema", name)
        end
        schema(value, name)
    end
end

local answer = { type = is.label, name = is.label, description = is.text, schema = schema, strict = is.flag }

return {
    format = format,
    messages = messages,
    response_format = is.object({ type = is.label, json_schema = is.object(answer), schema = schema }),
    short_enough = short_enough,
    spoken = spoken,
    text = is.object({ format = is.object(answer), verbosity = is.label }),
    tools = tools,
}
