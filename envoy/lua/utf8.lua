-- Strict UTF-8, by the table "Well-Formed UTF-8 Byte Sequences" of the Unicode standard: no overlong form, no
-- surrogate, nothing above U+10FFFF. One decoder drops a malformed byte and another replaces it, so two readers would
-- see different text.
--
-- The automaton has a row of 32 bits for each byte. A state is a position in a row, where five bits give the next
-- state. No step waits for a load, and none branches (a "shift-based DFA", P. Vognsen). Positions are chosen so that
-- overlapping bits are equal.

-- Libraries of LuaJIT, which Envoy uses.
local ffi, bit = require("ffi"), require("bit")

local utf8 = {}

local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift

-- States, by what may follow: nothing, a character, the last bytes of one, or the second byte after E0, ED, F0, F4.
local INVALID, START, LAST, LAST_TWO, LAST_THREE = 0, 6, 16, 1, 18
local AFTER_E0, AFTER_ED, AFTER_F0, AFTER_F4 = 19, 25, 11, 24
local STATE_MASK = 31
-- The top bits of four bytes: none is set where all are ASCII.
local NOT_ASCII = 0x80808080
local BLOCK_BYTES = 16

-- A row of zeros leads from every state to INVALID.
local ROWS = ffi.new("int32_t[256]")

local function allow(state, first, last, following)
  for byte = first, last do ROWS[byte] = bor(ROWS[byte], lshift(following, state)) end
end

allow(START, 0x00, 0x7F, START)
allow(START, 0xC2, 0xDF, LAST)
allow(START, 0xE0, 0xE0, AFTER_E0)
allow(START, 0xE1, 0xEC, LAST_TWO)
allow(START, 0xED, 0xED, AFTER_ED)
allow(START, 0xEE, 0xEF, LAST_TWO)
allow(START, 0xF0, 0xF0, AFTER_F0)
allow(START, 0xF1, 0xF3, LAST_THREE)
allow(START, 0xF4, 0xF4, AFTER_F4)
allow(LAST, 0x80, 0xBF, START)
allow(LAST_TWO, 0x80, 0xBF, LAST)
allow(LAST_THREE, 0x80, 0xBF, LAST_TWO)
allow(AFTER_E0, 0xA0, 0xBF, LAST)
allow(AFTER_ED, 0x80, 0x9F, LAST)
allow(AFTER_F0, 0x90, 0xBF, LAST_TWO)
allow(AFTER_F4, 0x80, 0x8F, LAST_TWO)

-- Each loop is flat, in a function of its own, and calls nothing. LuaJIT always compiles such loops, whatever input
-- comes first.

-- The number of leading ASCII bytes, in whole blocks. Most bodies are pure ASCII.
local function leading_ascii(bytes, size)
  local at = 0
  while size - at >= BLOCK_BYTES do
    local words = ffi.cast("const int32_t *", bytes + at)
    if band(bor(bor(words[0], words[1]), bor(words[2], words[3])), NOT_ASCII) ~= 0 then break end
    at = at + BLOCK_BYTES
  end
  return at
end

-- The state after the bytes from `at` up to `size`.
local function state_after(bytes, at, size)
  local state = START
  while size - at >= 4 do
    state = band(rshift(ROWS[bytes[at]], state), STATE_MASK)
    state = band(rshift(ROWS[bytes[at + 1]], state), STATE_MASK)
    state = band(rshift(ROWS[bytes[at + 2]], state), STATE_MASK)
    state = band(rshift(ROWS[bytes[at + 3]], state), STATE_MASK)
    at = at + 4
  end
  while at < size do
    state = band(rshift(ROWS[bytes[at]], state), STATE_MASK)
    at = at + 1
  end
  return state
end

-- Whether `text` is UTF-8.
function utf8.is_valid(text)
  local bytes, size = ffi.cast("const uint8_t *", text), #text
  return state_after(bytes, leading_ascii(bytes, size), size) == START
end

return utf8
