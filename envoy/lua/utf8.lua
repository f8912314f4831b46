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
local floor = math.floor

-- States, by what may follow: nothing, a character, the last bytes of one, or the second byte after E0, ED, F0, F4.
local INVALID, START, LAST, LAST_TWO, LAST_THREE = 0, 6, 16, 1, 18
local AFTER_E0, AFTER_ED, AFTER_F0, AFTER_F4 = 19, 25, 11, 24
local STATE_MASK = 31
-- The top bits of eight bytes: none is set where all are ASCII.
local NOT_ASCII = 0x8080808080808080ULL
-- How many bytes the automaton reads before blocks may be ASCII again. A change costs as much as some 200 bytes.
local STRETCH_BYTES = 1024

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

-- Each loop over bytes is flat, in a function of its own, and calls nothing. LuaJIT always compiles such loops,
-- whatever input comes first.

-- The position after the ASCII bytes that begin at `at`, in whole blocks of 64. Most bodies are nearly all ASCII.
local function ascii_end(bytes, at, size)
  local words = ffi.cast("const uint64_t *", bytes + at)
  local whole = floor((size - at) / 64) * 8
  for index = 0, whole - 8, 8 do
    local one = bor(bor(words[index], words[index + 1]), bor(words[index + 2], words[index + 3]))
    local other = bor(bor(words[index + 4], words[index + 5]), bor(words[index + 6], words[index + 7]))
    if band(bor(one, other), NOT_ASCII) ~= 0 then return at + 8 * index end
  end
  return at + 8 * whole
end

-- The state that the bytes from `at` up to `stop` lead to from `state`. The mask stands at the shift, where processors
-- apply it for nothing.
local function state_after(bytes, at, stop, state)
  while stop - at >= 8 do
    state = rshift(ROWS[bytes[at]], band(state, STATE_MASK))
    state = rshift(ROWS[bytes[at + 1]], band(state, STATE_MASK))
    state = rshift(ROWS[bytes[at + 2]], band(state, STATE_MASK))
    state = rshift(ROWS[bytes[at + 3]], band(state, STATE_MASK))
    state = rshift(ROWS[bytes[at + 4]], band(state, STATE_MASK))
    state = rshift(ROWS[bytes[at + 5]], band(state, STATE_MASK))
    state = rshift(ROWS[bytes[at + 6]], band(state, STATE_MASK))
    state = rshift(ROWS[bytes[at + 7]], band(state, STATE_MASK))
    at = at + 8
  end
  while at < stop do
    state = rshift(ROWS[bytes[at]], band(state, STATE_MASK))
    at = at + 1
  end
  return band(state, STATE_MASK)
end

-- Whether `text` is UTF-8.
function utf8.is_valid(text)
  local bytes, size = ffi.cast("const uint8_t *", text), #text
  local at, state = ascii_end(bytes, 0, size), START
  while at < size and state ~= INVALID do
    local stop = math.min(at + STRETCH_BYTES, size)
    state = state_after(bytes, at, stop, state)
    at = state == START and ascii_end(bytes, stop, size) or stop
  end
  return state == START
end

return utf8
