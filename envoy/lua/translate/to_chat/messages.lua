-- Writes the system prompt and the turns of a Messages request as the messages of Chat.

local document = require("translate/document")
local expect = require("translate/expect")
local members = require("translate/members")
local parts = require("translate/to_chat/parts")

local messages = {}

local inner = document.inner

-- Chat's results of tools have no mark for a failure, so the text says it.
local FAILED = "The tool failed: "

local function joined(texts, between)
  for at, text in ipairs(texts) do texts[at] = inner(text) end
  return '"' .. table.concat(texts, between) .. '"'
end

-- The system prompt as one text. Many servers take only one such message.
local function system_text(body, checks)
  local system, texts = body.system, {}
  if system == nil or document.is_string(system) then return system end
  for at, block in expect.each(expect.list(body, "system", ""), "system") do
    members.check(checks, block, "system")
    if block.type ~= '"text"' then members.refuse("system[" .. at - 1 .. "].type") end
    texts[at] = expect.string(block, "text", "system[" .. at - 1 .. "].")
  end
  return joined(texts, "\\n\\n")
end

-- Adds the message for a tool's result. Chat takes no images there; they are added to `after`.
local function add_result(block, where, out, after, checks)
  local texts, content = {}, block.content
  if document.is_string(content) then
    texts[1] = content
  elseif content ~= nil then
    for at, one in expect.each(expect.list(block, "content", where), where .. "content") do
      local place = where .. "content[" .. at - 1 .. "]."
      members.check(checks, one, "messages.content.content")
      if one.type == '"text"' then
        texts[#texts + 1] = expect.string(one, "text", place)
      else
        after[#after + 1] = parts.of(one, place, "messages.content.content", checks)
      end
    end
  end
  if expect.optional_boolean(block, "is_error", where) == "true" then
    table.insert(texts, 1, '"' .. FAILED .. '"')
  end
  local id = expect.string(block, "tool_use_id", where)
  out[#out + 1] = '{"role":"tool","tool_call_id":' .. id .. ',"content":' .. joined(texts, "") .. "}"
end

local function write_user(message, where, out, checks)
  local after, list, single = {}, {}, nil
  for at, block in expect.each(expect.list(message, "content", where), where .. "content") do
    local place = where .. "content[" .. at - 1 .. "]."
    members.check(checks, block, "messages.content")
    if block.type == '"tool_result"' then
      add_result(block, place, out, after, checks)
    else
      list[#list + 1] = parts.of(block, place, "messages.content", checks)
      single = block.text
    end
  end
  for _, part in ipairs(list) do after[#after + 1] = part end
  if #after > 0 then
    out[#out + 1] = '{"role":"user","content":' .. parts.content(after, #list == 1 and single or nil) .. "}"
  end
end

local function tool_call(block, where)
  return '{"id":' .. expect.string(block, "id", where) .. ',"type":"function","function":{"name":'
    .. expect.string(block, "name", where) .. ',"arguments":'
    .. document.quote(expect.object_text(block, "input", where)) .. "}}"
end

local function write_assistant(message, where, out, checks)
  local texts, calls = {}, {}
  for at, block in expect.each(expect.list(message, "content", where), where .. "content") do
    local place = where .. "content[" .. at - 1 .. "]."
    members.check(checks, block, "messages.content")
    if block.type == '"text"' then
      texts[#texts + 1] = expect.string(block, "text", place)
    elseif block.type == '"tool_use"' then
      calls[#calls + 1] = tool_call(block, place)
    elseif block.type == '"thinking"' or block.type == '"redacted_thinking"' then
      -- Its signature means something to the provider that made it, and to no other.
      members.note(checks, "messages.content.type=thinking")
    else
      members.refuse(place .. "type")
    end
  end
  if #texts == 0 and #calls == 0 then return end
  out[#out + 1] = '{"role":"assistant","content":' .. (#texts > 0 and joined(texts, "") or "null")
    .. (#calls > 0 and ',"tool_calls":[' .. table.concat(calls, ",") .. "]" or "") .. "}"
end

-- The text of `messages`.
function messages.write(body, checks)
  local out, system = {}, system_text(body, checks)
  if system and system ~= '""' then out[1] = '{"role":"system","content":' .. system .. "}" end
  for at, message in expect.each(expect.list(body, "messages", ""), "messages") do
    local where, role = "messages[" .. at - 1 .. "].", message.role
    members.check(checks, message, "messages")
    if role ~= '"user"' and role ~= '"assistant"' then members.refuse(where .. "role") end
    if document.is_string(message.content) then
      if message.content ~= '""' then
        out[#out + 1] = '{"role":' .. role .. ',"content":' .. message.content .. "}"
      end
    elseif role == '"user"' then
      write_user(message, where, out, checks)
    else
      write_assistant(message, where, out, checks)
    end
  end
  return "[" .. table.concat(out, ",") .. "]"
end

return messages
