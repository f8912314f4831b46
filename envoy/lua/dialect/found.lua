-- The findings of a scan, besides the members that a dialect reads by name.

local shape = require("dialect/shape")

local found = {}

local sub = string.sub

-- How many names of each kind are reported. More would add nothing new.
local NAMES_MAX = 16
-- How many unknown members a body may have. Each costs more to check than a known one.
local UNKNOWN_MAX = 10000
-- Values that mean "not requested". An empty object is not one of them: to a provider that searches, it requests a
-- search with defaults.
local NOTHING = { ["false"] = true, ["[]"] = true, ['""'] = true }

local function join(names)
  if #names == 0 then return nil end
  table.sort(names)
  return table.concat(names, ",")
end

local function keep(names, name)
  if names[name] or #names >= NAMES_MAX then return end
  names[name] = true
  names[#names + 1] = name
end

-- Empty findings.
function found.new()
  local unknown = 0
  local self = {
    images = 0, image_bytes = 0, audio_bytes = 0, growth = 0, features = {}, unknown_names = {}, options = {},
  }
  -- Records an unknown member, or an unknown word in a member. `name` is the member's.
  function self.unknown(node, name)
    unknown = unknown + 1
    if unknown > UNKNOWN_MAX then
      error({ message = "The body has more than " .. UNKNOWN_MAX .. " members that the gateway does not know." }, 0)
    end
    if #self.unknown_names >= NAMES_MAX then return end
    local shown = shape.shown(node.path == "" and name or node.path .. "." .. name)
    -- At deeper levels, many objects may have the same name.
    if node.path == "" and self.unknown_names[shown] then
      error({ message = "'" .. shown .. "' in the body appears twice.", parameter = shown }, 0)
    end
    keep(self.unknown_names, shown)
  end
  -- Records an option that changes the price of the call. `word` is its value, where that matters.
  function self.option(name, word)
    keep(self.options, word and name .. "=" .. shape.shown(word) or name)
  end
  return self
end

-- The names found, for the metadata; nil if there are none.
function found.features(self)
  local names = {}
  for name, used in pairs(self.features) do
    if used then names[#names + 1] = name end
  end
  return join(names)
end

function found.unknown_members(self)
  return join(self.unknown_names)
end

function found.price_options(self)
  return join(self.options)
end

-- Whether a member requests something.
function found.is_given(node, text, name)
  local first, last = shape.span(node, text, name)
  return first ~= nil and not NOTHING[sub(text, first, last)]
end

-- Records each member of `names` that requests something. Returns whether any does.
function found.note_given(self, node, text, names)
  local given = false
  for _, name in ipairs(names) do
    if found.is_given(node, text, name) then
      self.option(node.path == "" and name or node.path .. "." .. name)
      given = true
    end
  end
  return given
end

-- Records a member whose word is not one of `words`, which change nothing.
function found.note_word(self, node, text, name, words)
  local first, last = shape.span(node, text, name)
  if not first then return end
  local word = shape.text(node, text, name) or sub(text, first, last)
  if not words[word] then self.option(name, word) end
end

-- Records each word, single or in a list, that is not one of `words`.
function found.note_words(self, node, text, name, words)
  local first, last = shape.span(node, text, name)
  if not first then return end
  for word in string.gmatch(sub(text, first, last), '"([^"]*)"') do
    if not words[word] then self.option(name, word) end
  end
end

-- A node for `cache_control`, which several objects of a dialect have.
function found.cache_control()
  return shape.object({
    plain = "type ttl scope",
    settle = function(node, text, self)
      self.features.cache_control = true
      local ttl = shape.text(node, text, "ttl")
      if ttl == "1h" then
        self.features.cache_1h = true
      elseif ttl ~= "5m" and shape.span(node, text, "ttl") then
        self.option("cache_control.ttl", ttl or "")
      end
    end,
  })
end

return found
