-- Writes the chunks of a Chat stream as the events of Responses.
--
-- Source: https://platform.openai.com/docs/api-reference/responses-streaming. Items come one after the other: what the
-- model thought, what it said, and its calls. Each ends before the next begins.

local chat_answer = require("translate/chat_answer")
local chat_calls = require("translate/chat_calls")
local document = require("translate/document")
local errors = require("translate/errors")
local expect = require("translate/expect")
local items = require("translate/to_responses/stream_items")
local response = require("translate/to_responses/response")

local stream = {}

-- A new stream. `call` is as in `answer.write`.
function stream.new(call)
  return {
    call = call,
    head = nil, -- what each object of the answer begins with
    items = nil,
    calls = chat_calls.new(),
    used = nil, -- the usage
    ending = nil, -- the choice that said the reason for the end
    over = false,
  }
end

local function begin(self, chunk, out)
  self.head = response.head(chunk, self.call)
  self.items = items.new(self.head, self.call.keeps_thoughts)
  local object = ',"response":' .. response.write(self.head, "in_progress", {}, response.UNFINISHED)
  items.add(self.items, out, "response.created", object)
  items.add(self.items, out, "response.in_progress", object)
end

local function add_call(self, out, call)
  local called = expect.optional_object(call, "function", "tool_calls.") or {}
  local begins, name = chat_calls.begins(self.calls, call, called, items.is_call(self.items))
  if begins then
    items.open_call(self.items, out, expect.string(call, "id", "tool_calls."),
      expect.string({ name = name }, "name", "tool_calls.function."))
  end
  local arguments = expect.optional_string(called, "arguments", "tool_calls.function.")
  if arguments and arguments ~= '""' then items.add_arguments(self.items, out, arguments) end
end

local function take_choice(self, choice, out)
  if not document.is_object(choice) then expect.refuse("A choice is no object.") end
  local delta = expect.optional_object(choice, "delta", "choices[0].") or {}
  local thought = chat_answer.thought(delta)
  if thought then items.add_thought(self.items, out, thought) end
  local blocks = self.call.keeps_thoughts and expect.optional_list(delta, "thinking_blocks", "")
  if blocks then items.add_blocks(self.items, out, blocks) end
  for _, kind in ipairs({ "content", "refusal" }) do
    local text = expect.optional_string(delta, kind, "")
    if text and text ~= '""' then
      items.add_text(self.items, out, kind == "refusal" and "refusal" or "output_text", text)
    end
  end
  for _, call in chat_answer.calls(delta) do add_call(self, out, call) end
  if choice.finish_reason then self.ending = choice end
end

local function finish(self, out)
  if not self.ending then expect.refuse("The stream ends within its answer.") end
  local ending, status = response.ending(self.ending, self.used)
  items.close(self.items, out, status)
  items.add(self.items, out, "response." .. status,
    ',"response":' .. response.write(self.head, status, self.items.output, ending))
  self.over = true
end

-- Adds what the client gets for one event to `out`. Raises a refusal if the event is not of the dialect.
function stream.take(self, data, out)
  if data == "[DONE]" then return finish(self, out) end
  local chunk = document.read(data)
  if not document.is_object(chunk) then expect.refuse("An event is no object.") end
  if chunk.error ~= nil then
    out[#out + 1] = stream.failure(errors.of_event("openai", chunk), self)
    self.over = true
    return
  end
  local choices = expect.list(chunk, "choices", "")
  self.used = expect.optional_object(chunk, "usage", "") or self.used
  if choices[0] == 0 then return end
  -- Some servers begin with a chunk that has no name yet.
  if not self.head then begin(self, chunk, out) end
  take_choice(self, choices[1], out)
end

-- Shows the client that the provider still works.
function stream.keep_alive(_, out)
  out[#out + 1] = ": ping\n\n"
end

-- The events that tell the client of a failure. `body` is an error of OpenAI's dialect. Some clients wait for a failed
-- Response, others for the event `error`, and OpenAI's SDK raises at an event with a member of that name.
function stream.failure(body, self)
  local said, out = document.read(body).error, {}
  local code, message = said.code or '"server_error"', said.message
  local state = self.items or items.new()
  if self.head then
    items.add(state, out, "response.failed", ',"response":' .. response.write(
      self.head, "failed", state.output, response.failure(code, message, self.used)))
  end
  items.add(state, out, "error", ',"code":' .. code .. ',"message":' .. message .. ',"param":null,"error":'
    .. '{"type":' .. said.type .. ',"code":' .. code .. ',"message":' .. message .. ',"param":null}')
  return table.concat(out)
end

return stream
