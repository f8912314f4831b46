-- Writes the tools of a Chat request, and the form that its answer must have, as Messages has them.

local blocks = require("translate/to_messages/blocks")
local document = require("translate/document")
local expect = require("translate/expect")
local members = require("translate/members")

local tools = {}

local NO_PARAMETERS = '{"type":"object","properties":{}}'
local CHOICES = { ['"auto"'] = '"auto"', ['"none"'] = '"none"', ['"required"'] = '"any"' }

local function tool(offered, where, checks)
  members.check(checks, offered, "tools")
  if offered.type ~= '"function"' then members.refuse(where .. "type") end
  local called, inside = expect.object(offered, "function", where), where .. "function."
  members.check(checks, called, "tools.function")
  local description = expect.optional_string(called, "description", inside)
  local mark = blocks.mark(offered, where)
  return '{"name":' .. expect.string(called, "name", inside)
    .. (description and ',"description":' .. description or "")
    .. ',"input_schema":' .. (expect.optional_object_text(called, "parameters", inside) or NO_PARAMETERS)
    .. (called.strict == "true" and ',"strict":true' or "")
    .. (mark ~= "" and mark or blocks.mark(called, inside)) .. "}"
end

-- The text of the choice, without its closing brace; nil if the client left it to the model.
local function choice(body, checks)
  local wanted = body.tool_choice
  if wanted == nil then return nil end
  if CHOICES[wanted] then return '{"type":' .. CHOICES[wanted] end
  if not document.is_object(wanted) then members.refuse("tool_choice") end
  members.check(checks, wanted, "tool_choice")
  local called = expect.object(wanted, "function", "tool_choice.")
  members.check(checks, called, "tool_choice.function")
  return '{"type":"tool","name":' .. expect.string(called, "name", "tool_choice.function.")
end

-- Adds the tools to `out`.
function tools.write(body, out, checks)
  local list = expect.optional_list(body, "tools", "")
  if not list or list[0] == 0 then return end
  local written = {}
  for at, offered in expect.each(list, "tools") do written[at] = tool(offered, "tools[" .. at - 1 .. "].", checks) end
  out[#out + 1] = ',"tools":[' .. table.concat(written, ",") .. "]"
  local wanted, together = choice(body, checks), expect.optional_boolean(body, "parallel_tool_calls", "")
  if together == "false" and wanted ~= '{"type":"none"' then
    wanted = (wanted or '{"type":"auto"') .. ',"disable_parallel_tool_use":true'
  end
  if wanted then out[#out + 1] = ',"tool_choice":' .. wanted .. "}" end
end

-- Adds the tool that a model must call so that its answer has a form, for models that cannot be given the form itself.
-- Returns the tool's name.
local function force(schema, body, out)
  local list = body.tools
  if list and list[0] > 0 then members.refuse("response_format") end
  local name = expect.string(schema, "name", "response_format.json_schema.")
  out[#out + 1] = ',"tools":[{"name":' .. name .. ',"description":"Takes the answer.","input_schema":'
    .. expect.object_text(schema, "schema", "response_format.json_schema.")
    .. '}],"tool_choice":{"type":"tool","name":' .. name .. "}"
  return name
end

-- Adds what the form of the answer needs: a member of `config`, a block of `system`, or a tool. Returns the name of
-- that tool; nil if there is none. `structured` is "native" or "tool".
function tools.write_form(body, out, config, system, structured, checks)
  local form = expect.optional_object(body, "response_format", "")
  if not form or form.type == '"text"' then return nil end
  members.check(checks, form, "response_format")
  if form.type == '"json_object"' then
    system[#system + 1] = blocks.text('"Your whole answer must be one JSON object, with nothing before or after it."')
    return nil
  end
  if form.type ~= '"json_schema"' then members.refuse("response_format.type") end
  local schema = expect.object(form, "json_schema", "response_format.")
  members.check(checks, schema, "response_format.json_schema")
  if structured == "tool" then return force(schema, body, out) end
  config[#config + 1] = '"format":{"type":"json_schema","schema":'
    .. expect.object_text(schema, "schema", "response_format.json_schema.") .. "}"
  return nil
end

return tools
