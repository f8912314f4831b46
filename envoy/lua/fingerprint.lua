-- A 64-bit fingerprint of a text: FNV-1a over words of eight bytes instead of single bytes. It distinguishes prompt
-- prefixes, but does not protect against a deliberate search for collisions.

-- Libraries of LuaJIT, which Envoy uses.
local ffi, bit = require("ffi"), require("bit")

local fingerprint = {}

local OFFSET, PRIME = 0xcbf29ce484222325ULL, 0x100000001b3ULL
local bxor, rshift, tohex = bit.bxor, bit.rshift, bit.tohex

-- The fingerprint of the first `length` bytes of `text`, a multiple of 8, as 16 hex digits.
function fingerprint.of(text, length)
  local words = ffi.cast("const uint64_t *", text)
  local hash = OFFSET
  for index = 0, length / 8 - 1 do
    hash = bxor(hash, words[index]) * PRIME
    -- Multiplication carries only upwards. Without this, the high bits would never reach the low ones.
    hash = bxor(hash, rshift(hash, 32))
  end
  return tohex(hash)
end

return fingerprint
