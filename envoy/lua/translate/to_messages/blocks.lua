-- Writes the content of a Chat message as blocks of Messages.

local document = require("translate/document")
local expect = require("translate/expect")
local members = require("translate/members")

local blocks = {}

local find, match, sub = string.find, string.match, string.sub

-- The head of a data URI, in which some writers of JSON escape the slash. The rest of it is only passed on.
local DATA_URI, DATA_URI_HEAD_BYTES = '^"data:([%w.+-]+)\\?/([%w.+-]+)[^,]*;base64,()', 160
local WEB = '^"https?:\\?/\\?/'

-- The member that marks a place for the prompt cache, which some clients of Chat know as well.
function blocks.mark(object, where)
  local mark = expect.optional_object_text(object, "cache_control", where)
  return mark and ',"cache_control":' .. mark or ""
end

function blocks.text(value, mark)
  return '{"type":"text","text":' .. value .. (mark or "") .. "}"
end

-- The source of an image or file, and its media type; nil for one in the web.
local function source(url, where)
  local kind, detail, at = match(sub(url, 1, DATA_URI_HEAD_BYTES), DATA_URI)
  if kind then
    local media_type = kind .. "/" .. detail
    return '{"type":"base64","media_type":"' .. media_type .. '","data":"' .. sub(url, at) .. "}", media_type
  end
  if find(url, WEB) then return '{"type":"url","url":' .. url .. "}" end
  expect.refuse("'" .. where .. "' must be a data URI in base64, or an address of the web.", where)
end

local function image(part, where, checks)
  local place = part.image_url
  if document.is_object(place) then
    members.check(checks, place, "messages.content.image_url")
    place = expect.string(place, "url", where .. "image_url.")
  else
    place = expect.string(part, "image_url", where)
  end
  return '{"type":"image","source":' .. source(place, where .. "image_url") .. blocks.mark(part, where) .. "}"
end

local function file(part, where, checks)
  local inside = members.check(checks, expect.object(part, "file", where), "messages.content.file")
  local data, kind = source(expect.string(inside, "file_data", where .. "file."), where .. "file.file_data")
  if kind ~= "application/pdf" then members.refuse(where .. "file") end
  local name = expect.optional_string(inside, "filename", where .. "file.")
  local title = name and ',"title":' .. name or ""
  return '{"type":"document","source":' .. data .. title .. blocks.mark(part, where) .. "}"
end

local function is_empty(value)
  return value == '""'
end

-- The block for one part. Nil for an empty text, which the provider would refuse.
local function block(part, where, checks)
  members.check(checks, part, "messages.content")
  local kind = part.type
  if kind == '"image_url"' or (not kind and part.image_url) then return image(part, where, checks) end
  if kind == '"file"' then return file(part, where, checks) end
  local name = kind == '"refusal"' and "refusal" or "text"
  if kind and kind ~= '"text"' and name == "text" then members.refuse(where .. "type") end
  local text = expect.string(part, name, where)
  return not is_empty(text) and blocks.text(text, blocks.mark(part, where)) or nil
end

-- The blocks of a message. A mark of the whole message is its last block's.
function blocks.of(message, where, checks)
  local written, content = {}, message.content
  if document.is_string(content) then
    if not is_empty(content) then written[1] = blocks.text(content) end
  elseif content ~= nil then
    for at, part in expect.each(expect.list(message, "content", where), where .. "content") do
      written[#written + 1] = block(part, where .. "content[" .. at - 1 .. "].", checks)
    end
  end
  local mark, last = blocks.mark(message, where), written[#written]
  if mark ~= "" and last and not find(last, '"cache_control":', 1, true) then
    written[#written] = sub(last, 1, -2) .. mark .. "}"
  end
  return written
end

return blocks
