-- Applies quota's decision for one attempt to a body, and leaves every other byte unchanged.

local json = require("json")

local rewrite = {}

-- The scan lets each body have only those of its endpoint.
local OUTPUT_CAPS = { "max_tokens", "max_completion_tokens", "max_output_tokens" }

local match, sub = string.match, string.sub

-- Text edits that do not overlap, applied in one pass.
local function apply(text, edits)
  table.sort(edits, function(one, other) return one.first < other.first end)
  local parts, from = {}, 1
  for _, edit in ipairs(edits) do
    parts[#parts + 1] = sub(text, from, edit.first - 1)
    parts[#parts + 1] = edit.text
    from = edit.last + 1
  end
  parts[#parts + 1] = sub(text, from)
  return table.concat(parts)
end

local function replacing(first, last, text)
  return { first = first, last = last, text = text }
end

-- An edit that adds a member at the front of the non-empty object that opens at `opening`.
local function inserting(opening, name, value)
  return { first = opening + 1, last = opening, text = json.quote(name) .. ":" .. value .. "," }
end

-- Returns `options` (the text of stream_options, nil if there is none) with include_usage true.
local function with_usage(options)
  if not options or options == "null" then return '{"include_usage":true}' end
  local first, last, _, opening = json.scan(options)
  if not first then error("stream_options: " .. last) end
  if first.include_usage then
    return apply(options, { replacing(first.include_usage, last.include_usage, "true") })
  end
  if next(first) == nil then return '{"include_usage":true}' end
  return apply(options, { inserting(opening, "include_usage", "true") })
end

-- The members of the body, by name: where each begins (`start`), and its value from `first` to `last`. The object opens
-- at `opening`.
local function members_of(text)
  local first, last, start, opening = json.scan(text)
  if not first then error("body: " .. last) end
  return { first = first, last = last, start = start, opening = opening }
end

-- The bound for a spelling that is already present. A smaller one stays; -1 is none.
local function lowered(text, first, last, cap)
  local own = tonumber(sub(text, first, last))
  return own and own >= 0 and own < tonumber(cap) and sub(text, first, last) or cap
end

-- Edits that bound the output of an OpenAI or Anthropic body. Every spelling that is present gets the bound, because a
-- provider may obey any of them. `field` is present afterwards.
local function cap_members(edits, text, members, field, cap)
  local first, last, start = members.first, members.last, members.start
  local named = false
  for _, name in ipairs(OUTPUT_CAPS) do
    named = named or (name == field and first[name] ~= nil)
  end
  for _, name in ipairs(OUTPUT_CAPS) do
    if first[name] then
      local kept = named and name or field
      local bound = lowered(text, first[name], last[name], cap)
      edits[#edits + 1] = replacing(start[name], last[name], json.quote(kept) .. ":" .. bound)
      named = true
    end
  end
  if not named then edits[#edits + 1] = inserting(members.opening, field, cap) end
end

-- A provider refuses a thinking budget that its bound does not exceed. Where the cap does not, the budget becomes the
-- same part of it that it was of the bound.
local function lower_thinking(edits, text, members, cap)
  local first, last = members.first, members.last
  if not first.thinking then return end
  local thinking = sub(text, first.thinking, last.thinking)
  local first_in, last_in = json.scan(thinking)
  local at = first_in and first_in.budget_tokens
  local budget = at and tonumber(sub(thinking, at, last_in.budget_tokens))
  if not budget or budget < cap then return end
  local bound = first.max_tokens and tonumber(sub(text, first.max_tokens, last.max_tokens)) or budget
  local lowered_to = math.min(math.floor(budget * cap / math.max(bound, budget)), cap - 1)
  edits[#edits + 1] = replacing(first.thinking, last.thinking,
    apply(thinking, { replacing(at, last_in.budget_tokens, string.format("%.0f", lowered_to)) }))
end

-- The same for Gemini, where the bound is one level deeper: `outer` is generationConfig.
local function cap_nested(edits, text, members, outer, inner, cap)
  local first, last = members.first, members.last
  local snake_outer, snake_inner = "generation_config", "max_output_tokens"
  local at, till = first[outer] or first[snake_outer], last[outer] or last[snake_outer]
  local fresh = "{" .. json.quote(inner) .. ":" .. cap .. "}"
  if not at then
    edits[#edits + 1] = inserting(members.opening, outer, fresh)
    return
  end
  local config = sub(text, at, till)
  if config == "null" then
    edits[#edits + 1] = replacing(at, till, fresh)
    return
  end
  local first_in, last_in, _, opening_in = json.scan(config)
  if not first_in then error("generationConfig: " .. last_in) end
  local name = first_in[inner] and inner or (first_in[snake_inner] and snake_inner)
  if name then
    config = apply(config, { replacing(first_in[name], last_in[name], cap) })
  elseif next(first_in) == nil then
    config = fresh
  else
    config = apply(config, { inserting(opening_in, inner, cap) })
  end
  edits[#edits + 1] = replacing(at, till, config)
end

-- The body for one attempt. `target` gives the changes: `model`, `output_cap` and `output_cap_field`, each nil if it
-- stays. `spans` are the positions of replaceable values from the scan. With `force_usage`, a stream must report its
-- usage.
function rewrite.body(text, target, spans, force_usage)
  local edits = {}
  if target.model and spans.models then
    -- Where the path names the model, the body may repeat it, with the name of its collection.
    for at = 1, #spans.models, 2 do
      edits[#edits + 1] = replacing(spans.models[at], spans.models[at + 1], json.quote("models/" .. target.model))
    end
  elseif target.model and spans.model_first then
    edits[#edits + 1] = replacing(spans.model_first, spans.model_last, json.quote(target.model))
  elseif target.model then
    edits[#edits + 1] = inserting(spans.opening, "model", json.quote(target.model))
  end
  if force_usage then
    local at = spans.options_first
    local options = with_usage(at and sub(text, at, spans.options_last))
    edits[#edits + 1] = at and replacing(at, spans.options_last, options)
      or inserting(spans.opening, "stream_options", options)
  end
  if target.output_cap then
    local cap = string.format("%.0f", target.output_cap)
    local outer, inner = match(target.output_cap_field, "^([^.]+)%.(.+)$")
    local members = members_of(text)
    if outer then
      cap_nested(edits, text, members, outer, inner, cap)
    else
      cap_members(edits, text, members, target.output_cap_field, cap)
      lower_thinking(edits, text, members, target.output_cap)
    end
  end
  return apply(text, edits)
end

return rewrite
