-- Reads the answers of Chat, for the translators that write them in another dialect.

local document = require("translate/document")
local expect = require("translate/expect")

local chat_answer = {}

-- Vendors that speak Chat have their own words for why an answer ends.
local ENDS = {
  stop = "stop", eos = "stop", length = "length", model_length = "length", tool_calls = "tool_calls",
  function_call = "tool_calls", content_filter = "content_filter",
}

-- The first choice of a whole answer, and its message.
function chat_answer.choice(object)
  if not document.is_object(object) then expect.refuse("It is no completion.") end
  local choice = expect.list(object, "choices", "")[1]
  if not document.is_object(choice) then expect.refuse("It has no choice.") end
  return choice, expect.object(choice, "message", "choices[0].")
end

-- Why a choice ended: "stop", "length", "tool_calls" (for which some servers say "stop") or "content_filter". Any other
-- reason is no end that anybody knows.
function chat_answer.ending(choice)
  return ENDS[document.inner(expect.string(choice, "finish_reason", "choices[0]."))]
    or expect.refuse("The provider's answer ended for an unknown reason.")
end

-- What a model thought, in the words of vendors; nil if nothing.
function chat_answer.thought(object)
  local value = object.reasoning_content or object.reasoning
  return document.is_string(value) and value ~= '""' and value or nil
end

-- The calls of tools in a message or in a piece of it.
function chat_answer.calls(object)
  return expect.each(expect.optional_list(object, "tool_calls", "") or { [0] = 0 }, "tool_calls")
end

return chat_answer
