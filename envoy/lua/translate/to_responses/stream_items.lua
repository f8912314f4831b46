-- Writes the items of a streamed Response: the events of each, from the one that adds it to the one that has it whole.

local document = require("translate/document")
local expect = require("translate/expect")
local response = require("translate/to_responses/response")
local thoughts = require("translate/thoughts")

local stream_items = {}

local inner = document.inner

-- The last events repeat the whole answer, so it is kept until then. No answer of a model is longer.
local BYTES_MAX = 16 * 1024 * 1024

-- The state of one stream. `head` is that of the Response.
function stream_items.new(head, keeps_thoughts)
  return {
    head = head,
    keeps_thoughts = keeps_thoughts,
    sequence = 0, -- of the next event
    output = {}, -- the items that have ended
    open = nil, -- the item that has not
    bytes = 0,
  }
end

-- Adds an event with these further members.
function stream_items.add(self, out, name, members)
  out[#out + 1] = "event: " .. name .. '\ndata: {"type":"' .. name .. '","sequence_number":' .. self.sequence .. members
    .. "}\n\n"
  self.sequence = self.sequence + 1
end

local add = stream_items.add

-- Adds an event about the open item, or about a part of it.
local function tell(self, out, name, members)
  local open = self.open
  add(self, out, name, ',"output_index":' .. #self.output .. ',"item_id":' .. open.id .. (open.place or "") .. members)
end

local function keep(self, into, text)
  self.bytes = self.bytes + #text
  if self.bytes > BYTES_MAX then expect.refuse("The answer is too long.") end
  into[#into + 1] = inner(text)
end

local function kept(pieces)
  return '"' .. table.concat(pieces) .. '"'
end

-- The end of a part of a message.
local function close_part(self, out)
  local open = self.open
  if not open.kind then return end
  local text = kept(open.pieces)
  local part = response.part(open.kind, text)
  tell(self, out, "response." .. open.kind .. ".done",
    open.kind == "refusal" and ',"refusal":' .. text or ',"text":' .. text .. ',"logprobs":[]')
  tell(self, out, "response.content_part.done", ',"part":' .. part)
  open.parts[#open.parts + 1], open.kind, open.pieces = part, nil, {}
end

local CLOSERS = {
  msg = function(self, out, open, status)
    close_part(self, out)
    return response.message(open.id, status, open.parts)
  end,
  fc = function(self, out, open, status)
    local whole = table.concat(open.pieces)
    local arguments = '"' .. response.arguments(whole) .. '"'
    if arguments ~= '"' .. whole .. '"' then
      tell(self, out, "response.function_call_arguments.delta", ',"delta":' .. arguments)
    end
    tell(self, out, "response.function_call_arguments.done", ',"name":' .. open.name .. ',"arguments":' .. arguments)
    return response.call(open.id, status, open.call_id, open.name, arguments)
  end,
  rs = function(self, out, open)
    local text = #open.pieces > 0 and kept(open.pieces) or nil
    if text then
      tell(self, out, "response.reasoning_summary_text.done", ',"text":' .. text)
      tell(self, out, "response.reasoning_summary_part.done", ',"part":' .. response.summary_part(text))
    end
    return response.reasoning(open.id, text, #open.blocks > 0 and thoughts.sealed(open.blocks) or nil)
  end,
}

-- Ends the open item. `status` is that of the answer if it ends, too.
function stream_items.close(self, out, status)
  local open = self.open
  if not open then return end
  local item = CLOSERS[open.prefix](self, out, open, status or "completed")
  add(self, out, "response.output_item.done", ',"output_index":' .. #self.output .. ',"item":' .. item)
  self.output[#self.output + 1], self.open = item, nil
end

-- Begins an item; `write(id)` is its first form.
local function open_item(self, out, prefix, open, write)
  stream_items.close(self, out)
  open.prefix, open.id, open.pieces = prefix, response.item_id(prefix, self.head, #self.output), {}
  add(self, out, "response.output_item.added", ',"output_index":' .. #self.output .. ',"item":' .. write(open.id))
  self.open = open
end

local function is_open(self, prefix)
  return self.open ~= nil and self.open.prefix == prefix
end

local function open_reasoning(self, out)
  if is_open(self, "rs") then return end
  open_item(self, out, "rs", { blocks = {} }, response.reasoning)
end

-- Goes on with what the model thinks.
function stream_items.add_thought(self, out, text)
  open_reasoning(self, out)
  local open = self.open
  if not open.place then
    open.place = ',"summary_index":0'
    tell(self, out, "response.reasoning_summary_part.added", ',"part":' .. response.summary_part('""'))
  end
  keep(self, open.pieces, text)
  tell(self, out, "response.reasoning_summary_text.delta", ',"delta":' .. text)
end

-- Adds signed thoughts, a list of Chat's `thinking_blocks`.
function stream_items.add_blocks(self, out, list)
  open_reasoning(self, out)
  local blocks = self.open.blocks
  for _, block in ipairs(thoughts.blocks(list)) do
    self.bytes = self.bytes + #block
    blocks[#blocks + 1] = block
  end
end

-- Goes on with what the model says. `kind` is "output_text" or "refusal".
function stream_items.add_text(self, out, kind, text)
  if not is_open(self, "msg") then
    open_item(self, out, "msg", { parts = {} }, function(id) return response.message(id, "in_progress", {}) end)
  end
  local open = self.open
  if open.kind ~= kind then
    close_part(self, out)
    open.kind, open.place = kind, ',"content_index":' .. #open.parts
    tell(self, out, "response.content_part.added", ',"part":' .. response.part(kind, '""'))
  end
  keep(self, open.pieces, text)
  tell(self, out, "response." .. kind .. ".delta",
    ',"delta":' .. text .. (kind == "refusal" and "" or ',"logprobs":[]'))
end

function stream_items.is_call(self)
  return is_open(self, "fc")
end

-- Begins a call. `call_id` and `name` are strings of JSON.
function stream_items.open_call(self, out, call_id, name)
  open_item(self, out, "fc", { call_id = call_id, name = name }, function(id)
    return response.call(id, "in_progress", call_id, name, '""')
  end)
end

-- Goes on with the arguments of the open call.
function stream_items.add_arguments(self, out, text)
  keep(self, self.open.pieces, text)
  tell(self, out, "response.function_call_arguments.delta", ',"delta":' .. text)
end

return stream_items
