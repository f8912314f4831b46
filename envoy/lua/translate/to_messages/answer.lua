-- Writes a whole answer of Chat as one of Messages.

local chat_answer = require("translate/chat_answer")
local document = require("translate/document")
local expect = require("translate/expect")
local readable = require("translate/readable")
local usage = require("translate/usage")

local answer = {}

local REASONS = { stop = "end_turn", length = "max_tokens", tool_calls = "tool_use", content_filter = "refusal" }

-- Messages' reason for the end. Some servers say "stop" although the model called tools.
function answer.reason(choice, has_calls)
  local reason = REASONS[chat_answer.ending(choice)]
  return reason == "end_turn" and has_calls and "tool_use" or reason
end

-- The text of an answer, or of its refusal; nil if there is none.
function answer.text(object)
  local value = expect.optional_string(object, "content", "") or expect.optional_string(object, "refusal", "")
  return value ~= '""' and value or nil
end

local function tool_use(call)
  local called = expect.object(call, "function", "tool_calls.")
  local input = document.plain(expect.string(called, "arguments", "tool_calls.function."))
  if input and not string.find(input, "%S") then input = "{}" end
  if not input or not document.is_object_text(input) then expect.refuse("The arguments of a call are no object.") end
  readable.check(input)
  return '{"type":"tool_use","id":' .. expect.string(call, "id", "tool_calls.") .. ',"name":'
    .. expect.string(called, "name", "tool_calls.function.") .. ',"input":' .. input .. "}"
end

-- Returns the answer for the client. Raises a refusal if the provider's text is no answer.
function answer.write(text)
  local object = document.read(text)
  local choice, message = chat_answer.choice(object)
  local content, thought, said = {}, chat_answer.thought(message), answer.text(message)
  -- Nobody has signed it, so the client can show it and not send it back as its own.
  if thought then content[1] = '{"type":"thinking","thinking":' .. thought .. ',"signature":""}' end
  if said then content[#content + 1] = '{"type":"text","text":' .. said .. "}" end
  local before = #content
  for _, call in chat_answer.calls(message) do content[#content + 1] = tool_use(call) end
  local reason = answer.reason(choice, #content > before)
  local used = usage.to_messages(expect.optional_object(object, "usage", ""))
  return '{"id":' .. expect.string(object, "id", "") .. ',"type":"message","role":"assistant","model":'
    .. expect.string(object, "model", "") .. ',"content":[' .. table.concat(content, ",") .. '],"stop_reason":"'
    .. reason .. '","stop_sequence":null,"usage":' .. used .. "}"
end

return answer
