-- Writes a request to OpenAI's Responses as one to Chat Completions.
--
-- Sources: https://platform.openai.com/docs/api-reference/responses/create, .../chat/create.

local document = require("translate/document")
local expect = require("translate/expect")
local items = require("translate/from_responses/items")
local members = require("translate/members")
local tools = require("translate/from_responses/tools")
local translations = require("translations")

local request = {}

local OPAQUE = { parameters = true, schema = true, metadata = true }
-- Asks for nothing.
local BASE_TIERS = { ['"auto"'] = true, ['"default"'] = true }
local THOUGHTS = '"reasoning.encrypted_content"'
local EFFORTS = { none = true, minimal = true, low = true, medium = true, high = true, xhigh = true, max = true }

-- The bound on output: the client's, and no more than what quota granted. Nil if there is none.
local function write_bound(body, out, target)
  local given = tonumber(expect.optional_number(body, "max_output_tokens", ""))
  if given and (given < 1 or given ~= math.floor(given)) then
    expect.refuse("'max_output_tokens' must be a positive integer.", "max_output_tokens")
  end
  local bound = given and target.output_cap and math.min(given, target.output_cap) or given or target.output_cap
  if bound then out[#out + 1] = string.format(',"%s":%.0f', target.output_bound_name, bound) end
  return ',"max_output_tokens":' .. (given and string.format("%.0f", given) or "null")
end

local function write_reasoning(body, out, target, checks)
  local reasoning = expect.optional_object(body, "reasoning", "")
  if not reasoning then return ',"reasoning":{"effort":null,"summary":null}' end
  members.check(checks, reasoning, "reasoning")
  local effort = expect.optional_string(reasoning, "effort", "reasoning.")
  local summary = expect.optional_string(reasoning, "summary", "reasoning.")
  local word = effort and document.inner(effort)
  if word and not EFFORTS[word] then members.refuse("reasoning.effort") end
  if word and target.thinking ~= "none" then
    out[#out + 1] = ',"reasoning_effort":' .. effort
  elseif word and word ~= "none" then
    members.note(checks, "reasoning.effort")
  end
  return ',"reasoning":{"effort":' .. (effort or "null") .. ',"summary":' .. (summary or "null") .. "}"
end

-- Models that always think take no temperature but 1.
local function write_sampling(body, out, is_taken, checks)
  local told = {}
  for at, name in ipairs({ "temperature", "top_p" }) do
    local given = expect.optional_number(body, name, "")
    if given and is_taken then
      out[#out + 1] = ',"' .. name .. '":' .. given
    elseif given and tonumber(given) ~= 1 then
      members.note(checks, name)
    end
    told[at] = ',"' .. name .. '":' .. (given or "null")
  end
  return table.concat(told)
end

-- Whether the client wants what only the model can read of its thoughts.
local function wants_thoughts(body, checks)
  local found = false
  for at, word in ipairs(expect.optional_list(body, "include", "") or {}) do
    if word == THOUGHTS then
      found = true
    elseif word == '"message.output_text.logprobs"' or not document.is_string(word) then
      members.refuse("include[" .. at - 1 .. "]")
    else
      -- The others are of tools that run at the provider, so there is nothing to include.
      members.note(checks, "include")
    end
  end
  return found
end

local function write_rest(body, out, target)
  local user = expect.optional_string(body, "safety_identifier", "") or expect.optional_string(body, "user", "")
  if user then out[#out + 1] = ',"user":' .. user end
  local tier = expect.optional_string(body, "service_tier", "")
  if tier and not BASE_TIERS[tier] then out[#out + 1] = ',"service_tier":' .. tier end
  if expect.optional_boolean(body, "stream", "") == "true" then
    out[#out + 1] = ',"stream":true'
    if target.asks_for_usage then out[#out + 1] = ',"stream_options":{"include_usage":true}' end
  end
end

local function check_words(body, checks)
  local options = expect.optional_object(body, "stream_options", "")
  if options then members.check(checks, options, "stream_options") end
  if body.truncation and body.truncation ~= '"disabled"' then members.note(checks, "truncation") end
  if expect.optional_boolean(body, "store", "") == "true" then members.note(checks, "store") end
end

-- What the answer repeats, besides what the writers return.
local function repeated(body)
  local metadata = expect.optional_object_text(body, "metadata", "")
  local instructions, user = expect.optional_string(body, "instructions", ""), expect.optional_string(body, "user", "")
  return ',"background":false,"instructions":' .. (instructions or "null") .. ',"metadata":' .. (metadata or "{}")
    .. ',"previous_response_id":null,"service_tier":' .. (body.service_tier or '"auto"')
    .. ',"store":false,"truncation":"disabled","user":' .. (user or "null")
end

-- Returns the body for the provider, and a table of what is known of the call: `ignored`, the names of what it was made
-- without (nil if nothing), `repeated`, the members that the answer repeats, and `keeps_thoughts`, whether the client
-- wants the model's signed thoughts. Raises a refusal.
--
-- `target` says what differs between models: `model`, `output_cap` (the most tokens that the answer may have; nil if
-- only the client bounds it) and `output_bound_name` (the member for it), `thinking` (not "none": it takes an effort),
-- `sampling` (whether it takes any), `asks_for_usage` (whether a stream must be asked to report its usage), and
-- `keeps_thoughts` (whether it takes signed thoughts).
function request.write(text, target)
  local checks = members.new(translations.responses_to_chat)
  local body = members.check(checks, document.read(text, OPAQUE), "")
  check_words(body, checks)
  local out = {
    '{"model":', document.quote(target.model), ',"messages":', items.write(body, checks, target.keeps_thoughts),
  }
  local told = {
    write_bound(body, out, target),
    tools.write(body, out, checks),
    tools.write_form(body, out, checks),
    write_reasoning(body, out, target, checks),
    write_sampling(body, out, target.sampling, checks),
    repeated(body),
  }
  local keeps_thoughts = wants_thoughts(body, checks)
  write_rest(body, out, target)
  out[#out + 1] = "}"
  return table.concat(out), {
    ignored = members.ignored(checks), repeated = table.concat(told), keeps_thoughts = keeps_thoughts,
  }
end

return request
