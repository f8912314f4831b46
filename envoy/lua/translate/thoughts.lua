-- Signed thoughts of a model that speaks Messages, as a client of Responses keeps them: in the `encrypted_content` of a
-- reasoning item, which it sends back unread. Without them such a model takes no results of the tools that it called
-- while it thought.

local document = require("translate/document")
local expect = require("translate/expect")

local thoughts = {}

local sub = string.sub

-- Stands before the blocks, so that no other provider's text is taken for ours.
local MARK = "spendgate.thinking "

-- One block, with nothing but what belongs there: a client could write anything into it, past the scan.
local function block(object)
  if object.type == '"redacted_thinking"' then
    return '{"type":"redacted_thinking","data":' .. expect.string(object, "data", "") .. "}"
  end
  if object.type ~= '"thinking"' then expect.refuse("A thought is of an unknown type.") end
  return '{"type":"thinking","thinking":' .. expect.string(object, "thinking", "") .. ',"signature":'
    .. expect.string(object, "signature", "") .. "}"
end

-- The texts of the blocks in a list of Chat's `thinking_blocks`.
function thoughts.blocks(list)
  local written = {}
  for at, object in expect.each(list, "thinking_blocks") do written[at] = block(object) end
  return written
end

-- The string that holds these blocks.
function thoughts.sealed(blocks)
  return document.quote(MARK .. "[" .. table.concat(blocks, ",") .. "]")
end

-- The list of the blocks that a string holds, as text; nil if they are another provider's. Raises a refusal if somebody
-- changed them.
function thoughts.opened(value, where)
  if sub(value, 2, #MARK + 1) ~= MARK then return nil end
  local read, list = pcall(document.read, sub(document.plain(value) or "", #MARK + 1))
  local done, written = pcall(thoughts.blocks, read and document.is_list(list) and list or { [0] = 1 })
  if not done then expect.refuse("'" .. where .. "' is not what the gateway wrote.", where) end
  return "[" .. table.concat(written, ",") .. "]"
end

return thoughts
