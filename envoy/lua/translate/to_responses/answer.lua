-- Writes a whole answer of Chat as a Response.

local chat_answer = require("translate/chat_answer")
local document = require("translate/document")
local expect = require("translate/expect")
local response = require("translate/to_responses/response")
local thoughts = require("translate/thoughts")

local answer = {}

local function text_of(object, name)
  local value = expect.optional_string(object, name, "")
  return value ~= '""' and value or nil
end

local function add_reasoning(message, call, head, output)
  local thought, sealed = chat_answer.thought(message), nil
  local blocks = call.keeps_thoughts and expect.optional_list(message, "thinking_blocks", "")
  if blocks and blocks[0] > 0 then sealed = thoughts.sealed(thoughts.blocks(blocks)) end
  if not thought and not sealed then return end
  output[#output + 1] = response.reasoning(response.item_id("rs", head, #output), thought, sealed)
end

local function add_message(message, head, output, status)
  local said, refused, parts = text_of(message, "content"), text_of(message, "refusal"), {}
  if said then parts[1] = response.part("output_text", said) end
  if refused then parts[#parts + 1] = response.part("refusal", refused) end
  if #parts == 0 then return end
  output[#output + 1] = response.message(response.item_id("msg", head, #output), status, parts)
end

local function add_calls(message, head, output, status)
  local count = message.tool_calls and message.tool_calls[0]
  for at, call in chat_answer.calls(message) do
    local called = expect.object(call, "function", "tool_calls.")
    local arguments = document.inner(expect.string(called, "arguments", "tool_calls.function."))
    output[#output + 1] = response.call(
      response.item_id("fc", head, #output), at == count and status or "completed",
      expect.string(call, "id", "tool_calls."), expect.string(called, "name", "tool_calls.function."),
      '"' .. response.arguments(arguments) .. '"'
    )
  end
end

-- Returns the answer for the client. Raises a refusal if the provider's text is no answer.
--
-- `call` says what is known of the call: `now` (seconds since 1970), `repeated` (members of the request that a Response
-- repeats), and `keeps_thoughts` (whether the client wants signed thoughts, to send them back).
function answer.write(text, call)
  local object = document.read(text)
  local choice, message = chat_answer.choice(object)
  local head, output = response.head(object, call), {}
  local ending, status = response.ending(choice, expect.optional_object(object, "usage", ""))
  local calls = expect.optional_list(message, "tool_calls", "")
  add_reasoning(message, call, head, output)
  -- Only the last item can be incomplete.
  add_message(message, head, output, calls and calls[0] > 0 and "completed" or status)
  add_calls(message, head, output, status)
  return response.write(head, status, output, ending)
end

return answer
