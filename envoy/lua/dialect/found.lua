-- What a scan finds on its way through a body, besides the members that a dialect reads by name.

local shape = require("dialect/shape")

local found = {}

local sub = string.sub

-- How many names of each kind are told. More would only be more of the same.
local NAMES_MAX = 16
-- How many members may be unknown at all. Each costs more to look at than a known one.
local UNKNOWN_MAX = 10000
-- What stands for "not asked for" in a member that asks for something. An empty object is none of it: for a provider
-- that searches, it means to search as usual.
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

-- An empty finding.
function found.new()
  local unknown = 0
  local self = {
    images = 0, image_bytes = 0, audio_bytes = 0, growth = 0, features = {}, unknown_names = {}, options = {},
  }
  -- A member, or a word in a member, that nobody here knows. `name` is that of the member.
  function self.unknown(node, name)
    unknown = unknown + 1
    if unknown > UNKNOWN_MAX then
      error({ message = "The body has more than " .. UNKNOWN_MAX .. " members that nobody here knows." }, 0)
    end
    if #self.unknown_names >= NAMES_MAX then return end
    local shown = shape.shown(node.path == "" and name or node.path .. "." .. name)
    -- Deeper down the same name may stand in many objects.
    if node.path == "" and self.unknown_names[shown] then
      error({ message = "'" .. shown .. "' in the body appears twice.", parameter = shown }, 0)
    end
    keep(self.unknown_names, shown)
  end
  -- Something that changes the price of the call. `word` says which, where that matters.
  function self.option(name, word)
    keep(self.options, word and name .. "=" .. shape.shown(word) or name)
  end
  return self
end

-- The names of what was found, for the metadata; nil where there is nothing.
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

-- Notes each member of `names` that asks for something. Whether one does.
function found.note_given(self, node, text, names)
  local given = false
  for _, name in ipairs(names) do
    local first, last = shape.span(node, text, name)
    if first and not NOTHING[sub(text, first, last)] then
      self.option(node.path == "" and name or node.path .. "." .. name)
      given = true
    end
  end
  return given
end

-- Notes a member whose word is not one of `words`, which change nothing.
function found.note_word(self, node, text, name, words)
  local first, last = shape.span(node, text, name)
  if not first then return end
  local word = shape.text(node, text, name) or sub(text, first, last)
  if not words[word] then self.option(name, word) end
end

-- Notes each word of a list, or each single word, that is not one of `words`.
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
