-- Writes the content of a Responses item as the parts of a Chat message.

local document = require("translate/document")
local expect = require("translate/expect")
local members = require("translate/members")

local parts = {}

local find = string.find

local TEXTS = { ['"input_text"'] = "text", ['"output_text"'] = "text", ['"text"'] = "text", ['"refusal"'] = "refusal" }
local DATA_URI, WEB = '^"data:', '^"https?:'

local function image(part, where)
  local url = expect.string(part, "image_url", where)
  if not find(url, DATA_URI) and not find(url, WEB) then
    expect.refuse("'" .. where .. "image_url' must be a data URI, or an address of the web.", where .. "image_url")
  end
  local detail = expect.optional_string(part, "detail", where)
  detail = detail and detail ~= '"auto"' and ',"detail":' .. detail or ""
  return '{"type":"image_url","image_url":{"url":' .. url .. detail .. "}}"
end

local function file(part, where)
  local data = expect.string(part, "file_data", where)
  if not find(data, DATA_URI) then
    expect.refuse("'" .. where .. "file_data' must be a data URI.", where .. "file_data")
  end
  local name = expect.optional_string(part, "filename", where) or '"document.pdf"'
  return '{"type":"file","file":{"filename":' .. name .. ',"file_data":' .. data .. "}}"
end

-- The texts of an item's member `name`, and its other parts as Chat has them; in `list` both, in order.
local function sort(item, name, where, place, checks)
  local found = { texts = {}, others = {}, list = {} }
  local function add_text(value)
    if value == '""' then return end
    found.texts[#found.texts + 1] = value
    found.list[#found.list + 1] = '{"type":"text","text":' .. value .. "}"
  end
  if document.is_string(item[name]) then
    add_text(item[name])
    return found
  end
  for at, part in expect.each(expect.list(item, name, where), where .. name) do
    local inside = where .. name .. "[" .. at - 1 .. "]."
    members.check(checks, part, place)
    local text = TEXTS[part.type]
    if text then
      add_text(expect.string(part, text, inside))
    elseif part.type == '"input_image"' or part.type == '"input_file"' then
      local written = (part.type == '"input_image"' and image or file)(part, inside)
      found.others[#found.others + 1], found.list[#found.list + 1] = written, written
    else
      members.refuse(inside .. "type")
    end
  end
  return found
end

-- Texts as one.
function parts.joined(texts, between)
  if #texts == 1 then return texts[1] end
  local inner = {}
  for at, text in ipairs(texts) do inner[at] = document.inner(text) end
  return '"' .. table.concat(inner, between) .. '"'
end

-- The texts of a member that can be nothing else.
function parts.texts(item, name, where, place, checks)
  local found = sort(item, name, where, place, checks)
  if #found.others > 0 then members.refuse(where .. name) end
  return found.texts
end

-- The texts of a tool's output, and its other parts.
function parts.output(item, where, checks)
  local found = sort(item, "output", where, "input.output", checks)
  return found.texts, found.others
end

-- The content of a user's message; nil if it is empty. One text needs no list, and some servers take none.
function parts.content(item, where, checks)
  local list = sort(item, "content", where, "input.content", checks)
  if #list.list == 0 then return nil end
  if #list.list == 1 and #list.texts == 1 then return list.texts[1] end
  return "[" .. table.concat(list.list, ",") .. "]"
end

return parts
