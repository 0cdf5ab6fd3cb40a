-- Which requests pass, by what is in them; HAProxy asks once it has the whole body.
local json = require("json")
local is = require("checks")
local room = require("room")
local said = require("messages")
is.declare({ ... })

local count = is.whole(-1, 1000000) -- llama.cpp takes 4 bytes for each of repeat_last_n
local small = is.whole(0, 20)
local prompts = is.texts(32, is.text) -- the runner takes each as a question, and others wait behind all

local known = is.object({
    num_predict = is.tokens,
    temperature = is.number,
    top_k = count,
    top_p = is.number,
    min_p = is.number,
    typical_p = is.number,
    tfs_z = is.number,
    seed = is.whole(-2 ^ 53, 2 ^ 53),
    stop = is.texts(16, is.label),
    repeat_last_n = count,
    repeat_penalty = is.number,
    presence_penalty = is.number,
    frequency_penalty = is.number,
    mirostat = is.whole(0, 2),
    mirostat_tau = is.number,
    mirostat_eta = is.number,
    penalize_newline = is.flag,
    num_ctx = is.fixed("num_ctx", "model_num_ctx"),
    num_thread = is.fixed("num_thread", "num_thread"),
    num_keep = is.fixed("num_keep"),
    num_batch = is.fixed("num_batch"),
    num_gpu = is.fixed("num_gpu"),
    main_gpu = is.fixed("main_gpu"),
    use_mmap = is.fixed("use_mmap"),
    use_mlock = is.fixed("use_mlock"),
    low_vram = is.fixed("low_vram"),
    numa = is.fixed("numa"),
})

local function options(value, name)
    known(value, name)
    if value.fields.num_batch == is.null then -- Ollama hears the name alone, and starts the runner anew
        known({ fields = { num_batch = false } }, name)
    end
end

-- An object with the fields of all these tables.
local function object_of(...)
    local fields = {}
    for _, checks in ipairs({ ... }) do
        for field, check in pairs(checks) do
            fields[field] = check
        end
    end
    return is.object(fields)
end

local ollama = { model = is.model, options = options, keep_alive = is.keep_alive }

local answering = {
    stream = is.flag,
    think = is.little,
    format = said.format,
    logprobs = is.flag,
    top_logprobs = small,
    truncate = is.flag,
    shift = is.fixed("shift"), -- how the runner is started, from Ollama 0.32 on
}

local openai = {
    model = is.model,
    stream = is.flag,
    stream_options = is.little,
    max_tokens = is.tokens,
    max_completion_tokens = is.tokens,
    max_output_tokens = is.tokens,
    temperature = is.number,
    top_p = is.number,
    stop = is.texts(16, is.label),
    seed = is.whole(-2 ^ 53, 2 ^ 53),
    presence_penalty = is.number,
    frequency_penalty = is.number,
    response_format = said.response_format,
    text = said.text,
    tools = said.tools,
    tool_choice = is.little,
    parallel_tool_calls = is.flag,
    reasoning = is.little,
    reasoning_effort = is.label,
    n = is.whole(1, 1),
    logprobs = is.flag,
    top_logprobs = small,
    logit_bias = is.little,
    user = is.label,
    metadata = is.little,
    store = is.flag,
}

local ROUTES = {
    ["/api/generate"] = object_of(ollama, answering, {
        prompt = is.text,
        suffix = is.text,
        system = is.text,
        user = is.label, -- Moodle sends it; Ollama has no such field
        images = is.closed("images"),
        template = is.closed("template", ""),
        raw = is.closed("raw", false),
        context = is.closed("context"),
    }),
    ["/api/chat"] = object_of(ollama, answering, {
        messages = said.messages,
        tools = said.tools,
    }),
    ["/api/embed"] = object_of(ollama, { input = prompts, truncate = is.flag, dimensions = count }),
    ["/api/embeddings"] = object_of(ollama, { prompt = is.text }),
    ["/api/show"] = is.object({
        model = is.model_if_said,
        name = is.model_if_said,
        verbose = is.closed("verbose", false),
        system = is.unset,
        template = is.unset,
        options = is.object({}),
    }),
    ["/v1/chat/completions"] = object_of(openai, { messages = said.messages }),
    ["/v1/completions"] = object_of(openai, {
        prompt = prompts,
        suffix = is.text,
        echo = is.flag,
        logprobs = small, -- here it is a number, and Ollama's top_logprobs
        best_of = is.whole(1, 1),
    }),
    ["/v1/embeddings"] = is.object({
        model = is.model,
        input = prompts,
        dimensions = count,
        encoding_format = is.label,
        user = is.label,
    }),
    ["/v1/responses"] = object_of(openai, {
        input = said.spoken,
        instructions = is.text,
        truncation = is.label,
        include = is.little,
    }),
    ["/v1/messages"] = is.object({
        model = is.model,
        messages = said.messages,
        system = said.spoken,
        max_tokens = is.tokens,
        stream = is.flag,
        temperature = is.number,
        top_p = is.number,
        top_k = count,
        stop_sequences = is.texts(16, is.label),
        tools = said.tools,
        tool_choice = is.little,
        thinking = is.little,
        metadata = is.little,
    }),
}

