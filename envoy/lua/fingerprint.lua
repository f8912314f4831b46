-- A 64-bit fingerprint of a text: an FNV-1a over words of eight bytes instead of single ones. It tells equal prompt
-- prefixes from different ones; it is no protection against somebody who searches for collisions.

-- LuaJIT's own libraries, which Envoy's Lua has.
local ffi, bit = require("ffi"), require("bit")

local fingerprint = {}

local OFFSET, PRIME = 0xcbf29ce484222325ULL, 0x100000001b3ULL
local bxor, rshift, tohex = bit.bxor, bit.rshift, bit.tohex

-- Of the first `length` bytes of `text`, a multiple of 8, as 16 hex digits.
function fingerprint.of(text, length)
  local words = ffi.cast("const uint64_t *", text)
  local hash = OFFSET
  for index = 0, length / 8 - 1 do
    hash = bxor(hash, words[index]) * PRIME
    -- Multiplication only carries upwards: without this the low bits would never see the high ones.
    hash = bxor(hash, rshift(hash, 32))
  end
  return tohex(hash)
end

return fingerprint
