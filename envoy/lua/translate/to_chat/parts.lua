-- Writes blocks of Messages as the parts of a Chat message.

local document = require("translate/document")
local expect = require("translate/expect")
local members = require("translate/members")

local parts = {}

local sub = string.sub

function parts.text(value)
  return '{"type":"text","text":' .. value .. "}"
end

-- The address of an image or file, or its data as one.
local function address(from, where)
  if from.type == '"base64"' then
    local media_type = expect.string(from, "media_type", where)
    return '"data:' .. document.inner(media_type) .. ";base64," .. sub(expect.string(from, "data", where), 2)
  end
  if from.type ~= '"url"' then members.refuse(where .. "type") end
  return expect.string(from, "url", where)
end

local function file(block, from, where)
  if from.type == '"text"' then return parts.text(expect.string(from, "data", where .. "source.")) end
  if from.type ~= '"base64"' then members.refuse(where .. "source.type") end
  local name = expect.optional_string(block, "title", where) or '"document.pdf"'
  return '{"type":"file","file":{"filename":' .. name .. ',"file_data":' .. address(from, where .. "source.") .. "}}"
end

-- The part for one block. Nil for an empty text. `place` is the place of such blocks in the table of members.
function parts.of(block, where, place, checks)
  if block.type == '"text"' then
    local text = expect.string(block, "text", where)
    return text ~= '""' and parts.text(text) or nil
  end
  if block.type ~= '"image"' and block.type ~= '"document"' then members.refuse(where .. "type") end
  local from = members.check(checks, expect.object(block, "source", where), place .. ".source")
  if block.type == '"document"' then return file(block, from, where) end
  return '{"type":"image_url","image_url":{"url":' .. address(from, where .. "source.") .. "}}"
end

-- The value of `content` for written parts. If they are only one text, that is `only_text`: it needs no list,
-- and some servers take none.
function parts.content(list, only_text)
  if #list == 1 and only_text then return only_text end
  return "[" .. table.concat(list, ",") .. "]"
end

return parts
