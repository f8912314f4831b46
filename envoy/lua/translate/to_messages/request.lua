-- Writes a request to OpenAI's Chat Completions as one to Anthropic's Messages.
--
-- Sources: https://platform.openai.com/docs/api-reference/chat/create, https://docs.anthropic.com/en/api/messages.

local document = require("translate/document")
local expect = require("translate/expect")
local members = require("translate/members")
local tools = require("translate/to_messages/tools")
local translations = require("translations")
local turns = require("translate/to_messages/turns")

local request = {}

local OPAQUE = { parameters = true, schema = true, cache_control = true, thinking = true, thinking_blocks = true }
local BOUNDS = { "max_tokens", "max_completion_tokens" }
local TIERS = {
  ['"auto"'] = '"auto"', ['"default"'] = '"standard_only"', ['"standard"'] = '"standard_only"',
  ['"on_demand"'] = '"standard_only"',
}
-- The tokens that an effort may think. At most half of the answer's bound is for thinking, and the provider takes no
-- budget below the least.
local BUDGETS = { minimal = 1024, low = 4096, medium = 12288, high = 24576, xhigh = 49152, max = 49152 }
local LEAST_BUDGET = 1024
local EFFORTS = { minimal = "low", low = "low", medium = "medium", high = "high", xhigh = "high", max = "max" }

-- The larger of the client's bounds, and no more than what quota granted.
local function output_bound(body, granted)
  local bound
  for _, name in ipairs(BOUNDS) do
    local given = tonumber(expect.optional_number(body, name, ""))
    if given == -1 then return granted end
    if given and (given < 1 or given ~= math.floor(given)) then
      expect.refuse("'" .. name .. "' must be a positive integer.", name)
    end
    bound = given and math.max(bound or 0, given) or bound
  end
  return bound and math.min(bound, granted) or granted
end

-- Adds what the client asks of thinking. Returns whether the model will think.
local function write_thinking(body, out, config, target, checks)
  local own, effort = expect.optional_object_text(body, "thinking", ""), body.reasoning_effort
  if own then
    if target.thinking == "none" then
      members.note(checks, "thinking")
      return false
    end
    out[#out + 1] = ',"thinking":' .. own
    return not string.find(own, '"disabled"', 1, true)
  end
  local word = effort and document.inner(expect.string(body, "reasoning_effort", ""))
  if not word or word == "none" then return false end
  if not BUDGETS[word] then members.refuse("reasoning_effort") end
  if target.thinking == "adaptive" then
    out[#out + 1] = ',"thinking":{"type":"adaptive"}'
    config[#config + 1] = '"effort":"' .. EFFORTS[word] .. '"'
    return true
  end
  local budget = math.min(BUDGETS[word], math.floor(target.output_bound / 2))
  if target.thinking ~= "budget" or target.forced or budget < LEAST_BUDGET then
    members.note(checks, "reasoning_effort")
    return false
  end
  out[#out + 1] = string.format(',"thinking":{"type":"enabled","budget_tokens":%.0f}', budget)
  return true
end

-- Adds how tokens are drawn. A model that thinks takes none of it, nor do the newest models; no model likes both a
-- temperature and `top_p`.
local function write_sampling(body, out, is_taken, checks)
  local temperature = expect.optional_number(body, "temperature", "")
  for _, name in ipairs({ "temperature", "top_p", "top_k" }) do
    local given = expect.optional_number(body, name, "")
    local number = tonumber(given)
    if given and (not is_taken or (name == "top_p" and temperature)) then
      if name == "top_k" or number ~= 1 then members.note(checks, name) end
    elseif given then
      -- Chat has temperatures up to 2, Messages up to 1.
      if name == "temperature" and number > 1 then
        members.note(checks, "temperature above 1")
        given = "1"
      end
      out[#out + 1] = ',"' .. name .. '":' .. given
    end
  end
end

local function write_stops(body, out)
  local stop = body.stop
  if stop == nil then return end
  if document.is_string(stop) then
    out[#out + 1] = ',"stop_sequences":[' .. stop .. "]"
    return
  end
  for _, each in ipairs(expect.list(body, "stop", "")) do
    if not document.is_string(each) then expect.refuse("'stop' must be a string, or a list of strings.", "stop") end
  end
  if stop[0] > 0 then out[#out + 1] = ',"stop_sequences":[' .. table.concat(stop, ",") .. "]" end
end

local function check_words(body)
  if body.n and document.number(body.n) ~= 1 then members.refuse("n") end
  for _, word in ipairs(expect.optional_list(body, "modalities", "") or {}) do
    if word ~= '"text"' then members.refuse("modalities") end
  end
  if body.service_tier and not TIERS[body.service_tier] then members.refuse("service_tier") end
end

local function write_rest(body, out, checks)
  write_stops(body, out)
  local user = expect.optional_string(body, "safety_identifier", "") or expect.optional_string(body, "user", "")
  if user then out[#out + 1] = ',"metadata":{"user_id":' .. user .. "}" end
  if body.service_tier then out[#out + 1] = ',"service_tier":' .. TIERS[body.service_tier] end
  local mark = expect.optional_object_text(body, "cache_control", "")
  if mark then out[#out + 1] = ',"cache_control":' .. mark end
  local options = expect.optional_object(body, "stream_options", "")
  if options then members.check(checks, options, "stream_options") end
  if expect.optional_boolean(body, "stream", "") == "true" then out[#out + 1] = ',"stream":true' end
end

-- Returns the body for the provider, and a table of what is known of the call: `ignored`, the names of what it was made
-- without (nil if nothing), and `forced`, the name of the tool that gives the answer its form, as it is written in JSON
-- (nil if there is none). Raises a refusal.
--
-- `target` says what differs between models: `model`, `output_bound` (the most tokens that the answer may have),
-- `thinking` ("budget", "adaptive" or "none"), `structured` ("native" or "tool") and `sampling` (whether it takes any).
function request.write(text, target)
  local checks = members.new(translations.chat_to_messages)
  local body = members.check(checks, document.read(text, OPAQUE), "")
  check_words(body)
  local messages, system = turns.write(body, checks)
  local bound = output_bound(body, target.output_bound)
  local out = {
    '{"model":', document.quote(target.model), ',"max_tokens":', string.format("%.0f", bound), ',"messages":', messages,
  }
  local config = {}
  local forced = tools.write_form(body, out, config, system, target.structured, checks)
  if #system > 0 then out[#out + 1] = ',"system":[' .. table.concat(system, ",") .. "]" end
  if not forced then tools.write(body, out, checks) end
  local facts = { thinking = target.thinking, output_bound = bound, forced = forced }
  local thinks = write_thinking(body, out, config, facts, checks)
  write_sampling(body, out, target.sampling and not thinks, checks)
  if #config > 0 then out[#out + 1] = ',"output_config":{' .. table.concat(config, ",") .. "}" end
  write_rest(body, out, checks)
  out[#out + 1] = "}"
  return table.concat(out), { ignored = members.ignored(checks), forced = forced }
end

return request
