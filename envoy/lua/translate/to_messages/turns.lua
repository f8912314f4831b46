-- Writes the messages of a Chat request as the system prompt and the turns of Messages.

local blocks = require("translate/to_messages/blocks")
local document = require("translate/document")
local expect = require("translate/expect")
local members = require("translate/members")

local turns = {}

local find, sub = string.find, string.sub

-- A conversation so far. Messages of one side in a row become one turn.
local function new_conversation()
  return { system = {}, list = {}, role = nil }
end

local function add(conversation, role, written)
  if #written == 0 then return end
  if conversation.role ~= role then
    conversation.role = role
    conversation.list[#conversation.list + 1] = { role = role, blocks = {} }
  end
  local into = conversation.list[#conversation.list].blocks
  for _, block in ipairs(written) do into[#into + 1] = block end
end

-- The arguments of a call: a text that is JSON, where the other dialect has the object itself.
local function input_of(called, where)
  local arguments = expect.string(called, "arguments", where)
  local text = document.plain(arguments)
  if text and not find(text, "%S") then return "{}" end
  if not text or not document.is_object_text(text) then
    expect.refuse("'" .. where .. "arguments' must be an object of JSON, as text.", where .. "arguments")
  end
  return text
end

local function tool_use(call, where, checks)
  members.check(checks, call, "messages.tool_calls")
  if (call.type or '"function"') ~= '"function"' then members.refuse(where .. "type") end
  local called = expect.object(call, "function", where)
  members.check(checks, called, "messages.tool_calls.function")
  return '{"type":"tool_use","id":' .. expect.string(call, "id", where) .. ',"name":'
    .. expect.string(called, "name", where .. "function.") .. ',"input":' .. input_of(called, where .. "function.")
    .. blocks.mark(call, where) .. "}"
end

-- Thinking comes first in a turn. Clients keep its blocks as the provider made them.
local function thinking(message, where)
  local list = message.thinking_blocks
  if list == nil then return nil end
  if type(list) ~= "string" or sub(list, 1, 1) ~= "[" then
    expect.refuse("'" .. where .. "thinking_blocks' must be a list.", where .. "thinking_blocks")
  end
  local inside = sub(list, 2, -2)
  return find(inside, "%S") and inside or nil
end

local function assistant(message, where, checks)
  local written = { thinking(message, where) }
  for _, block in ipairs(blocks.of(message, where, checks)) do written[#written + 1] = block end
  local refusal = expect.optional_string(message, "refusal", where)
  if refusal and refusal ~= '""' then written[#written + 1] = blocks.text(refusal) end
  local calls = expect.optional_list(message, "tool_calls", where)
  if calls then
    for at, call in expect.each(calls, where .. "tool_calls") do
      written[#written + 1] = tool_use(call, where .. "tool_calls[" .. at - 1 .. "].", checks)
    end
  end
  return written
end

local function tool_result(message, where, checks)
  local id, mark = expect.string(message, "tool_call_id", where), blocks.mark(message, where)
  message.cache_control = nil
  local inside = table.concat(blocks.of(message, where, checks), ",")
  local content = inside ~= "" and ',"content":[' .. inside .. "]" or ""
  return { '{"type":"tool_result","tool_use_id":' .. id .. content .. mark .. "}" }
end

-- The system prompt stands before the conversation, wherever the client has parts of it.
local function add_system(conversation, message, where, checks)
  if conversation.role then members.note(checks, "messages.role=system (its place)") end
  for _, block in ipairs(blocks.of(message, where, checks)) do
    if not find(block, '^{"type":"text"') then members.refuse(where .. "content") end
    conversation.system[#conversation.system + 1] = block
  end
end

-- The text of `messages`, and the blocks of the system prompt.
function turns.write(body, checks)
  local conversation = new_conversation()
  for at, message in expect.each(expect.list(body, "messages", ""), "messages") do
    local where = "messages[" .. at - 1 .. "]."
    members.check(checks, message, "messages")
    local role = message.role
    if role == '"user"' then
      add(conversation, "user", blocks.of(message, where, checks))
    elseif role == '"assistant"' then
      add(conversation, "assistant", assistant(message, where, checks))
    elseif role == '"tool"' then
      add(conversation, "user", tool_result(message, where, checks))
    elseif role == '"system"' or role == '"developer"' then
      add_system(conversation, message, where, checks)
    else
      members.refuse(where .. "role")
    end
  end
  if #conversation.list == 0 then expect.refuse("'messages' must hold a message that is not empty.", "messages") end
  local written = {}
  for at, turn in ipairs(conversation.list) do
    written[at] = '{"role":"' .. turn.role .. '","content":[' .. table.concat(turn.blocks, ",") .. "]}"
  end
  return "[" .. table.concat(written, ",") .. "]", conversation.system
end

return turns
