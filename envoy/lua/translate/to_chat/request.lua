-- Writes a request to Anthropic's Messages as one to OpenAI's Chat Completions.
--
-- Sources: https://docs.anthropic.com/en/api/messages, https://platform.openai.com/docs/api-reference/chat/create.

local document = require("translate/document")
local expect = require("translate/expect")
local members = require("translate/members")
local messages = require("translate/to_chat/messages")
local translations = require("translations")

local request = {}

local OPAQUE = { input_schema = true, schema = true, input = true, cache_control = true, citations = true }
local TIERS = { ['"auto"'] = '"auto"', ['"standard_only"'] = '"default"' }
local CHOICES = { ['"auto"'] = '"auto"', ['"any"'] = '"required"', ['"none"'] = '"none"' }
local EFFORTS = { low = "low", medium = "medium", high = "high", xhigh = "high", max = "high" }
-- Chat has no budget for thinking, only words. A budget below each bound is meant by its word.
local LOW_BELOW, MEDIUM_BELOW = 4096, 16384
local STOPS_MAX = 4
-- A tool of one's own. Those with other types come with a meaning that only one vendor's models know.
local CUSTOM = '"custom"'

local function write_tools(body, out, checks)
  local list = expect.optional_list(body, "tools", "")
  if not list or list[0] == 0 then return end
  local written = {}
  for at, tool in expect.each(list, "tools") do
    local where = "tools[" .. at - 1 .. "]."
    members.check(checks, tool, "tools")
    if (tool.type or CUSTOM) ~= CUSTOM then members.refuse(where .. "type") end
    local description = expect.optional_string(tool, "description", where)
    written[at] = '{"type":"function","function":{"name":' .. expect.string(tool, "name", where)
      .. (description and ',"description":' .. description or "")
      .. ',"parameters":' .. expect.object_text(tool, "input_schema", where)
      .. (tool.strict == "true" and ',"strict":true' or "") .. "}}"
  end
  out[#out + 1] = ',"tools":[' .. table.concat(written, ",") .. "]"
  local choice = expect.optional_object(body, "tool_choice", "")
  if not choice then return end
  members.check(checks, choice, "tool_choice")
  local word = CHOICES[choice.type]
  if not word and choice.type ~= '"tool"' then members.refuse("tool_choice.type") end
  out[#out + 1] = ',"tool_choice":' .. (word or '{"type":"function","function":{"name":'
    .. expect.string(choice, "name", "tool_choice.") .. "}}")
  if choice.disable_parallel_tool_use == "true" then out[#out + 1] = ',"parallel_tool_calls":false' end
end

-- The effort that a client asks for: by its word, else by its budget. Nil if it leaves that to the model.
local function effort(body, checks)
  local config = expect.optional_object(body, "output_config", "")
  local thinking = expect.optional_object(body, "thinking", "")
  if config then members.check(checks, config, "output_config") end
  if thinking then members.check(checks, thinking, "thinking") end
  local word = config and expect.optional_string(config, "effort", "output_config.")
  if word then return EFFORTS[document.inner(word)] or members.refuse("output_config.effort") end
  if not thinking or thinking.type ~= '"enabled"' then return nil end
  local budget = tonumber(expect.optional_number(thinking, "budget_tokens", "thinking.")) or 0
  return budget < LOW_BELOW and "low" or budget < MEDIUM_BELOW and "medium" or "high"
end

local function write_thinking(body, out, thinking, checks)
  local word = effort(body, checks)
  if not word then return end
  if thinking == "none" then
    members.note(checks, body.thinking and "thinking" or "output_config.effort")
  else
    out[#out + 1] = ',"reasoning_effort":"' .. word .. '"'
  end
end

local function write_form(body, out, checks)
  local config, place = body.output_config, "output_config.format"
  local form = config and expect.optional_object(config, "format", "output_config.")
  if not form then
    form, place = expect.optional_object(body, "output_format", ""), "output_format"
  end
  if not form then return end
  members.check(checks, form, place)
  if form.type ~= '"json_schema"' then members.refuse(place .. ".type") end
  out[#out + 1] = ',"response_format":{"type":"json_schema","json_schema":{"name":"answer","strict":true,"schema":'
    .. expect.object_text(form, "schema", place .. ".") .. "}}"
end

local function write_bound(body, out, target)
  local given = tonumber(expect.optional_number(body, "max_tokens", ""))
  if not given or given < 1 or given ~= math.floor(given) then
    expect.refuse("'max_tokens' must be a positive integer.", "max_tokens")
  end
  local bound = math.min(given, target.output_bound)
  out[#out + 1] = string.format(',"%s":%.0f', target.output_bound_name, bound)
end

-- Models that always think take no temperature but 1.
local function write_sampling(body, out, is_taken, checks)
  for _, name in ipairs({ "temperature", "top_p" }) do
    local given = expect.optional_number(body, name, "")
    if given and is_taken then
      out[#out + 1] = ',"' .. name .. '":' .. given
    elseif given and tonumber(given) ~= 1 then
      members.note(checks, name)
    end
  end
end

local function write_rest(body, out, target)
  local stops = expect.optional_list(body, "stop_sequences", "")
  if stops and stops[0] > 0 then
    if stops[0] > STOPS_MAX then
      expect.refuse("'stop_sequences' may hold at most " .. STOPS_MAX .. " texts here: the provider of this model "
        .. "speaks another dialect.", "stop_sequences")
    end
    for at in ipairs(stops) do
      if not document.is_string(stops[at]) then expect.refuse("'stop_sequences' must hold texts.", "stop_sequences") end
    end
    out[#out + 1] = ',"stop":[' .. table.concat(stops, ",") .. "]"
  end
  if body.service_tier then
    out[#out + 1] = ',"service_tier":' .. (TIERS[body.service_tier] or members.refuse("service_tier"))
  end
  if expect.optional_boolean(body, "stream", "") == "true" then
    out[#out + 1] = ',"stream":true'
    if target.asks_for_usage then out[#out + 1] = ',"stream_options":{"include_usage":true}' end
  end
end

local function write_user(body, out, checks)
  local metadata = expect.optional_object(body, "metadata", "")
  if not metadata then return end
  members.check(checks, metadata, "metadata")
  local user = expect.optional_string(metadata, "user_id", "metadata.")
  if user then out[#out + 1] = ',"user":' .. user end
end

local function check_words(body)
  if body.speed and body.speed ~= '"standard"' then members.refuse("speed") end
end

-- Returns the body for the provider, and a table of what is known of the call: `ignored`, the names of what it was made
-- without (nil if nothing). Raises a refusal.
--
-- `target` says what differs between models: `model`, `output_bound` (the most tokens that the answer may have) and
-- `output_bound_name` (the member for it), `thinking` ("effort" or "none"), `sampling` (whether it takes any), and
-- `asks_for_usage` (whether a stream must be asked to report its usage).
function request.write(text, target)
  local checks = members.new(translations.messages_to_chat)
  local body = members.check(checks, document.read(text, OPAQUE), "")
  check_words(body)
  local out = { '{"model":', document.quote(target.model), ',"messages":', messages.write(body, checks) }
  write_bound(body, out, target)
  write_tools(body, out, checks)
  write_thinking(body, out, target.thinking, checks)
  write_form(body, out, checks)
  write_user(body, out, checks)
  write_sampling(body, out, target.sampling, checks)
  write_rest(body, out, target)
  out[#out + 1] = "}"
  return table.concat(out), { ignored = members.ignored(checks) }
end

return request
