-- Builds the tables of dialects, and reads what a walk (`json.walk`) found along them.
--
-- A table is a tree of nodes. A node describes an object that the scan watches: `members` by name, `path` (names from
-- the top, joined by dots), `where` (the same for error texts), `folded` (its names in the form of `json.fold`), and
-- `settle`, which is called at the end of each such object. A member may have a node of its own. A member without one
-- is a value whose position may matter; its content counts as text.

local json = require("json")

local shape = {}

local byte, find, gmatch, gsub = string.byte, string.find, string.gmatch, string.gsub
local lower, sub = string.lower, string.sub

local QUOTE = 34

-- A node for an object. `spec.plain` lists the names of members that need no node, separated by white space.
-- `spec.objects` and `spec.lists` give nodes by name; a list holds such objects, or is one. With `spec.both_cases`,
-- each name is also read in snake case, as readers of protobuf's JSON do. `spec.meant` maps names that some server
-- reads as one of these; they are refused, because a bound under two names bounds nothing.
function shape.object(spec)
  local node = { members = {}, folded = {}, settle = spec.settle, both_cases = spec.both_cases }
  for name, meant in pairs(spec.meant or {}) do node.folded[json.fold(name)] = meant end
  for name in gmatch(spec.plain or "", "%S+") do node.members[name] = { name = name } end
  for name, inner in pairs(spec.objects or {}) do node.members[name] = { name = name, node = inner } end
  for name, inner in pairs(spec.lists or {}) do node.members[name] = { name = name, node = inner, many = true } end
  return node
end

local function snake(name)
  return (gsub(name, "%u", function(letter) return "_" .. lower(letter) end))
end

-- Completes the tree below `node`, whose path is `path`. No node may be used in two places.
local function place(node, path)
  if node.path then error("a node stands at " .. node.path .. " and at " .. path) end
  node.path, node.where = path, path == "" and "the body" or "'" .. path .. "'"
  local names = {}
  for name in pairs(node.members) do names[#names + 1] = name end
  for _, name in ipairs(names) do
    local member = node.members[name]
    node.folded[json.fold(name)] = name
    if node.both_cases then node.members[snake(name)] = member end
    if member.node then place(member.node, path == "" and name or path .. "." .. name) end
  end
  return node
end

-- The complete table of a dialect. `spec` describes the body itself.
function shape.table(spec)
  return place(shape.object(spec), "")
end

-- The first and last byte of a member's value in the node's latest object; nil if it is absent or null.
function shape.span(node, text, name)
  local member = node.members[name]
  if member.seen_in ~= node.serial then return nil end
  if json.is_null(text, member.first, member.last) then return nil end
  return member.first, member.last
end

-- Whether a member is present and neither null nor empty.
function shape.filled(node, text, name)
  local first, last = shape.span(node, text, name)
  return first ~= nil and last - first > 1
end

-- The decoded string of a member; nil if it is absent or not a string.
function shape.text(node, text, name)
  local first, last = shape.span(node, text, name)
  if not first or byte(text, first) ~= QUOTE then return nil end
  return json.string(text, first, last)
end

-- Whether a member is present but not a string, e.g. a number where only a word has a meaning.
function shape.is_odd(node, text, name)
  return shape.span(node, text, name) ~= nil and shape.text(node, text, name) == nil
end

-- The node of a member, if the latest object has an object there.
function shape.inner(node, name)
  local member = node.members[name]
  local inner = member.node
  if member.seen_in == node.serial and (inner.serial or 0) > node.serial then return inner end
  return nil
end

-- A client's word in a form that fits our lists: without separators, and short.
function shape.shown(word)
  return (gsub(sub(word, 1, 64), "[^%w_.$:/=-]", "?"))
end

return shape
