-- Writes the instructions and the items of a Responses request as the messages of Chat.
--
-- An answer of the model is a row of items: what it thought, what it said, and its calls. In Chat it is one message.
-- Results of tools must follow it at once, so what Chat does not take as a result comes after the last of them.

local document = require("translate/document")
local expect = require("translate/expect")
local members = require("translate/members")
local parts = require("translate/from_responses/parts")
local thoughts = require("translate/thoughts")

local items = {}

local BLANK_LINE = "\\n\\n"

local function new_conversation(checks, keeps_thoughts)
  return {
    checks = checks,
    keeps_thoughts = keeps_thoughts, -- the provider takes signed thoughts
    system = {}, -- texts
    messages = {},
    answer = nil, -- the model's answer that is being put together
    after = {}, -- parts that follow the results of tools
  }
end

local function add(self, message)
  self.messages[#self.messages + 1] = message
end

local function end_answer(self)
  local answer = self.answer
  self.answer = nil
  if not answer or #answer.texts + #answer.calls + #answer.thoughts == 0 then return end
  add(self, '{"role":"assistant","content":' .. (#answer.texts > 0 and parts.joined(answer.texts, "") or "null")
    .. (#answer.calls > 0 and ',"tool_calls":[' .. table.concat(answer.calls, ",") .. "]" or "")
    .. (answer.thoughts[1] and ',"thinking_blocks":' .. answer.thoughts[1] or "") .. "}")
end

local function end_results(self)
  if #self.after == 0 then return end
  add(self, '{"role":"user","content":[' .. table.concat(self.after, ",") .. "]}")
  self.after = {}
end

local function current_answer(self)
  end_results(self)
  self.answer = self.answer or { texts = {}, calls = {}, thoughts = {} }
  return self.answer
end

local function add_system(self, item, where)
  local texts = parts.texts(item, "content", where, "input.content", self.checks)
  if #self.messages == 0 and not self.answer then
    for _, text in ipairs(texts) do self.system[#self.system + 1] = text end
  elseif #texts > 0 then
    end_answer(self)
    end_results(self)
    add(self, '{"role":"system","content":' .. parts.joined(texts, BLANK_LINE) .. "}")
  end
end

local function add_message(self, item, where)
  local role = item.role
  if role == '"assistant"' then
    local answer = current_answer(self)
    for _, text in ipairs(parts.texts(item, "content", where, "input.content", self.checks)) do
      answer.texts[#answer.texts + 1] = text
    end
  elseif role == '"user"' then
    local content = parts.content(item, where, self.checks)
    end_answer(self)
    end_results(self)
    if content then add(self, '{"role":"user","content":' .. content .. "}") end
  elseif role == '"system"' or role == '"developer"' then
    add_system(self, item, where)
  else
    members.refuse(where .. "role")
  end
end

local function add_call(self, item, where)
  local arguments = expect.string(item, "arguments", where)
  local calls = current_answer(self).calls
  calls[#calls + 1] = '{"id":' .. expect.string(item, "call_id", where) .. ',"type":"function","function":{"name":'
    .. expect.string(item, "name", where) .. ',"arguments":' .. (arguments ~= '""' and arguments or '"{}"') .. "}}"
end

local function add_result(self, item, where)
  end_answer(self)
  local texts, others = parts.output(item, where, self.checks)
  for _, part in ipairs(others) do self.after[#self.after + 1] = part end
  add(self, '{"role":"tool","tool_call_id":' .. expect.string(item, "call_id", where) .. ',"content":'
    .. parts.joined(texts, "") .. "}")
end

-- A signature means something to the provider that made it, and to no other.
local function add_thoughts(self, item, where)
  local sealed = expect.optional_string(item, "encrypted_content", where)
  local blocks = self.keeps_thoughts and sealed and thoughts.opened(sealed, where .. "encrypted_content")
  if not blocks then return members.note(self.checks, "input.type=reasoning") end
  local answer = current_answer(self)
  if #answer.texts + #answer.calls + #answer.thoughts > 0 then
    -- The model thought again before it went on.
    end_answer(self)
    answer = current_answer(self)
  end
  answer.thoughts[1] = blocks
end

local ADDERS = {
  ['"message"'] = add_message, ['"function_call"'] = add_call, ['"function_call_output"'] = add_result,
  ['"reasoning"'] = add_thoughts,
}

-- Returns the text of `messages`.
function items.write(body, checks, keeps_thoughts)
  local self = new_conversation(checks, keeps_thoughts)
  local instructions = expect.optional_string(body, "instructions", "")
  if instructions and instructions ~= '""' then self.system[1] = instructions end
  if document.is_string(body.input) then
    add(self, '{"role":"user","content":' .. body.input .. "}")
  else
    for at, item in expect.each(expect.list(body, "input", ""), "input") do
      local where = "input[" .. at - 1 .. "]."
      members.check(checks, item, "input")
      local adder = ADDERS[item.type or item.role and '"message"'] or members.refuse(where .. "type")
      adder(self, item, where)
    end
    end_answer(self)
    end_results(self)
  end
  if #self.messages == 0 then expect.refuse("'input' must hold a message that is not empty.", "input") end
  if #self.system > 0 then
    table.insert(self.messages, 1, '{"role":"system","content":' .. parts.joined(self.system, BLANK_LINE) .. "}")
  end
  return "[" .. table.concat(self.messages, ",") .. "]"
end

return items
