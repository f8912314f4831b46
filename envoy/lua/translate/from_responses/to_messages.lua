-- Writes a request to OpenAI's Responses as one to Anthropic's Messages, by way of Chat.

local from_responses = require("translate/from_responses/request")
local to_messages = require("translate/to_messages/request")

local through_chat = {}

local gsub, sub = string.gsub, string.sub

-- What Chat calls by another name.
local NAMES = {
  { "^messages%[.*", "input" }, { "^messages", "input" }, { "^response_format%.json_schema", "text.format" },
  { "^response_format", "text.format" }, { "^reasoning_effort", "reasoning.effort" },
}

-- The client's own name for a member of Chat.
local function own_name(name)
  for _, pair in ipairs(NAMES) do
    local found, count = gsub(name, pair[1], pair[2])
    if count > 0 then return found end
  end
  return name
end

-- Refuses in the words of the client's own dialect.
local function refuse(problem)
  if type(problem) ~= "table" or not problem.parameter then error(problem, 0) end
  local name, theirs = own_name(problem.parameter), "'" .. problem.parameter .. "'"
  local message = problem.message
  if sub(message, 1, #theirs) == theirs then message = "'" .. name .. "'" .. sub(message, #theirs + 1) end
  error({ message = message, parameter = name }, 0)
end

local function joined(first, second)
  if not first or not second then return first or second end
  return first .. "," .. second
end

-- As in `from_responses/request` and `to_messages/request`.
function through_chat.write(text, target)
  local chat, known = from_responses.write(text, {
    model = target.model,
    output_cap = target.output_cap,
    output_bound_name = "max_tokens",
    thinking = "effort",
    sampling = true,
    asks_for_usage = false,
    keeps_thoughts = true,
  })
  local done, written, more = pcall(to_messages.write, chat, target)
  if not done then refuse(written) end
  local ignored = more.ignored and gsub(more.ignored, "[^,]+", own_name)
  known.ignored, known.forced = joined(known.ignored, ignored), more.forced
  return written, known
end

return through_chat