local function agreed(path, value, size)
    ROUTES[path](value, "")
    is.as_it_runs(value.fields)
    said.short_enough(value.fields, size)
end

local function check(path, body, values, free)
    local found, value = pcall(json.read, body, values)
    local fields = found and type(value) == "table" and value.fields or {}
    local name = is.said(fields.model) or is.said(fields.name)
    if free then -- whoever may change models is only written down
        return nil, name
    elseif not found then
        return value
    end
    local passed, refusal = pcall(agreed, path, value, #body)
    if not passed then
        return refusal
    elseif not name then
        return { status = 400, message = "model: is missing" }
    end
    return nil, name
end

local BUSY = { status = 503, message = "too many bodies are looked at; please try again" }
local told = {} -- each once: whoever finds a fault may come back to it as often as he likes

local function look(txn, whole, values)
    local owner = txn:get_var("txn.owner") -- a token, or an address where none is asked for
    if not room.enter(owner, whole, values) then
        return BUSY
    end
    local body, refusal, name = txn.sf:req_body(), nil, nil
    if #body < whole then
        refusal = { status = 413, message = "the body does not fit with such headers" }
    else
        refusal, name = check(txn.sf:path(), body, values, txn:get_var("txn.token") == "admin")
    end
    room.leave(owner)
    return refusal, name
end

core.register_action("look_at_body", { "http-req" }, function(txn)
    local refusal, name = look(txn, txn.f:req_body_size(), is.opened.context and json.LONG or json.SHORT)
    if refusal == "not enough memory" then
        refusal = BUSY
    elseif type(refusal) == "string" then -- ours to mend
        if not told[refusal] then
            told[refusal] = true
            core.Alert("door.lua: " .. refusal)
        end
        refusal = { status = 500, message = "the gateway could not read the body" }
    end
    if refusal then
        txn:set_var("txn.no", refusal.status .. " " .. refusal.message)
    elseif name and is.quoted(name) ~= "?" then
        txn:set_var("txn.model", name)
    end
    txn:set_var("txn.looked", true)
end, 0)

-- Only the models that may be asked for are listed: the others would be loaded by whoever reads of them.
local LISTS = { ["/api/tags"] = "models", ["/api/ps"] = "models", ["/v1/models"] = "data" }

core.register_action("list_what_is_served", { "http-res" }, function(txn)
    local body, key = txn.f:res_body(), LISTS[txn:get_var("txn.route")]
    local found, value = pcall(json.read, body, json.LONG, true)
    local list = found and type(value) == "table" and value.fields and value.fields[key]
    local kept = {}
    for place, item in ipairs(list and list.items or {}) do
        local name = item.fields and (item.fields.name or item.fields.id)
        if is.served[name] then
            table.insert(kept, body:sub(list.from[place], list.to[place]))
        end
    end
    local reply = txn:reply({ status = list and 200 or 502 })
    reply:add_header("content-type", "application/json; charset=utf-8")
    reply:set_body(
        list and ("{%s%q:[%s]}"):format(key == "data" and '"object":"list",' or "", key, table.concat(kept, ","))
            or '{"error":"Ollama\'s list of models was not understood"}'
    )
    txn:done(reply)
end, 0)

-- Docker's own proxy and this host's users come from the network's gateway; read before any request.
local function network_gateway()
    local file = io.open("/proc/net/route")
    local routes = file and file:read("a") or ""
    if file then
        file:close() -- HAProxy's master reads this at each reload, and ends where too many are open
    end
    for line in routes:gmatch("[^\n]+") do
        local to, hex = line:match("^%S+%s+(%x+)%s+(%x+)")
        if to == "00000000" then
            local bytes = {}
            for byte in hex:gmatch("%x%x") do
                table.insert(bytes, 1, tonumber(byte, 16)) -- the host's order, as x86 and Arm have it
            end
            return table.concat(bytes, ".")
        end
    end
end

local HERE = { ["127.0.0.1"] = true, [network_gateway() or ""] = true }

core.register_fetches("from_this_host", function(txn)
    return HERE[txn.sf:src()] and 1 or 0
end)

-- An answer that comes word by word for ever is silent never; this is its end, whoever reads it. What comes
-- all at once is read at once.
local AT_ONCE = { ["/api/embed"] = 60, ["/api/embeddings"] = 60, ["/v1/embeddings"] = 60 } -- seconds
local Bound = { id = "a bound on an answer's time", flags = filter.FLT_CFG_FL_HTX }
Bound.__index = Bound

function Bound:new()
    return setmetatable({}, Bound)
end

function Bound:start_analyze(txn, channel)
    if channel:is_resp() and txn:get_var("txn.kind") == "generation" then
        self.seconds = AT_ONCE[txn:get_var("txn.route")] or tonumber(is.declared.answer_seconds)
        filter.register_data_filter(self, channel)
    end
end

function Bound:http_payload(_, message)
    local now = core.now().sec
    self.ends = self.ends or now + self.seconds
    if now > self.ends then
        error("an answer took longer than it may (gateway_answer_limit)", 0) -- an error is what ends it
    end
    filter.wake_time(1000 * (self.ends - now + 1)) -- who reads a byte now and then brings no more of it by then
end

core.register_filter("bound", Bound, function(bound)
    return bound
end)
