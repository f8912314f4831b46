-- Writes the tools of a Responses request, and the form that its answer must have, as Chat has them. All functions also
-- return what the answer says of them, because a Response repeats its request.

local document = require("translate/document")
local expect = require("translate/expect")
local members = require("translate/members")

local tools = {}

local NO_PARAMETERS = '{"type":"object","properties":{}}'
local CHOICES = { ['"auto"'] = true, ['"none"'] = true, ['"required"'] = true }
local PLAIN_TEXT = '{"type":"text"}'

-- The members of a tool, which are the same in both dialects.
local function tool(offered, where, checks)
  members.check(checks, offered, "tools")
  if offered.type ~= '"function"' then members.refuse(where .. "type") end
  local description = expect.optional_string(offered, "description", where)
  local strict = expect.optional_boolean(offered, "strict", where)
  return '"name":' .. expect.string(offered, "name", where)
    .. (description and ',"description":' .. description or "")
    .. ',"parameters":' .. (expect.optional_object_text(offered, "parameters", where) or NO_PARAMETERS),
    strict
end

local function write_choice(body, out, checks)
  local wanted = body.tool_choice or '"auto"'
  if CHOICES[wanted] then
    if body.tool_choice then out[#out + 1] = ',"tool_choice":' .. wanted end
    return wanted
  end
  if not document.is_object(wanted) then members.refuse("tool_choice") end
  members.check(checks, wanted, "tool_choice")
  if wanted.type ~= '"function"' then members.refuse("tool_choice.type") end
  local name = expect.string(wanted, "name", "tool_choice.")
  out[#out + 1] = ',"tool_choice":{"type":"function","function":{"name":' .. name .. "}}"
  return '{"type":"function","name":' .. name .. "}"
end

-- Adds the tools and the choice among them to `out`. Returns the members of the answer.
function tools.write(body, out, checks)
  local list = expect.optional_list(body, "tools", "")
  local together = expect.optional_boolean(body, "parallel_tool_calls", "") or "true"
  local told = ',"parallel_tool_calls":' .. together
  if not list or list[0] == 0 then return told .. ',"tool_choice":"auto","tools":[]' end
  local chat, back = {}, {}
  for at, offered in expect.each(list, "tools") do
    local written, strict = tool(offered, "tools[" .. at - 1 .. "].", checks)
    -- A schema that is meant strictly if nothing is said is so at OpenAI only.
    chat[at] = '{"type":"function","function":{' .. written .. (strict == "true" and ',"strict":true' or "") .. "}}"
    back[at] = '{"type":"function",' .. written .. ',"strict":' .. (strict or "false") .. "}"
  end
  out[#out + 1] = ',"tools":[' .. table.concat(chat, ",") .. "]"
  local choice = write_choice(body, out, checks)
  if together == "false" then out[#out + 1] = ',"parallel_tool_calls":false' end
  return told .. ',"tool_choice":' .. choice .. ',"tools":[' .. table.concat(back, ",") .. "]"
end

local function schema(form)
  local where = "text.format."
  local description = expect.optional_string(form, "description", where)
  local strict = expect.optional_boolean(form, "strict", where)
  return '"name":' .. expect.string(form, "name", where) .. (description and ',"description":' .. description or "")
    .. ',"schema":' .. expect.object_text(form, "schema", where) .. (strict and ',"strict":' .. strict or "")
end

-- Adds the form of the answer to `out`. Returns the member of the answer.
function tools.write_form(body, out, checks)
  local text, written = expect.optional_object(body, "text", ""), PLAIN_TEXT
  if text then members.check(checks, text, "text") end
  local form = text and expect.optional_object(text, "format", "text.")
  if form then members.check(checks, form, "text.format") end
  if form and form.type == '"json_object"' then
    written = '{"type":"json_object"}'
    out[#out + 1] = ',"response_format":' .. written
  elseif form and form.type == '"json_schema"' then
    local inside = schema(form)
    written = '{"type":"json_schema",' .. inside .. "}"
    out[#out + 1] = ',"response_format":{"type":"json_schema","json_schema":{' .. inside .. "}}"
  elseif form and form.type ~= '"text"' then
    members.refuse("text.format.type")
  end
  return ',"text":{"format":' .. written .. "}"
end

return tools
