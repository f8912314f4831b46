-- Writes Response objects and their items.

local chat_answer = require("translate/chat_answer")
local document = require("translate/document")
local expect = require("translate/expect")
local usage = require("translate/usage")

local response = {}

local format = string.format

-- Why an answer is not complete, by Chat's reason for its end. An answer with another reason is.
local INCOMPLETE = { length = "max_output_tokens", content_filter = "content_filter" }

-- What all objects of one answer begin with. `object` is Chat's answer or a piece of it; `call` as in `answer.write`.
function response.head(object, call)
  local id = document.inner(expect.string(object, "id", ""))
  local created = document.number(object.created) or call.now
  return {
    id = id,
    text = '{"id":"resp_' .. id .. '","object":"response","created_at":' .. format("%.0f", created)
      .. ',"model":' .. expect.string(object, "model", "") .. (call.repeated or ""),
  }
end

-- The object. `output` are the texts of its items; `more` are members that follow: see below.
function response.write(head, status, output, more)
  return head.text .. ',"status":"' .. status .. '","output":[' .. table.concat(output, ",") .. "]" .. more .. "}"
end

response.UNFINISHED = ',"error":null,"incomplete_details":null,"usage":null'

-- The members of an answer that has ended, and its status.
function response.ending(choice, used)
  local reason = INCOMPLETE[chat_answer.ending(choice)]
  local details = reason and '{"reason":"' .. reason .. '"}' or "null"
  return ',"error":null,"incomplete_details":' .. details .. ',"usage":' .. usage.to_responses(used),
    reason and "incomplete" or "completed"
end

-- The codes with which a Response fails and that clients act upon. Any other is this one.
local CODES = {
  ['"rate_limit_exceeded"'] = true, ['"insufficient_quota"'] = true, ['"context_length_exceeded"'] = true,
  ['"invalid_prompt"'] = true,
}
local ANY_CODE = '"server_error"'

-- The members of an answer that failed. `code` and `message` are strings of JSON.
function response.failure(code, message, used)
  return ',"error":{"code":' .. (CODES[code] and code or ANY_CODE) .. ',"message":' .. message
    .. '},"incomplete_details":null,"usage":' .. usage.to_responses(used)
end

-- The id of the item at a place of the output.
function response.item_id(prefix, head, index)
  return '"' .. prefix .. "_" .. head.id .. "_" .. index .. '"'
end

-- Of a message: a part with all of its text.
function response.part(kind, text)
  if kind == "refusal" then return '{"type":"refusal","refusal":' .. text .. "}" end
  return '{"type":"output_text","text":' .. text .. ',"annotations":[],"logprobs":[]}'
end

function response.message(id, status, parts)
  return '{"type":"message","id":' .. id .. ',"status":"' .. status .. '","role":"assistant","content":['
    .. table.concat(parts, ",") .. "]}"
end

-- A call of a tool. `call_id`, `name` and `arguments` are strings of JSON.
function response.call(id, status, call_id, name, arguments)
  return '{"type":"function_call","id":' .. id .. ',"status":"' .. status .. '","call_id":' .. call_id .. ',"name":'
    .. name .. ',"arguments":' .. arguments .. "}"
end

function response.summary_part(text)
  return '{"type":"summary_text","text":' .. text .. "}"
end

-- What the model thought. `text` is nil if nobody may read it, `sealed` if nothing of it can be sent back.
function response.reasoning(id, text, sealed)
  return '{"type":"reasoning","id":' .. id .. ',"summary":[' .. (text and response.summary_part(text) or "") .. "]"
    .. (sealed and ',"encrypted_content":' .. sealed or "") .. "}"
end

-- Arguments as clients read them, who take no empty ones.
function response.arguments(text)
  return string.find(text, "^%s*$") and "{}" or text
end

return response
