-- Whether all readers of JSON can read a provider's text. A translator passes its strings on as they were written, and
-- a client must not get one that its reader refuses: without UTF-8, with a control character, or with a bad escape.

-- A library of LuaJIT, which Envoy uses.
local ffi = require("ffi")

local utf8 = require("utf8")

local readable = {}

local QUOTE, BACKSLASH, SPACE, LOWER_U = 34, 92, 32, 117
local HEX_DIGITS = 4

local function set_of(characters)
  local set = ffi.new("uint8_t[256]")
  for at = 1, #characters do set[string.byte(characters, at)] = 1 end
  return set
end

-- What may follow a backslash; `u` and four digits may, too.
local ESCAPED, HEX = set_of('"\\/bfnrt'), set_of("0123456789abcdefABCDEF")

-- A flat loop, which LuaJIT compiles. The byte behind a Lua string is zero, so a look ahead stays within it.
local function has_good_strings(bytes, size)
  local at, within = 0, false
  while at < size do
    local code = bytes[at]
    if code == QUOTE then
      within = not within
    elseif code == BACKSLASH then
      at = at + 1
      if bytes[at] == LOWER_U then
        for _ = 1, HEX_DIGITS do
          at = at + 1
          if HEX[bytes[at]] == 0 then return false end
        end
      elseif ESCAPED[bytes[at]] == 0 then
        return false
      end
    elseif within and code < SPACE then
      return false
    end
    at = at + 1
  end
  return true
end

-- Raises a refusal if not. Whether `text` is JSON at all is another question.
function readable.check(text)
  if not utf8.is_valid(text) or not has_good_strings(ffi.cast("const uint8_t *", text), #text) then
    error({ message = "The JSON has a string that is none." }, 0)
  end
end

return readable
