-- Strict UTF-8, as the table "Well-Formed UTF-8 Byte Sequences" of the Unicode standard has it: no overlong form, no
-- surrogate, nothing above U+10FFFF. What one decoder drops and another replaces, two readers do not read alike.

-- LuaJIT's own libraries, which Envoy's Lua has.
local ffi, bit = require("ffi"), require("bit")

local utf8 = {}

local band, bor = bit.band, bit.bor
-- The top bits of four bytes: none is set where all are ASCII.
local NOT_ASCII = 0x80808080
-- ASCII, which most text is, is looked at in blocks of this many bytes.
local BLOCK_BYTES = 16

-- How many bytes at the beginning are ASCII, in whole blocks. Most bodies are nothing else.
local function leading_ascii(bytes, size)
  local at = 0
  while size - at >= BLOCK_BYTES do
    local words = ffi.cast("const int32_t *", bytes + at)
    if band(bor(bor(words[0], words[1]), bor(words[2], words[3])), NOT_ASCII) ~= 0 then break end
    at = at + BLOCK_BYTES
  end
  return at
end

-- Whether `text` is UTF-8. One flat loop, which LuaJIT compiles whatever the text is made of. A Lua string ends with a
-- zero byte that does not belong to it and continues no character, so looking ahead never leaves it.
function utf8.is_valid(text)
  local bytes = ffi.cast("const uint8_t *", text)
  local size = #text
  local at = leading_ascii(bytes, size)
  -- From where on a whole block of ASCII may follow.
  local try_at = 0
  while at < size do
    local lead = bytes[at]
    if lead < 0x80 then
      if at >= try_at and size - at >= BLOCK_BYTES then
        local words = ffi.cast("const int32_t *", bytes + at)
        if band(bor(bor(words[0], words[1]), bor(words[2], words[3])), NOT_ASCII) == 0 then
          at = at + BLOCK_BYTES
        else
          at = at + 1
          try_at = at + BLOCK_BYTES
        end
      else
        at = at + 1
      end
    elseif lead < 0xE0 then
      if lead < 0xC2 or band(bytes[at + 1], 0xC0) ~= 0x80 then return false end
      at = at + 2
    elseif lead < 0xF0 then
      local second = bytes[at + 1]
      if band(second, 0xC0) ~= 0x80 or band(bytes[at + 2], 0xC0) ~= 0x80 then return false end
      if (lead == 0xE0 and second < 0xA0) or (lead == 0xED and second > 0x9F) then return false end
      at = at + 3
    else
      local second = bytes[at + 1]
      if lead > 0xF4 or band(second, 0xC0) ~= 0x80 then return false end
      if band(bytes[at + 2], 0xC0) ~= 0x80 or band(bytes[at + 3], 0xC0) ~= 0x80 then return false end
      if (lead == 0xF0 and second < 0x90) or (lead == 0xF4 and second > 0x8F) then return false end
      at = at + 4
    end
  end
  return true
end

return utf8
