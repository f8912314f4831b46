-- The members of a request to Gemini's embedContent, and of each request in one to batchEmbedContents. Its readers
-- accept each name in camel case and in snake case.

local gemini = require("dialect/gemini")
local shape = require("dialect/shape")
local value = require("dialect/value")

local embedding = {}

local COLLECTION = "models/"

-- The path decides. A body that named a dearer model could be served by that one. The places are for `rewrite.lua`.
local function settle(node, text, self)
  local first, last = shape.span(node, text, "model")
  if not first then return end
  local named = shape.text(node, text, "model") or ""
  self.models = self.models or {}
  self.models[#self.models + 1], self.models[#self.models + 2] = first, last
  self.named = self.named or named
  if named ~= self.named then value.refuse("The requests in the body name different models.", "model") end
end

-- What describes one request.
function embedding.request()
  return {
    plain = "model taskType title outputDimensionality",
    objects = {
      embedContentConfig = shape.object({
        plain = "taskType title outputDimensionality autoTruncate mimeType", both_cases = true,
      }),
    },
    lists = { content = gemini.content() },
    both_cases = true,
    settle = settle,
  }
end

embedding.body = shape.table(embedding.request())
embedding.conversation = { "content" }

-- Refuses a body that names another model than the path.
function embedding.check_model(request, self)
  local named = self.named
  if named and named ~= request.model and named ~= COLLECTION .. request.model then
    value.refuse("The body names another model than the path.", "model")
  end
end

-- Fills `request` from the body. It has the model already, from the path.
function embedding.read(_, _, request, self)
  request.max_output_tokens = 0
  embedding.check_model(request, self)
end

return embedding
