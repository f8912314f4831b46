-- Writes the chunks of a Chat stream as the events of Messages.

local answer = require("translate/to_messages/answer")
local chat_answer = require("translate/chat_answer")
local chat_calls = require("translate/chat_calls")
local document = require("translate/document")
local errors = require("translate/errors")
local expect = require("translate/expect")
local usage = require("translate/usage")

local stream = {}

-- A new stream. `call` is not used: the client gets the same whatever it asked for.
function stream.new(_)
  return {
    begun = false,
    index = -1, -- of the latest block
    open = nil, -- the kind of the open block: "text", "thinking" or "call"
    calls = chat_calls.new(),
    used = nil, -- the usage
    ending = nil, -- the choice that said the reason for the end
    over = false,
  }
end

local function add(out, name, members)
  out[#out + 1] = "event: " .. name .. '\ndata: {"type":"' .. name .. '"' .. members .. "}\n\n"
end

local function add_delta(self, out, delta)
  add(out, "content_block_delta", ',"index":' .. self.index .. ',"delta":' .. delta)
end

local function close_block(self, out)
  if self.open == nil then return end
  self.open = nil
  add(out, "content_block_stop", ',"index":' .. self.index)
end

local function open_block(self, out, kind, block)
  close_block(self, out)
  self.index, self.open = self.index + 1, kind
  add(out, "content_block_start", ',"index":' .. self.index .. ',"content_block":' .. block)
end

local function begin(self, chunk, out)
  self.begun = true
  add(out, "message_start", ',"message":{"id":' .. expect.string(chunk, "id", "")
    .. ',"type":"message","role":"assistant","model":' .. expect.string(chunk, "model", "")
    -- Chat says what was used only at the end.
    .. ',"content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"output_tokens":0}}')
end

local function add_text(self, out, delta)
  local thought = chat_answer.thought(delta)
  if thought then
    if self.open ~= "thinking" then
      open_block(self, out, "thinking", '{"type":"thinking","thinking":"","signature":""}')
    end
    add_delta(self, out, '{"type":"thinking_delta","thinking":' .. thought .. "}")
  end
  local text = answer.text(delta)
  if text then
    if self.open ~= "text" then open_block(self, out, "text", '{"type":"text","text":""}') end
    add_delta(self, out, '{"type":"text_delta","text":' .. text .. "}")
  end
end

local function add_call(self, out, call)
  local called = expect.optional_object(call, "function", "tool_calls.") or {}
  local begins, name = chat_calls.begins(self.calls, call, called, self.open == "call")
  if begins then
    open_block(self, out, "call", '{"type":"tool_use","id":' .. expect.string(call, "id", "tool_calls.") .. ',"name":'
      .. expect.string({ name = name }, "name", "tool_calls.function.") .. ',"input":{}}')
  end
  local arguments = expect.optional_string(called, "arguments", "tool_calls.function.")
  if arguments and arguments ~= '""' then
    add_delta(self, out, '{"type":"input_json_delta","partial_json":' .. arguments .. "}")
  end
end

local function finish(self, out)
  if not self.ending then expect.refuse("The stream ends within its answer.") end
  local reason = answer.reason(self.ending, self.calls.latest ~= nil)
  close_block(self, out)
  add(out, "message_delta", ',"delta":{"stop_reason":"' .. reason .. '","stop_sequence":null},"usage":'
    .. usage.to_messages(self.used))
  add(out, "message_stop", "")
  self.over = true
end

local function take_choice(self, choice, out)
  if not document.is_object(choice) then expect.refuse("A choice is no object.") end
  local delta = expect.optional_object(choice, "delta", "choices[0].") or {}
  add_text(self, out, delta)
  for _, call in chat_answer.calls(delta) do add_call(self, out, call) end
  if choice.finish_reason then self.ending = choice end
end

-- Adds what the client gets for one event to `out`. Raises a refusal if the event is not of the dialect.
function stream.take(self, data, out)
  if data == "[DONE]" then return finish(self, out) end
  local chunk = document.read(data)
  if not document.is_object(chunk) then expect.refuse("An event is no object.") end
  if chunk.error ~= nil then
    out[#out + 1] = stream.failure(errors.of_event("anthropic", chunk))
    self.over = true
    return
  end
  local choices = expect.list(chunk, "choices", "")
  if not self.begun then begin(self, chunk, out) end
  self.used = expect.optional_object(chunk, "usage", "") or self.used
  if choices[0] > 0 then take_choice(self, choices[1], out) end
end

-- Shows the client that the provider still works.
function stream.keep_alive(self, out)
  if self.begun then add(out, "ping", "") end
end

-- The event that tells the client of a failure. `body` is an error of its dialect.
function stream.failure(body)
  return "event: error\ndata: " .. body .. "\n\n"
end

return stream
