-- Writes a whole answer of Chat as one of Messages.

local document = require("translate/document")
local expect = require("translate/expect")
local readable = require("translate/readable")
local usage = require("translate/usage")

local answer = {}

-- Vendors that speak Chat have their own words. Any other reason is no end that Messages knows.
local REASONS = {
  stop = "end_turn", eos = "end_turn", length = "max_tokens", model_length = "max_tokens", tool_calls = "tool_use",
  function_call = "tool_use", content_filter = "refusal",
}

-- Messages' reason for the end. Some servers say "stop" although the model called tools.
function answer.reason(choice, has_calls)
  local reason = REASONS[document.inner(expect.string(choice, "finish_reason", "choices[0]."))]
  if not reason then expect.refuse("The provider's answer ended for an unknown reason.") end
  return reason == "end_turn" and has_calls and "tool_use" or reason
end

-- What a model thought, in the words of vendors; nil if nothing.
function answer.thought(object)
  local value = object.reasoning_content or object.reasoning
  return document.is_string(value) and value ~= '""' and value or nil
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
  if not document.is_object(object) then expect.refuse("It is no completion.") end
  local choice = expect.list(object, "choices", "")[1]
  if not document.is_object(choice) then expect.refuse("It has no choice.") end
  local message, content = expect.object(choice, "message", "choices[0]."), {}
  local thought, said = answer.thought(message), answer.text(message)
  -- Nobody has signed it, so the client can show it and not send it back as its own.
  if thought then content[1] = '{"type":"thinking","thinking":' .. thought .. ',"signature":""}' end
  if said then content[#content + 1] = '{"type":"text","text":' .. said .. "}" end
  local calls = expect.optional_list(message, "tool_calls", "")
  for _, call in expect.each(calls or { [0] = 0 }, "tool_calls") do content[#content + 1] = tool_use(call) end
  local reason = answer.reason(choice, calls ~= nil and calls[0] > 0)
  local used = usage.to_messages(expect.optional_object(object, "usage", ""))
  return '{"id":' .. expect.string(object, "id", "") .. ',"type":"message","role":"assistant","model":'
    .. expect.string(object, "model", "") .. ',"content":[' .. table.concat(content, ",") .. '],"stop_reason":"'
    .. reason .. '","stop_sequence":null,"usage":' .. used .. "}"
end

return answer
