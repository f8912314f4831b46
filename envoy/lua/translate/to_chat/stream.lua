-- Writes the events of a Messages stream as the chunks of Chat.

local answer = require("translate/to_chat/answer")
local document = require("translate/document")
local errors = require("translate/errors")
local expect = require("translate/expect")
local usage = require("translate/usage")

local stream = {}

local inner = document.inner

-- A new stream. `call` is as in `answer.write`; `include_usage` says whether the client wants the usage at the end.
function stream.new(call)
  return {
    call = call,
    head = nil, -- the beginning of each chunk, up to its delta
    open = {}, -- blocks that have begun, by index
    calls = 0, -- calls of tools so far
    used = {}, -- the usage so far
    unwrapped = false, -- the forced tool was called
    ended = false, -- a reason for the end was said
    over = false,
  }
end

local function add(self, out, delta)
  out[#out + 1] = self.head .. delta .. '},"finish_reason":null}]}\n\n'
end

local function add_arguments(self, out, block, text)
  if block.forced then return add(self, out, '"content":' .. text) end
  add(self, out, '"tool_calls":[{"index":' .. block.call .. ',"function":{"arguments":' .. text .. "}}]")
end

local function keep_usage(self, said)
  for name, value in pairs(said) do self.used[name] = value end
end

local function start(self, event, out)
  if self.head then expect.refuse("The stream begins twice.") end
  local message = expect.object(event, "message", "")
  keep_usage(self, expect.object(message, "usage", ""))
  self.lead = 'data: {"id":' .. expect.string(message, "id", "") .. ',"object":"chat.completion.chunk","created":'
    .. string.format("%.0f", self.call.now) .. ',"model":' .. expect.string(message, "model", "") .. ',"choices":['
  self.head = self.lead .. '{"index":0,"delta":{'
  add(self, out, '"role":"assistant","content":""')
end

local OPENERS = {
  ['"text"'] = function(self, begun, _, out)
    if begun.text and begun.text ~= '""' then add(self, out, '"content":' .. expect.string(begun, "text", "")) end
  end,
  ['"tool_use"'] = function(self, begun, block, out)
    block.input = expect.optional_object_text(begun, "input", "") or "{}"
    block.forced = self.call.forced ~= nil and begun.name == self.call.forced
    if block.forced then
      self.unwrapped = true
      return
    end
    block.call = self.calls
    self.calls = self.calls + 1
    add(self, out, '"tool_calls":[{"index":' .. block.call .. ',"id":' .. expect.string(begun, "id", "")
      .. ',"type":"function","function":{"name":' .. expect.string(begun, "name", "") .. ',"arguments":""}}]')
  end,
  ['"thinking"'] = function(_, _, block) block.thoughts = {} end,
  ['"redacted_thinking"'] = function(self, begun, _, out)
    add(self, out, '"thinking_blocks":[{"type":"redacted_thinking","data":' .. expect.string(begun, "data", "") .. "}]")
  end,
}

local function open_block(self, event, out)
  local begun, block = expect.object(event, "content_block", ""), {}
  local opener = OPENERS[begun.type]
  if not opener or not event.index then expect.refuse("A block of an unknown type begins.") end
  self.open[event.index] = block
  opener(self, begun, block, out)
end

local DELTAS = {
  ['"text_delta"'] = function(self, delta, _, out)
    add(self, out, '"content":' .. expect.string(delta, "text", ""))
  end,
  ['"input_json_delta"'] = function(self, delta, block, out)
    local text = expect.string(delta, "partial_json", "")
    if text == '""' or not block.input then return end
    block.filled = true
    add_arguments(self, out, block, text)
  end,
  ['"thinking_delta"'] = function(self, delta, block, out)
    local text = expect.string(delta, "thinking", "")
    if block.thoughts then block.thoughts[#block.thoughts + 1] = inner(text) end
    add(self, out, '"reasoning_content":' .. text)
  end,
  ['"signature_delta"'] = function(_, delta, block) block.signature = expect.string(delta, "signature", "") end,
  -- Of text that the client has already.
  ['"citations_delta"'] = function() end,
}

local function add_delta(self, event, out)
  local delta, block = expect.object(event, "delta", ""), self.open[event.index]
  local add_to = DELTAS[delta.type]
  if not block or not add_to then expect.refuse("A part of no open block comes.") end
  add_to(self, delta, block, out)
end

local function close_block(self, event, out)
  local block = self.open[event.index]
  if not block then expect.refuse("A block ends that has not begun.") end
  self.open[event.index] = nil
  if block.input and not block.filled then
    add_arguments(self, out, block, document.quote(block.input))
  elseif block.thoughts and block.signature then
    add(self, out, '"thinking_blocks":[{"type":"thinking","thinking":"' .. table.concat(block.thoughts)
      .. '","signature":' .. block.signature .. "}]")
  end
end

local function change(self, event, out)
  if event.usage then keep_usage(self, expect.object(event, "usage", "")) end
  local delta = expect.object(event, "delta", "")
  if not delta.stop_reason then return end
  self.ended = true
  out[#out + 1] = self.head .. '},"finish_reason":"' .. answer.reason(delta, "delta.", self.unwrapped) .. '"}]}\n\n'
end

local function stop(self, _, out)
  if not self.ended or next(self.open) then expect.refuse("The stream ends within its answer.") end
  if self.call.include_usage then out[#out + 1] = self.lead .. '],"usage":' .. usage.to_chat(self.used) .. "}\n\n" end
  out[#out + 1] = "data: [DONE]\n\n"
  self.over = true
end

local function pass_error(self, event, out)
  out[#out + 1] = "data: " .. errors.of_event("openai", event) .. "\n\n"
  self.over = true
end

local TAKERS = {
  ['"content_block_start"'] = open_block, ['"content_block_delta"'] = add_delta, ['"content_block_stop"'] = close_block,
  ['"message_delta"'] = change, ['"message_stop"'] = stop,
}

-- Adds what the client gets for one event to `out`. Raises a refusal if the event is not of the dialect.
function stream.take(self, data, out)
  local event = document.read(data, answer.opaque)
  if not document.is_object(event) or not event.type then expect.refuse("An event has no type.") end
  if event.type == '"error"' then return pass_error(self, event, out) end
  if event.type == '"message_start"' then return start(self, event, out) end
  if event.type == '"ping"' then return stream.keep_alive(self, out) end
  local taker = TAKERS[event.type]
  -- The vendor asks clients to skip types that they do not know.
  if not taker then return end
  if not self.head then expect.refuse("The stream does not begin with its message.") end
  taker(self, event, out)
end

-- Shows the client that the provider still works.
function stream.keep_alive(_, out)
  out[#out + 1] = ": ping\n\n"
end

-- The event that tells the client of a failure. `body` is an error of its dialect.
function stream.failure(body)
  return "data: " .. body .. "\n\n"
end

return stream
