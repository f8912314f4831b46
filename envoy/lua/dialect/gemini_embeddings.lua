-- The members of a request to Gemini's batchEmbedContents: a list of requests to embedContent.

local embedding = require("dialect/gemini_embedding")
local shape = require("dialect/shape")
local value = require("dialect/value")

local embeddings = {}

embeddings.body = shape.table({ lists = { requests = shape.object(embedding.request()) }, both_cases = true })
embeddings.conversation = { "requests" }

-- Fills `request` from the body. It has the model already, from the path.
function embeddings.read(body, text, request, self)
  request.max_output_tokens = 0
  value.check_list(body, text, "requests")
  embedding.check_model(request, self)
end

return embeddings
