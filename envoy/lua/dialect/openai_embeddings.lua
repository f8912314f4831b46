-- The members of a request for embeddings in OpenAI's dialect. The documented members of other servers that speak it
-- are here too.
--
-- Texts and tokens take no more tokens than bytes: a token is an integer with a comma, and what a server adds at both
-- ends of each text is paid for by its quotes and its comma.

local shape = require("dialect/shape")
local value = require("dialect/value")

local embeddings = {}

local byte = string.byte

local QUOTE, OPEN_BRACKET = 34, 91

embeddings.body = shape.table({
  plain = [[model dimensions encoding_format user input_type task normalized truncate truncation
    truncate_prompt_tokens add_special_tokens embedding_type output_dtype output_dimension priority request_id]],
  -- Some servers take objects here, with images and addresses that they fetch. No member of those is known.
  lists = { input = shape.object({}) },
})

-- The parts of the input, in order.
embeddings.conversation = { "input" }

-- Fills `request` from the body.
function embeddings.read(body, text, request)
  request.model = value.string(body, text, "model")
  request.max_output_tokens = 0
  local first = shape.span(body, text, "input")
  local code = first and byte(text, first)
  if code ~= QUOTE and code ~= OPEN_BRACKET then
    value.refuse("'input' must be a text, tokens, or a list of either.", "input")
  end
end

return embeddings
