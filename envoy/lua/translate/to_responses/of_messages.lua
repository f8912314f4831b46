-- Writes an answer of Messages as a Response, by way of Chat.

local from_messages = require("translate/to_chat/answer")
local from_messages_stream = require("translate/to_chat/stream")
local to_responses = require("translate/to_responses/answer")
local to_responses_stream = require("translate/to_responses/stream")

local of_messages = { answer = {}, stream = {} }

local sub = string.sub

-- Before the data of an event of Chat.
local DATA = "data: "

function of_messages.answer.write(text, call)
  return to_responses.write(from_messages.write(text, call), call)
end

function of_messages.stream.new(call)
  local inside = { now = call.now, forced = call.forced, include_usage = true }
  return { inside = from_messages_stream.new(inside), outside = to_responses_stream.new(call), over = false }
end

-- Passes events of Chat on.
local function pass(self, events, out)
  for _, event in ipairs(events) do
    if sub(event, 1, #DATA) == DATA then
      to_responses_stream.take(self.outside, sub(event, #DATA + 1, -3), out)
    else
      to_responses_stream.keep_alive(self.outside, out)
    end
  end
  self.over = self.outside.over
end

function of_messages.stream.take(self, data, out)
  local events = {}
  from_messages_stream.take(self.inside, data, events)
  pass(self, events, out)
end

function of_messages.stream.keep_alive(self, out)
  to_responses_stream.keep_alive(self.outside, out)
end

function of_messages.stream.failure(body, self)
  return to_responses_stream.failure(body, self.outside)
end

return of_messages
