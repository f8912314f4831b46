-- Turns a provider's good answer into one of its client's dialect: a whole body, or a stream piece by piece. Whatever
-- happens, no byte of the provider's own dialect comes out.

local events = require("translate/events")
local readable = require("translate/readable")
local refusal = require("refusal")
local to_chat = require("translate/to_chat/answer")
local to_chat_stream = require("translate/to_chat/stream")
local to_messages = require("translate/to_messages/answer")
local to_messages_stream = require("translate/to_messages/stream")
local to_responses = require("translate/to_responses/answer")
local to_responses_of_messages = require("translate/to_responses/of_messages")
local to_responses_stream = require("translate/to_responses/stream")

local answers = {}

-- By the direction of the request.
local WHOLE = {
  chat_to_messages = to_chat, messages_to_chat = to_messages, responses_to_chat = to_responses,
  responses_to_messages = to_responses_of_messages.answer,
}
local STREAMS = {
  chat_to_messages = to_chat_stream, messages_to_chat = to_messages_stream, responses_to_chat = to_responses_stream,
  responses_to_messages = to_responses_of_messages.stream,
}
local BAD_GATEWAY = 502
local CODE = "upstream_unavailable"

-- The body of the error that a client gets in place of an answer that is none. `call` as in `answers.new`.
function answers.unreadable(call)
  return refusal.body(call.client, BAD_GATEWAY, CODE, "The gateway cannot read the provider's answer.", nil,
    call.request_id)
end

local function write(text, call)
  readable.check(text)
  return WHOLE[call.direction].write(text, call)
end

-- Returns the body for the client. Nil, and what is wrong, if the provider's text is no answer of its dialect.
function answers.whole(text, call)
  local done, body = pcall(write, text, call)
  if done then return body end
  return nil, type(body) == "table" and body.message or tostring(body)
end

-- A stream to the client. `call`: the client's dialect (`client`), the `direction` of the translation as translators
-- have it, `request_id`, and `now`, `forced`, `include_usage`, `repeated` and `keeps_thoughts` for the writers.
function answers.stream(call)
  local writer = STREAMS[call.direction]
  return { call = call, writer = writer, state = writer.new(call), events = events.new(), problem = nil }
end

local function fail(self, out, message)
  local call = self.call
  self.state.over = true
  out[#out + 1] = self.writer.failure(
    refusal.body(call.client, BAD_GATEWAY, CODE, message, nil, call.request_id), self.state)
end

-- Returns what the client gets for `bytes`. If they cannot be read, the error event is the last that it ever gets, and
-- `self.problem` says why.
function answers.feed(self, bytes)
  local state, writer, out = self.state, self.writer, {}
  if state.over then return "" end
  local done, problem = pcall(events.feed, self.events, bytes, function(data)
    if state.over then return end
    readable.check(data)
    writer.take(state, data, out)
  end, function()
    if not state.over then writer.keep_alive(state, out) end
  end)
  if not done then
    self.problem = type(problem) == "table" and problem.message or tostring(problem)
    fail(self, out, "The gateway cannot read the provider's stream.")
  end
  return table.concat(out)
end

-- Returns the error that ends the stream, whatever comes later; nothing if it has ended.
function answers.break_off(self)
  if self.state.over then return "" end
  local out = {}
  fail(self, out, "The gateway cannot read the provider's stream.")
  return table.concat(out)
end

-- Returns what the client gets when no more bytes come. A stream that ends before its answer does ends in an error.
function answers.finish(self)
  if self.state.over then return "" end
  local out = {}
  self.problem = "it ended early"
  fail(self, out, "The provider's stream ended before its answer did.")
  return table.concat(out)
end

return answers
