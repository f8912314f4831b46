-- Writes a whole answer of Messages as one of Chat.

local document = require("translate/document")
local expect = require("translate/expect")
local usage = require("translate/usage")

local answer = {}

local inner = document.inner

answer.opaque = { input = true, citations = true }
-- Any other reason is no end that Chat knows.
answer.reasons = {
  end_turn = "stop", stop_sequence = "stop", max_tokens = "length", model_context_window_exceeded = "length",
  tool_use = "tool_calls", refusal = "content_filter",
}

-- Chat's reason for the end. `unwrapped`: the only call was the answer itself.
function answer.reason(object, where, unwrapped)
  local said = inner(expect.string(object, "stop_reason", where))
  local reason = answer.reasons[said]
  if not reason then expect.refuse("The provider's answer ended for an unknown reason.") end
  return reason == "tool_calls" and unwrapped and "stop" or reason
end

local function tool_call(block)
  return '{"id":' .. expect.string(block, "id", "") .. ',"type":"function","function":{"name":'
    .. expect.string(block, "name", "") .. ',"arguments":' .. document.quote(expect.object_text(block, "input", ""))
    .. "}}"
end

-- A block of thinking as clients keep it, to send it back.
local function thinking(block)
  return '{"type":"thinking","thinking":' .. expect.string(block, "thinking", "") .. ',"signature":'
    .. expect.string(block, "signature", "") .. "}"
end

-- Sorts the blocks of a message by what Chat has for them.
local function sort(list, forced)
  local found = { texts = {}, calls = {}, thoughts = {}, blocks = {}, unwrapped = false }
  for _, block in expect.each(list, "content") do
    local kind = block.type
    if kind == '"text"' then
      found.texts[#found.texts + 1] = inner(expect.string(block, "text", ""))
    elseif kind == '"tool_use"' and forced and block.name == forced then
      found.texts[#found.texts + 1] = inner(document.quote(expect.object_text(block, "input", "")))
      found.unwrapped = true
    elseif kind == '"tool_use"' then
      found.calls[#found.calls + 1] = tool_call(block)
    elseif kind == '"thinking"' then
      found.thoughts[#found.thoughts + 1] = inner(expect.string(block, "thinking", ""))
      found.blocks[#found.blocks + 1] = thinking(block)
    elseif kind == '"redacted_thinking"' then
      found.blocks[#found.blocks + 1] = '{"type":"redacted_thinking","data":' .. expect.string(block, "data", "") .. "}"
    else
      expect.refuse("The provider's answer has a block of an unknown type.")
    end
  end
  return found
end

-- Returns the answer for the client. Raises a refusal if the provider's text is no answer.
--
-- `call` says what is known of the call: `now` (seconds since 1970), and `forced`, the name of the tool that gave the
-- answer its form, as it is written in JSON.
function answer.write(text, call)
  local object = document.read(text, answer.opaque)
  if not document.is_object(object) or object.type ~= '"message"' then expect.refuse("It is no message.") end
  local found = sort(expect.list(object, "content", ""), call.forced)
  local out = {
    '{"id":', expect.string(object, "id", ""), ',"object":"chat.completion","created":',
    string.format("%.0f", call.now), ',"model":', expect.string(object, "model", ""),
    ',"choices":[{"index":0,"message":{"role":"assistant","content":',
    #found.texts > 0 and '"' .. table.concat(found.texts) .. '"' or "null", ',"refusal":null',
  }
  if #found.calls > 0 then out[#out + 1] = ',"tool_calls":[' .. table.concat(found.calls, ",") .. "]" end
  if #found.thoughts > 0 then out[#out + 1] = ',"reasoning_content":"' .. table.concat(found.thoughts) .. '"' end
  if #found.blocks > 0 then out[#out + 1] = ',"thinking_blocks":[' .. table.concat(found.blocks, ",") .. "]" end
  out[#out + 1] = '},"logprobs":null,"finish_reason":"' .. answer.reason(object, "", found.unwrapped) .. '"}],"usage":'
  out[#out + 1] = usage.to_chat(expect.object(object, "usage", "")) .. "}"
  return table.concat(out)
end

return answer
